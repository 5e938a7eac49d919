package driver_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/testutil"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// TestSequencerTranscripts plays the stories of testdata. After every command the invariants are checked.
//
// The sequencer makes a block every 2 s, L1 one every 12 s, and the source is polled every 4 s. Blocks are called 15; one
// that the sequencer made after another one of that number is 15', and 15b belongs to fork b. The commands:
//
//	engine [el=60 safe=40 finalized=30] [fetch=8s] [reth]
//	    an engine with blocks that are as old as they should be, which takes so long to get blocks from its peers; without
//	    fetch it does not get any before "el sync"
//	start [stopped] [el-sync] [quorum=2] [conductor]
//	restart [stopped]                 the node's process dies and starts again
//	l1 fork r at=L8 | behind=25 | slow=5s | silent | heal
//	source local-safe=24b [safe=20b] [finalized=6] [current-l1=L7]
//	    what the source says from now on; left out, safe is local-safe, finalized as before and current L1 the newest
//	source down | silent | heal
//	l2 fork b at=14 blocks=10         another version of the own blocks above 14, with the same L1 origins
//	engine-has 15b..24b               the engine has blocks off its chain
//	el … | peers …                    see testutil.Engine
//	gossip 30..41                     unsafe payloads arrive
//	admin start 41 | start conductor | stop | override
//	conductor lost | leads | down | up | slow=3s
//	wait 5s [quietly]                 quietly: only what it has come to is shown. A source that failed is asked again at a
//	                                  time that chance has a part in
//	status
func TestSequencerTranscripts(t *testing.T) {
	testutil.PlayTranscripts(t, nil, func(t testing.TB) testutil.Story { return newTale(t) })
}

// Begin implements testutil.Story.
func (s *story) Begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began, s.events = time.Now(), nil
}

// Perform implements testutil.Story.
func (s *story) Perform(d testutil.Command) error {
	first := d.Word(0)
	switch d.Cmd {
	case "engine":
		return s.engineCommand(d)
	case "start":
		return s.startCommand(d)
	case "restart":
		s.stop()
		s.forget()
		s.production.Stopped = d.HasArg("stopped")
		s.embark()
	case "l1":
		return s.l1Command(first, d)
	case "source":
		return s.sourceCommand(first, d)
	case "l2":
		return s.l2Command(d)
	case "engine-has":
		blocks, err := s.list(first)
		if err != nil {
			return err
		}
		return s.el.Give(blocks...)
	case "el", "peers":
		told, err := s.el.Perform(d, s.find)
		if told != "" {
			s.note(rankStory, "%s", told)
		}
		return err
	case "gossip":
		blocks, err := s.list(first)
		for _, b := range blocks {
			s.driver.OnUnsafeL2Payload(context.Background(), b.Envelope)
		}
		return err
	case "admin":
		return s.adminCommand(first, d)
	case "conductor":
		return s.conductorCommand(first, d)
	case "wait":
		duration, err := time.ParseDuration(first)
		s.wait(duration)
		if d.HasArg("quietly") {
			s.Begin()
		}
		return err
	case "status":
		clear(s.told)
		s.note(rankStory, "forced resets: %d, walk-backs: %d, blocks with an L1 origin that is gone: %d", s.counts.reorg("force_reset"),
			s.counts.reorg("walk_back"), s.offL1())
		s.note(rankStory, "longest time without a block: %.1fs", s.net.gap(s.embarked, time.Now()).Seconds())
	default:
		return fmt.Errorf("unknown command")
	}
	return nil
}

func (s *story) engineCommand(d testutil.Command) error {
	opts := testutil.Options(d)
	if fetch, ok := d.Value("fetch"); ok {
		duration, err := time.ParseDuration(fetch)
		if err != nil {
			return err
		}
		opts = append(opts, modelel.SyncAfterTime(duration, time.Now))
	}
	s.reopen(opts...)
	if err := s.el.Start(d, s.find); err != nil {
		return err
	}
	if latest := s.el.Heads().Latest; latest.Number > 0 {
		s.wait(time.Until(time.Unix(int64(latest.Time)+1, 0)))
	}
	return nil
}

func (s *story) startCommand(d testutil.Command) error {
	s.config.ELSync = d.HasArg("el-sync")
	s.production.Stopped = d.HasArg("stopped")
	if quorum, ok := d.Value("quorum"); ok {
		n, err := strconv.Atoi(quorum)
		if err != nil {
			return err
		}
		s.config.Quorum = n
	}
	if d.HasArg("conductor") {
		s.conductor = testutil.NewConductor()
		s.leader = s.conductor
	}
	s.wait(startOffset)
	s.embarked = time.Now()
	s.embark()
	return nil
}

// embark starts the node on what is there.
func (s *story) embark() {
	s.hold(false)
	s.driver = s.boot()
	s.wait(aside)
}

func (s *story) l1Command(first string, d testutil.Command) error {
	l1 := s.l1
	switch first {
	case "fork":
		at, _ := d.Value("at")
		last, err := s.chain.FindL1(at)
		if err != nil {
			return err
		}
		l1.Set(func(l *testutil.L1State) { l.Branch = l.Branch.Fork(d.CmdArgs[1].Key, last.Ref.Number) })
	case "behind":
		n, err := strconv.ParseUint(d.CmdArgs[0].Vals[0], 10, 64)
		l1.Set(func(l *testutil.L1State) { l.Behind = n })
		return err
	case "slow":
		delay, err := time.ParseDuration(d.CmdArgs[0].Vals[0])
		l1.Set(func(l *testutil.L1State) { l.Delay = delay })
		return err
	case "silent":
		l1.Set(func(l *testutil.L1State) { l.Stalled = true })
	case "heal":
		l1.Set(func(l *testutil.L1State) { l.Stalled, l.Behind, l.Delay = false, 0, l1Delay })
	default:
		return fmt.Errorf("unknown command l1 %s", first)
	}
	return nil
}

func (s *story) sourceCommand(first string, d testutil.Command) error {
	switch first {
	case "down", "silent", "heal":
		s.source.set(func(a *sourceActor) { a.down, a.stalled = first == "down", first == "silent" })
		return nil
	}
	heads := map[string]eth.L2BlockRef{"finalized": s.source.say.Finalized}
	for _, arg := range d.CmdArgs {
		if arg.Key == "current-l1" {
			continue
		}
		b, err := s.find(arg.Vals[0])
		if err != nil {
			return err
		}
		heads[arg.Key] = b.Ref
	}
	localSafe := heads["local-safe"]
	if _, ok := heads["safe"]; !ok {
		heads["safe"] = localSafe
	}
	s.source.says(localSafe, heads["finalized"])
	s.source.set(func(a *sourceActor) { a.say.Safe = heads["safe"] })
	if name, ok := d.Value("current-l1"); ok {
		b, err := s.chain.FindL1(name)
		if err != nil {
			return err
		}
		s.source.set(func(a *sourceActor) { a.say.CurrentL1 = b.Ref })
	}
	if s.node != nil && !s.above(localSafe, s.head()) && !s.above(s.head(), localSafe) {
		s.divergences++
	}
	return nil
}

func (s *story) l2Command(d testutil.Command) error {
	if len(d.CmdArgs) != 4 || d.CmdArgs[0].Key != "fork" {
		return fmt.Errorf("l2 fork b at=14 blocks=10")
	}
	at, _ := d.Value("at")
	last, err := s.find(at)
	if err != nil {
		return err
	}
	count, _ := d.Value("blocks")
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	fork := d.CmdArgs[1].Key
	for _, b := range s.replace(last, n, fork) {
		s.chain.Call(b.Hash(), fmt.Sprintf("%d%s", b.Ref.Number, fork))
		s.learn(b)
	}
	return nil
}

// adminCommand calls the admin API as an operator or a conductor does.
func (s *story) adminCommand(first string, d testutil.Command) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var err error
	switch first {
	case "start":
		var hash common.Hash
		if name := d.CmdArgs[1].Key; name == "conductor" {
			hash = s.conductor.Head().ExecutionPayload.BlockHash
			s.note(rankStory, "the conductor's head is %s", s.name(hash))
		} else {
			b, findErr := s.find(name)
			if findErr != nil {
				return findErr
			}
			hash = b.Hash()
		}
		if err = s.node.StartSequencer(ctx, hash); err == nil {
			s.note(rankStory, "started")
		}
	case "stop":
		var hash common.Hash
		if hash, err = s.node.StopSequencer(ctx); err == nil {
			s.note(rankStory, "stopped at %s", s.name(hash))
		}
	case "override":
		err = s.driver.OverrideLeader(ctx)
	default:
		return fmt.Errorf("unknown command admin %s", first)
	}
	if err != nil {
		s.note(rankStory, "refused: %s", s.plain(err.Error()))
	}
	return nil
}

func (s *story) conductorCommand(first string, d testutil.Command) error {
	if s.conductor == nil {
		return fmt.Errorf("there is no conductor")
	}
	switch first {
	case "lost", "leads":
		s.conductor.Set(func(r *testutil.ConductorState) { r.Leads = first == "leads" })
	case "down", "up":
		s.conductor.Set(func(r *testutil.ConductorState) { r.Down = first == "down" })
	case "slow":
		delay, err := time.ParseDuration(d.CmdArgs[0].Vals[0])
		s.conductor.Set(func(r *testutil.ConductorState) { r.Delay = delay })
		return err
	default:
		return fmt.Errorf("unknown command conductor %s", first)
	}
	return nil
}

// list are the blocks of a range such as 15b..24b, or one block.
func (s *story) list(names string) ([]modelel.Block, error) { return testutil.Range(s.find, names) }

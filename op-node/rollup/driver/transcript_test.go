package driver_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// TestSequencerTranscripts plays the stories of testdata, one file each, and compares what happened with what is written
// there. With the flag -rewrite it writes what happened. After every command the invariants are checked.
//
// The sequencer makes a block every 2 s, L1 one every 12 s, and the source is polled every 4 s. Blocks are called 15; one
// that the sequencer made after another one of that number is 15', and 15b belongs to fork b. The commands:
//
//	engine [el=60 safe=40 finalized=30] [fetch=8s]
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
//	peers have 15b..24b               its peers have blocks
//	el fault drop [times=3] [on=FCU]  the faults of modelel.ParseFault; without times for good
//	el restart | sync | heal | rewind 30 | labels
//	gossip 30..41                     unsafe payloads arrive
//	admin start 41 | start conductor | stop | override
//	conductor lost | leads | down | up | slow=3s
//	wait 5s [quietly]                 quietly: only what it has come to is shown. A source that failed is asked again at a
//	                                  time that chance has a part in
//	status
func TestSequencerTranscripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTale(t)
				datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
					s.begin()
					if err := s.perform(d); err != nil {
						d.Fatalf(t, "%v", err)
					}
					synctest.Wait()
					s.check()
					return s.tell()
				})
			})
		})
	}
}

func (s *story) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began, s.events = time.Now(), nil
}

// perform carries out a command.
func (s *story) perform(d *datadriven.TestData) error {
	first := ""
	if len(d.CmdArgs) > 0 {
		first = d.CmdArgs[0].Key
	}
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
	case "engine-has", "peers":
		blocks, err := s.list(d.CmdArgs[len(d.CmdArgs)-1].Key)
		if err != nil {
			return err
		}
		if d.Cmd == "peers" {
			s.peers.Publish(blocks...)
		} else {
			s.give(blocks)
		}
	case "el":
		return s.elCommand(first, d)
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
			s.begin()
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

func (s *story) engineCommand(d *datadriven.TestData) error {
	var opts []modelel.Option
	if fetch, ok := value(d, "fetch"); ok {
		duration, err := time.ParseDuration(fetch)
		if err != nil {
			return err
		}
		opts = append(opts, modelel.SyncAfterTime(duration, time.Now))
	}
	s.open(opts...)
	name, ok := value(d, "el")
	if !ok {
		return nil
	}
	blocks, err := s.list("1.." + name)
	if err != nil {
		return err
	}
	s.el.Load(blocks...)
	var labels [2]common.Hash
	for i, key := range []string{"safe", "finalized"} {
		name, _ := value(d, key)
		b, err := s.find(name)
		if err != nil {
			return err
		}
		labels[i] = b.Hash()
	}
	s.el.SetLabels(labels[0], labels[1])
	s.wait(time.Until(time.Unix(int64(blocks[len(blocks)-1].Ref.Time)+1, 0)))
	return nil
}

func (s *story) startCommand(d *datadriven.TestData) error {
	s.config.ELSync = d.HasArg("el-sync")
	s.production.Stopped = d.HasArg("stopped")
	if quorum, ok := value(d, "quorum"); ok {
		n, err := strconv.Atoi(quorum)
		if err != nil {
			return err
		}
		s.config.Quorum = n
	}
	if d.HasArg("conductor") {
		s.raft = newRaft()
		s.leader = s.raft
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

func (s *story) l1Command(first string, d *datadriven.TestData) error {
	l1 := s.l1
	switch first {
	case "fork":
		at, _ := value(d, "at")
		last, err := s.chain.FindL1(at)
		if err != nil {
			return err
		}
		l1.set(func(l *l1Endpoint) { l.branch = l.branch.Fork(d.CmdArgs[1].Key, last.Ref.Number) })
	case "behind":
		n, err := strconv.ParseUint(d.CmdArgs[0].Vals[0], 10, 64)
		l1.set(func(l *l1Endpoint) { l.behind = n })
		return err
	case "slow":
		delay, err := time.ParseDuration(d.CmdArgs[0].Vals[0])
		l1.set(func(l *l1Endpoint) { l.delay = delay })
		return err
	case "silent":
		l1.set(func(l *l1Endpoint) { l.stalled = true })
	case "heal":
		l1.set(func(l *l1Endpoint) { l.stalled, l.behind, l.delay = false, 0, l1Delay })
	default:
		return fmt.Errorf("unknown command l1 %s", first)
	}
	return nil
}

func (s *story) sourceCommand(first string, d *datadriven.TestData) error {
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
	if name, ok := value(d, "current-l1"); ok {
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

func (s *story) l2Command(d *datadriven.TestData) error {
	if len(d.CmdArgs) != 4 || d.CmdArgs[0].Key != "fork" {
		return fmt.Errorf("l2 fork b at=14 blocks=10")
	}
	at, _ := value(d, "at")
	last, err := s.find(at)
	if err != nil {
		return err
	}
	count, _ := value(d, "blocks")
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

func (s *story) elCommand(first string, d *datadriven.TestData) error {
	switch first {
	case "restart":
		s.el.Restart()
	case "sync":
		s.note(rankStory, "reached: %t", s.el.CompleteSync())
	case "heal":
		s.engine.Heal()
	case "labels":
		s.note(rankStory, "%s", s.el)
	case "rewind":
		number, err := strconv.ParseUint(d.CmdArgs[1].Key, 10, 64)
		if err != nil {
			return err
		}
		s.el.Rewind(number)
	case "fault":
		return s.addFault(d)
	default:
		return fmt.Errorf("unknown command el %s", first)
	}
	return nil
}

func (s *story) addFault(d *datadriven.TestData) error {
	fault, err := modelel.ParseFault(d.CmdArgs[1].Key)
	if err != nil {
		return err
	}
	var methods []modelel.Method
	if on, ok := value(d, "on"); ok {
		methods = append(methods, modelel.Method(on))
	}
	if times, ok := value(d, "times"); ok {
		n, err := strconv.Atoi(times)
		s.engine.Next(n, fault, methods...)
		return err
	}
	s.engine.Always(fault, methods...)
	return nil
}

// adminCommand calls the admin API as an operator or a conductor does.
func (s *story) adminCommand(first string, d *datadriven.TestData) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var err error
	switch first {
	case "start":
		var hash common.Hash
		if name := d.CmdArgs[1].Key; name == "conductor" {
			hash = s.raft.head().ExecutionPayload.BlockHash
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

func (s *story) conductorCommand(first string, d *datadriven.TestData) error {
	if s.raft == nil {
		return fmt.Errorf("there is no conductor")
	}
	switch first {
	case "lost", "leads":
		s.raft.set(func(r *raft) { r.leads = first == "leads" })
	case "down", "up":
		s.raft.set(func(r *raft) { r.down = first == "down" })
	case "slow":
		delay, err := time.ParseDuration(d.CmdArgs[0].Vals[0])
		s.raft.set(func(r *raft) { r.delay = delay })
		return err
	default:
		return fmt.Errorf("unknown command conductor %s", first)
	}
	return nil
}

// value is the value of an argument of the form key=value.
func value(d *datadriven.TestData, key string) (string, bool) {
	arg, ok := d.Arg(key)
	if !ok || len(arg.Vals) != 1 {
		return "", false
	}
	return arg.Vals[0], true
}

// list are the blocks of a range such as 15b..24b, or one block.
func (s *story) list(names string) (blocks []modelel.Block, err error) {
	from, to, isRange := strings.Cut(names, "..")
	if !isRange {
		to = from
	}
	numbers := make([]uint64, 2)
	suffix := strings.TrimLeft(to, "0123456789")
	for i, name := range []string{from, to} {
		if numbers[i], err = strconv.ParseUint(strings.TrimSuffix(name, suffix), 10, 64); err != nil {
			return nil, err
		}
	}
	for n := numbers[0]; n <= numbers[1]; n++ {
		b, err := s.find(fmt.Sprint(n) + suffix)
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

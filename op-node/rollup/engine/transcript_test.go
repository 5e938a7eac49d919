package engine

import (
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

	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/testutil"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// TestTranscripts plays the stories of testdata, one file each, and compares what happened with what is written there.
// With the flag -rewrite it writes what happened. After every command the invariants are checked.
//
// Blocks are called 15, or 15b on fork b; L1 blocks L3, or L3b. The commands:
//
//	start [el-sync] [snap] [el=60 safe=40 finalized=30]
//	    a follower starts, on an engine that is empty or has blocks; snap: the engine has to snap sync first
//	l1 head=L5 | fork b at=L3 head=L6b | down | up
//	l2 fork b at=14 [l1=b]            another version of L2, its origins from another version of L1 if given
//	peers have 1..90 | lack 7         what the engine can fetch
//	gossip 1..5 9                     unsafe payloads arrive
//	source local-safe=80 safe=60 finalized=40 current-l1=L10
//	    the source is polled; what is left out is as before. 80#79 is the number of one block with the hash of another,
//	    80@L3 a block with another L1 origin, x80 the block of another rollup, - unknown
//	poll                              the source is polled, unchanged
//	wait 2s [polling]                 time passes
//	flood 1..900 local-safe=80 …      all these payloads and then a status at once
//	el restart | rewind 30 | sync | mark-invalid 7 | labels
//	el fault drop [times=3] [on=FCU]  the faults of modelel.ParseFault; without times for good
//	el slow 10ms                      each call takes a while
//	el hides-up-to 50                 older canonical blocks are not found by number
//	el heal                           no more faults
//	restart                           the follower's process dies and starts again
//	status
func TestTranscripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if defect, open := openStories[filepath.Base(path)]; open {
					testutil.Open(t, defect, func(t testing.TB) { playStory(t, path) })
				} else {
					playStory(t, path)
				}
			})
		})
	}
}

// openStories are the transcripts that a defect spoils, and its name.
var openStories = map[string]string{}

func playStory(t testing.TB, path string) {
	s := newStory(t)
	datadriven.RunTestAny(t, path, func(t testing.TB, d *datadriven.TestData) string {
		s.began, s.events = time.Now(), nil
		if err := s.perform(d); err != nil {
			t.Fatalf("%s: %v", d.Pos, err)
		}
		s.check()
		return s.tell()
	})
}

// perform carries out a command.
func (s *story) perform(d *datadriven.TestData) error {
	first := ""
	if len(d.CmdArgs) > 0 {
		first = d.CmdArgs[0].Key
	}
	if s.controller == nil && (d.Cmd == "gossip" || d.Cmd == "source" || d.Cmd == "poll" || d.Cmd == "wait") {
		return fmt.Errorf("%s before start", d.Cmd)
	}
	switch d.Cmd {
	case "start":
		return s.start(d)
	case "restart":
		s.boot()
		s.run()
	case "l1":
		return s.l1Command(first, d)
	case "l2":
		return s.l2Command(d)
	case "peers":
		return s.peersCommand(first, d)
	case "gossip":
		return s.gossip(d)
	case "source":
		if err := s.setStatus(d.CmdArgs); err != nil {
			return err
		}
		s.poll()
	case "flood":
		return s.flood(first, d)
	case "poll":
		s.poll()
	case "wait":
		duration, err := time.ParseDuration(first)
		if err != nil {
			return err
		}
		var period time.Duration
		if d.HasArg("polling") {
			period = s.cfg.PollPeriod
		}
		s.wait(duration, period)
	case "el":
		return s.elCommand(first, d)
	case "status":
		s.note("%s", s.heads())
		s.note("phase=%s pending=%s reason=%s", s.seen.Phase, s.name(s.seen.Pending.Hash), s.seen.Outcome.Reason)
	default:
		return fmt.Errorf("unknown command")
	}
	return nil
}

func (s *story) start(d *datadriven.TestData) error {
	var opts []modelel.Option
	if d.HasArg("snap") {
		opts = append(opts, modelel.SnapSync())
	}
	s.engine(opts...)
	s.cfg.ELSync = d.HasArg("el-sync")
	if name, ok := value(d, "el"); ok {
		blocks, err := s.blocks("1.." + name)
		if err != nil {
			return err
		}
		s.el.Load(blocks...)
	}
	var labels [2]common.Hash
	for i, key := range []string{"safe", "finalized"} {
		if name, ok := value(d, key); ok {
			b, err := s.chain.Find(name)
			if err != nil {
				return err
			}
			labels[i] = b.Hash()
		}
	}
	s.el.SetLabels(labels[0], labels[1])
	s.boot()
	s.run()
	return nil
}

func (s *story) l1Command(first string, d *datadriven.TestData) error {
	switch first {
	case "down", "up":
		s.l1.down = first == "down"
	case "fork":
		at, _ := value(d, "at")
		last, err := s.chain.FindL1(at)
		if err != nil {
			return err
		}
		base, err := s.l1Branch(strings.TrimLeft(at, "L0123456789"))
		if err != nil {
			return err
		}
		s.l1Forks[d.CmdArgs[1].Key] = base.Fork(d.CmdArgs[1].Key, last.Ref.Number)
	}
	if name, ok := value(d, "head"); ok {
		head, err := s.chain.FindL1(name)
		if err != nil {
			return err
		}
		s.l1.head = head.Ref.Number
		if s.l1.branch, err = s.l1Branch(strings.TrimLeft(name, "L0123456789")); err != nil {
			return err
		}
	}
	if s.controller != nil && !s.l1.down {
		s.moveL1()
	}
	return nil
}

func (s *story) l2Command(d *datadriven.TestData) error {
	if len(d.CmdArgs) < 3 || d.CmdArgs[0].Key != "fork" {
		return fmt.Errorf("l2 fork b at=14")
	}
	at, _ := value(d, "at")
	last, err := s.chain.Find(at)
	if err != nil {
		return err
	}
	base := s.forks[strings.TrimLeft(at, "0123456789")]
	l1 := base.L1()
	if name, ok := value(d, "l1"); ok {
		if l1, err = s.l1Branch(name); err != nil {
			return err
		}
	}
	name := d.CmdArgs[1].Key
	s.forks[name] = base.ForkOn(l1, name, last.Ref.Number)
	return nil
}

func (s *story) peersCommand(first string, d *datadriven.TestData) error {
	for _, arg := range d.CmdArgs[1:] {
		blocks, err := s.blocks(arg.Key)
		if err != nil {
			return err
		}
		if first == "have" {
			s.net.Publish(blocks...)
		} else {
			s.net.Withdraw(blocks...)
		}
	}
	return nil
}

func (s *story) gossip(d *datadriven.TestData) error {
	for _, arg := range d.CmdArgs {
		blocks, err := s.blocks(arg.Key)
		if err != nil {
			return err
		}
		for _, b := range blocks {
			if err := s.controller.Insert(b.Envelope); err != nil {
				s.note("refused %s: %s", s.name(b.Hash()), strings.ReplaceAll(err.Error(), b.ID().String(), s.name(b.Hash())))
			}
		}
	}
	s.run()
	return nil
}

// flood hands in payloads faster than the engine takes them, and then a target.
func (s *story) flood(names string, d *datadriven.TestData) error {
	blocks, err := s.blocks(names)
	if err != nil {
		return err
	}
	for _, b := range blocks {
		if err := s.controller.Insert(b.Envelope); err != nil {
			return err
		}
	}
	if err := s.setStatus(d.CmdArgs[1:]); err != nil {
		return err
	}
	s.flooded = true
	s.poll()
	s.flooded = false
	s.note("inserted all after %s", time.Since(s.began).Round(time.Millisecond))
	return nil
}

func (s *story) setStatus(args []datadriven.CmdArg) (err error) {
	heads := map[string]*eth.L2BlockRef{
		"local-safe": &s.status.LocalSafe, "safe": &s.status.Safe, "finalized": &s.status.Finalized,
	}
	for _, arg := range args {
		head, ok := heads[arg.Key]
		switch {
		case len(arg.Vals) != 1:
			return fmt.Errorf("%s has no value", arg.Key)
		case ok:
			*head, err = s.ref(arg.Vals[0])
		case arg.Key == "current-l1" && arg.Vals[0] == "-":
			s.status.CurrentL1 = eth.L1BlockRef{}
		case arg.Key == "current-l1":
			b, findErr := s.chain.FindL1(arg.Vals[0])
			s.status.CurrentL1, err = b.Ref, findErr
		default:
			return fmt.Errorf("a status has no %s", arg.Key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *story) elCommand(first string, d *datadriven.TestData) error {
	switch first {
	case "restart":
		s.el.Restart()
	case "rewind":
		number, err := strconv.ParseUint(d.CmdArgs[1].Key, 10, 64)
		if err != nil {
			return err
		}
		s.el.Rewind(number)
		s.lost = true
	case "sync":
		s.note("reached: %t", s.el.CompleteSync())
		s.strayed = true
	case "mark-invalid":
		b, err := s.chain.Find(d.CmdArgs[1].Key)
		if err != nil {
			return err
		}
		s.el.MarkInvalid(b.Hash())
	case "labels":
		s.note("%s", s.el)
	case "slow":
		pause, err := time.ParseDuration(d.CmdArgs[1].Key)
		if err != nil {
			return err
		}
		s.faulty.Always(modelel.Delay(clock.SystemClock, pause))
	case "hides-up-to":
		number, err := strconv.ParseUint(d.CmdArgs[1].Key, 10, 64)
		if err != nil {
			return err
		}
		s.hidden.upTo = number
	case "heal":
		s.hidden.upTo = 0
		s.faulty.Heal()
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
		for _, m := range strings.Split(on, ",") {
			methods = append(methods, modelel.Method(m))
		}
	}
	if times, ok := value(d, "times"); ok {
		n, err := strconv.Atoi(times)
		if err != nil {
			return err
		}
		s.faulty.Next(n, fault, methods...)
	} else {
		s.faulty.Always(fault, methods...)
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

// blocks are those of a range such as 3..7, 3b..7b or 5.
func (s *story) blocks(names string) ([]modelel.Block, error) {
	from, to, isRange := strings.Cut(names, "..")
	if !isRange {
		to = from
	}
	low, err := s.chain.Find(from)
	if err != nil {
		return nil, err
	}
	fork := strings.TrimLeft(to, "0123456789")
	number, err := strconv.ParseUint(strings.TrimSuffix(to, fork), 10, 64)
	if err != nil {
		return nil, err
	}
	branch, ok := s.forks[fork]
	if !ok {
		return nil, fmt.Errorf("no fork %q", fork)
	}
	return branch.Blocks(low.Ref.Number, number), nil
}

// l1Branch is a version of L1 by name.
func (s *story) l1Branch(name string) (*modelel.L1Branch, error) {
	branch, ok := s.l1Forks[name]
	if !ok {
		return nil, fmt.Errorf("no L1 fork %q", name)
	}
	return branch, nil
}

// ref is the reference that a name of a block in a status stands for.
func (s *story) ref(name string) (eth.L2BlockRef, error) {
	if name == "-" {
		return eth.L2BlockRef{}, nil
	}
	name, origin, hasOrigin := strings.Cut(name, "@")
	name, hash, hasHash := strings.Cut(name, "#")
	chain := s.chain
	if rest, ok := strings.CutPrefix(name, "x"); ok {
		chain, name = s.other, rest
	}
	b, err := chain.Find(name)
	if err != nil {
		return eth.L2BlockRef{}, err
	}
	ref := b.Ref
	if hasHash {
		other, err := chain.Find(hash)
		if err != nil {
			return eth.L2BlockRef{}, err
		}
		ref.Hash = other.Hash()
	}
	if hasOrigin {
		l1, err := s.chain.FindL1(origin)
		if err != nil {
			return eth.L2BlockRef{}, err
		}
		ref.L1Origin = l1.ID()
	}
	return ref, nil
}

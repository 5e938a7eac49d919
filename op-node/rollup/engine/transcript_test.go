package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/testutil"
	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// TestTranscripts plays the stories of testdata. After every command the invariants are checked.
//
// Blocks are called 15, or 15b on fork b; L1 blocks L3, or L3b. The commands:
//
//	start [el-sync] [snap] [reth] [el=60 safe=40 finalized=30]
//	    a follower starts, on an engine that is empty or has blocks; snap: the engine has to snap sync first
//	l1 head=L5 | fork b at=L3 head=L6b | down | up | final=L3   what is final is the head, until it is said
//	l2 fork b at=14 [l1=b]            another version of L2, its origins from another version of L1 if given
//	engine-has 15b..24b               the engine has blocks off its chain
//	gossip 1..5 9                     unsafe payloads arrive
//	source local-safe=80 safe=60 finalized=40 current-l1=L10
//	    the source is polled; what is left out is as before. 80#79 is the number of one block with the hash of another,
//	    80@L3 a block with another L1 origin, x80 the block of another rollup, - unknown
//	poll                              the source is polled, unchanged
//	wait 2s [polling]                 time passes
//	flood 1..900 local-safe=80 …      all these payloads and then a status at once
//	el … | peers …                    see testutil.Engine
//	restart                           the follower's process dies and starts again
//	status
func TestTranscripts(t *testing.T) {
	testutil.PlayTranscripts(t, nil, func(t testing.TB) testutil.Story { return newStory(t) })
}

// Begin implements testutil.Story.
func (s *story) Begin() { s.began, s.events = time.Now(), nil }

// Perform implements testutil.Story.
func (s *story) Perform(d testutil.Command) error {
	first := d.Word(0)
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
	case "peers", "el":
		return s.elCommand(first, d)
	case "gossip":
		return s.gossip(d)
	case "source":
		if err := s.setStatus(d.CmdArgs); err != nil {
			return err
		}
		s.poll()
	case "engine-has":
		blocks, err := s.blocks(first)
		if err != nil {
			return err
		}
		return s.el.Give(blocks...)
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
	case "status":
		s.note("%s", s.heads())
		s.note("phase=%s pending=%s reason=%s", s.seen.Phase, s.name(s.seen.Pending.Hash), s.seen.Outcome.Reason)
	default:
		return fmt.Errorf("unknown command")
	}
	return nil
}

func (s *story) start(d testutil.Command) error {
	s.engine(testutil.Options(d)...)
	s.cfg.ELSync = d.HasArg("el-sync")
	if err := s.el.Start(d, s.chain.Find); err != nil {
		return err
	}
	s.boot()
	s.run()
	return nil
}

func (s *story) l1Command(first string, d testutil.Command) error {
	switch first {
	case "down", "up":
		s.l1.Down = first == "down"
	case "fork":
		at, _ := d.Value("at")
		last, err := s.chain.FindL1(at)
		if err != nil {
			return err
		}
		base, err := s.chain.L1Branch(modelel.Fork(at))
		if err != nil {
			return err
		}
		base.Fork(d.Word(1), last.Ref.Number)
	}
	if name, ok := d.Value("final"); ok {
		final, err := s.chain.FindL1(name)
		if err != nil {
			return err
		}
		s.l1.Final = &final.Ref.Number
	}
	if name, ok := d.Value("head"); ok {
		head, err := s.chain.FindL1(name)
		if err != nil {
			return err
		}
		s.l1.Head = head.Ref.Number
		if s.l1.Branch, err = s.chain.L1Branch(modelel.Fork(name)); err != nil {
			return err
		}
	}
	if s.controller != nil && !s.l1.Down {
		s.moveL1()
	}
	return nil
}

func (s *story) l2Command(d testutil.Command) error {
	if len(d.CmdArgs) < 3 || d.CmdArgs[0].Key != "fork" {
		return fmt.Errorf("l2 fork b at=14")
	}
	at, _ := d.Value("at")
	last, err := s.chain.Find(at)
	if err != nil {
		return err
	}
	base, err := s.chain.Branch(modelel.Fork(at))
	if err != nil {
		return err
	}
	l1 := base.L1()
	if name, ok := d.Value("l1"); ok {
		if l1, err = s.chain.L1Branch(name); err != nil {
			return err
		}
	}
	base.ForkOn(l1, d.Word(1), last.Ref.Number)
	return nil
}

func (s *story) gossip(d testutil.Command) error {
	for _, names := range d.Words(0) {
		blocks, err := s.blocks(names)
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
func (s *story) flood(names string, d testutil.Command) error {
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

// elCommand is about the engine. What it does by itself the follower learns later.
func (s *story) elCommand(first string, d testutil.Command) error {
	told, err := s.el.Perform(d, s.chain.Find)
	if told != "" {
		s.note("%s", told)
	}
	s.lost = s.lost || first == "rewind" || first == "wipe"
	s.strayed = s.strayed || first == "sync"
	return err
}

func (s *story) blocks(names string) ([]modelel.Block, error) {
	return testutil.Range(s.chain.Find, names)
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

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/ops/devnet/mirror"
	"github.com/lightcl/op-node/ops/devnet/screen"
	"github.com/lightcl/op-node/ops/devnet/stack"
	"github.com/lightcl/op-node/ops/devnet/watch"
)

const (
	lookInterval = 100 * time.Millisecond
	drawInterval = 200 * time.Millisecond
)

// session watches a devnet that is up. One goroutine owns it.
type session struct {
	cfg       config
	net       *stack.Stack
	followers []*stack.Follower
	display   screen.Display

	up    time.Time // everything is measured from here
	judge *mirror.Judge
	// compared watches the nodes that are there for comparison: they are measured like the others, but whatever they
	// show decides nothing.
	compared *mirror.Judge
	rows     []screen.Row
	told     int // how many violations have been shown
}

func newSession(cfg config, net *stack.Stack, followers []*stack.Follower, display screen.Display) *session {
	rules := mirror.DefaultRules()
	rules.Settle = cfg.settle
	// Safe heads move with L1, in steps of a few blocks.
	rules.Stale = max(rules.Stale, 3*cfg.stack.L1BlockTime)
	s := &session{cfg: cfg, net: net, followers: followers, display: display, up: time.Now()}
	var judged, compared []string
	for _, f := range followers {
		if cfg.forComparison(f.Name()) {
			compared = append(compared, f.Name())
		} else {
			judged = append(judged, f.Name())
		}
	}
	s.judge, s.compared = mirror.New(rules, judged...), mirror.New(rules, compared...)
	for _, n := range s.nodes() {
		s.rows = append(s.rows, screen.Row{Name: n.Name(), Lag: screen.NoLag, Note: "no answer yet"})
	}
	return s
}

func (s *session) nodes() []watch.Node {
	var nodes []watch.Node
	if sequencer := s.net.Sequencer(); sequencer != nil {
		nodes = append(nodes, sequencer)
	}
	for _, light := range s.net.Lights() {
		nodes = append(nodes, light)
	}
	nodes = append(nodes, s.net.Source())
	for _, f := range s.followers {
		nodes = append(nodes, f)
	}
	return nodes
}

// watch looks at all nodes until the check is decided, the time is over, something breaks or ctx ends.
func (s *session) watch(ctx context.Context) error {
	looking, stop := context.WithCancel(ctx)
	defer stop()
	looks := watch.Poll(looking, lookInterval, s.nodes()...)
	draw := time.NewTicker(drawInterval)
	defer draw.Stop()
	over, broken := s.limit(), s.exits(looking)
	for {
		select {
		case look, ok := <-looks:
			if ok {
				s.look(look)
			}
		case now := <-draw.C:
			s.draw(now)
			if s.cfg.check {
				if v := s.judge.Verdict(now.Sub(s.up)); v.Passed || v.Failed() {
					return s.conclude(v)
				}
			}
		case err := <-broken:
			return err
		case err := <-s.net.Failed():
			return err
		case now := <-over:
			return s.end(now)
		case <-ctx.Done():
			return s.end(time.Now())
		}
	}
}

// limit fires when the run has lasted long enough; it is nil for a run without limit.
func (s *session) limit() <-chan time.Time {
	switch {
	case s.cfg.check:
		return time.After(s.cfg.deadline)
	case s.cfg.duration > 0:
		return time.After(s.cfg.duration)
	}
	return nil
}

// exits delivers an error when a follower's process ends by itself.
func (s *session) exits(ctx context.Context) <-chan error {
	broken := make(chan error, len(s.followers))
	for _, f := range s.followers {
		go func() {
			select {
			case <-f.Exited():
				broken <- fmt.Errorf("%s ended by itself (%v); its last lines:\n%s", f.Name(), f.Exit(), strings.Join(f.Tail(), "\n"))
			case <-ctx.Done():
			}
		}()
	}
	return broken
}

// look takes one look at a node into account.
func (s *session) look(look watch.Look) {
	at := look.At.Sub(s.up)
	row := &s.rows[slices.IndexFunc(s.rows, func(r screen.Row) bool { return r.Name == look.Node })]
	if look.Err != nil {
		row.Note = "no answer: " + look.Err.Error()
		return
	}
	heads := mirror.HeadsOf(look.Status)
	row.Heads, row.Note = heads, ""
	for _, judge := range s.judges() {
		var firsts []mirror.First
		if look.Node == s.net.Source().Name() {
			judge.L1(at, l1Ref(s.net.L1().Head()))
			firsts = judge.Source(at, heads)
		} else {
			firsts = judge.Follower(at, look.Node, heads)
		}
		for _, first := range firsts {
			s.display.Note(fmt.Sprintf("%s first mirrored %s %s %d ms after all was up", first.Follower, first.Label, first.Ref, first.At.Milliseconds()))
		}
		if lags := judge.Lag(look.Node, mirror.Safe); lags.Count > 0 {
			row.Lag = lags.Last
		}
	}
}

func (s *session) judges() []*mirror.Judge { return []*mirror.Judge{s.judge, s.compared} }

func (s *session) draw(now time.Time) {
	v := s.judge.Verdict(now.Sub(s.up))
	for ; s.told < len(v.Violations); s.told++ {
		s.display.Note("WRONG: " + v.Violations[s.told].String())
	}
	s.display.Show(screen.View{
		Elapsed: now.Sub(s.up), L1: l1Ref(s.net.L1().Head()), L1Final: l1Ref(s.net.L1().Finalized()),
		State: state(v), Rows: s.rows,
	})
}

// state is the verdict in a few words.
func state(v mirror.Verdict) string {
	switch {
	case v.Failed():
		return fmt.Sprintf("WRONG: %d", len(v.Violations))
	case len(v.Missing) > 0:
		return fmt.Sprintf("missing: %d", len(v.Missing))
	default:
		return fmt.Sprintf("all mirrored for %s", v.Settled.Round(time.Second))
	}
}

// conclude ends a decided check.
func (s *session) conclude(v mirror.Verdict) error {
	s.display.Note(s.summary())
	if !v.Failed() {
		s.display.Note("PASS: every label mirrored by number and hash, and stayed so for " + v.Settled.Round(time.Second).String())
		return nil
	}
	return errors.New("check failed:\n" + s.complaints(v))
}

// end ends a run whose time is over or that was interrupted.
func (s *session) end(now time.Time) error {
	s.display.Note(s.summary())
	if !s.cfg.check {
		return nil
	}
	v := s.judge.Verdict(now.Sub(s.up))
	return fmt.Errorf("check not passed after %s:\n%s", now.Sub(s.up).Round(time.Second), s.complaints(v))
}

// complaints are what a check found wrong or missing, and what the followers last said.
func (s *session) complaints(v mirror.Verdict) string {
	var lines []string
	for _, violation := range v.Violations {
		lines = append(lines, "  wrong: "+violation.String())
	}
	for _, missing := range v.Missing {
		lines = append(lines, "  missing: "+missing)
	}
	if len(lines) == 0 {
		lines = append(lines, fmt.Sprintf("  not settled: everything has been mirrored for %s only", v.Settled.Round(time.Millisecond)))
	}
	for _, f := range s.followers {
		lines = append(lines, fmt.Sprintf("  last lines of %s:", f.Name()))
		tail := f.Tail()
		for _, line := range tail[max(0, len(tail)-tailShown):] {
			lines = append(lines, "    | "+line)
		}
	}
	return strings.Join(lines, "\n")
}

const tailShown = 20

// summary says when labels were first mirrored and how late they were.
func (s *session) summary() string {
	var b strings.Builder
	for _, f := range s.followers {
		judge := s.judge
		if s.cfg.forComparison(f.Name()) {
			judge = s.compared
		}
		for _, label := range mirror.Labels() {
			at, ok := judge.Mirrored(f.Name(), label)
			if !ok {
				continue
			}
			lags := judge.Lag(f.Name(), label)
			fmt.Fprintf(&b, "%s %s: first mirrored after %d ms, lag median %d ms, max %d ms, %d blocks\n",
				f.Name(), label, at.Milliseconds(), lags.Median.Milliseconds(), lags.Max.Milliseconds(), lags.Count)
		}
	}
	return b.String()
}

func l1Ref(id eth.BlockID) mirror.Ref { return mirror.Ref{Number: id.Number, Hash: id.Hash} }

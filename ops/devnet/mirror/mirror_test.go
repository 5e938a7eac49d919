package mirror

import (
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"
)

// A block is written as its number, with a letter behind it for the fork; no letter is the main fork, "-" is unknown.
func ref(text string) Ref {
	if text == "-" {
		return Ref{}
	}
	number := uint64(0)
	fork := ""
	for i, c := range text {
		if c < '0' || c > '9' {
			fork = text[i:]
			break
		}
		number = number*10 + uint64(c-'0')
	}
	var hash common.Hash
	hash[0], hash[1] = byte(number), 0xaa
	copy(hash[2:], fork)
	return Ref{Number: number, Hash: hash}
}

// heads reads "unsafe local-safe safe finalized current-l1".
func heads(text string) Heads {
	var h Heads
	for i, word := range strings.Fields(text) {
		h[i] = ref(word)
	}
	if h[CurrentL1].Known() {
		h[CurrentL1].Hash[31] = 1 // an L1 block is no L2 block
	}
	return h
}

// look is one moment: what the source shows and what the follower shows; empty is not observed.
type look struct {
	at               float64 // seconds
	source, follower string
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func watch(j *Judge, looks []look) Verdict {
	var at time.Duration
	for _, l := range looks {
		at = seconds(l.at)
		if l.source != "" {
			j.Source(at, heads(l.source))
		}
		if l.follower != "" {
			j.Follower(at, "f", heads(l.follower))
		}
	}
	return j.Verdict(at)
}

var rules = Rules{Settle: 4 * time.Second, Grace: 2 * time.Second, Stale: 3 * time.Second, Silent: 3 * time.Second}

func TestVerdict(t *testing.T) {
	good := []look{
		{0, "1 0 0 0 -", "1 0 0 0 -"},
		{1, "5 3 3 0 2", "4 3 3 0 2"},
		{2, "6 5 5 3 3", "6 5 5 3 3"},
		{3, "7 5 5 3 3", "7 5 5 3 3"},
	}
	and := func(more ...look) []look { return append(append([]look(nil), good...), more...) }
	cases := map[string]struct {
		looks     []look
		passed    bool
		missing   []string
		violation string
	}{
		"nothing seen": {missing: []string{"f: shows nothing"}},
		"mirrored and settled": {
			looks:  and(look{4, "8 7 7 5 4", "8 7 7 5 4"}, look{6, "9 7 7 5 4", "9 7 7 5 4"}),
			passed: true,
		},
		"mirrored but not yet settled": {looks: good},
		"genesis is nobody's achievement": {
			looks:   []look{{0, "1 0 0 0 1", "1 0 0 0 1"}, {1, "1 0 0 0 1", "1 0 0 0 1"}},
			missing: []string{"f: local_safe not mirrored (shows 0:00aa00)", "f: safe not mirrored", "f: finalized not mirrored"},
		},
		"finalized missing": {
			looks:   []look{{0, "5 3 3 2 2", "5 3 3 0 2"}, {1, "5 3 3 2 2", "5 3 3 0 2"}},
			missing: []string{"f: finalized not mirrored (shows 0:00aa00)"},
		},
		"another block as safe": {
			looks:     and(look{4, "8 7 7 5 4", "8 7 7x 5 4"}, look{6.5, "9 7 7 5 4", "9 7 7x 5 4"}),
			violation: "safe 7:07aa78 is not local_safe 7:07aa00", missing: nil,
		},
		"another chain as local-safe and safe": {
			looks:     and(look{4, "8 7 7 5 4", "8 7x 7x 5 4"}, look{6.5, "9 7 7 5 4", "9 7x 7x 5 4"}),
			violation: "local_safe 7:07aa78 is not the source's block of that height",
		},
		"another block as current_l1": {
			looks:     and(look{4, "8 7 7 5 4", "8 7 7 5 4x"}, look{6.5, "9 7 7 5 4", "9 7 7 5 4x"}),
			violation: "current_l1 4:04aa78 is not the source's block of that height",
		},
		"an orphan the source once had as unsafe": {
			looks: and(look{3.5, "8x 5 5 3 3", "7 5 5 3 3"}, look{4, "8 5 5 3 3", "7 5 5 3 3"},
				look{4.5, "9 8 8 3 4", "9 8x 8x 3 4"}, look{7, "9 8 8 3 4", "9 8x 8x 3 4"}),
			violation: "local_safe 8:08aa78 is not the source's block of that height",
		},
		"ahead of the source for good": {
			looks:     and(look{4, "8 5 5 3 3", "8 7 7 3 3"}, look{6.5, "9 5 5 3 3", "9 7 7 3 3"}),
			violation: "local_safe 7:07aa00, which the source does not show after 2s",
		},
		"ahead of the source for a moment": {
			looks:  and(look{4, "", "8 7 7 5 4"}, look{4.5, "8 7 7 5 4", ""}, look{6, "9 7 7 5 4", "9 7 7 5 4"}),
			passed: true,
		},
		"wrong in the last moment does not pass": {
			looks: and(look{4, "8 7 7 5 4", "8 7 7 5 4"}, look{6, "9 8 8 5 4", "9 8x 8x 5 4"}),
		},
		"a block the source was not looked at with, known as unsafe": {
			looks:  and(look{4, "9 9 9 5 4", "8 7 7 5 4"}, look{6, "9 9 9 5 4", "9 9 9 5 4"}),
			passed: true,
		},
		"unsafe goes back": {
			looks:     and(look{4, "8 7 7 5 4", "8 7 7 5 4"}, look{5, "8 7 7 5 4", "7 7 7 5 4"}),
			violation: "unsafe went back from 8:08aa00 to 7:07aa00",
		},
		"finalized goes back": {
			looks:     and(look{4, "8 7 7 5 4", "8 7 7 3 4"}, look{5, "8 7 7 5 4", "8 7 7 2 4"}),
			violation: "finalized went back from 3:03aa00 to 2:02aa00",
		},
		"current_l1 goes back": {
			looks:     and(look{4, "8 7 7 5 4", "8 7 7 5 4"}, look{5, "8 7 7 5 4", "8 7 7 5 3"}),
			violation: "current_l1 went back from 4:04aa00 to 3:03aa00",
		},
		"safe changes at the same height": {
			looks:     and(look{4, "8 5x 5x 3 4", "8 5x 5x 3 4"}),
			violation: "local_safe changed its block from 5:05aa00 to 5:05aa78",
		},
		"a label is forgotten": {
			looks:     and(look{4, "8 7 7 5 4", "8 7 7 - 4"}),
			violation: "finalized went from 3:03aa00 to unknown",
		},
		"safe above local-safe": {
			looks:     and(look{4, "8 7 7 5 4", "8 5 7 5 4"}),
			violation: "labels out of order: safe 7:07aa00 above local_safe 5:05aa00",
		},
		"local-safe above unsafe": {
			looks:     and(look{4, "8 8 7 5 4", "7 8 7 5 4"}),
			violation: "labels out of order: local_safe 8:08aa00 above unsafe 7:07aa00",
		},
		"stuck after having mirrored everything": {
			looks: and(look{4, "8 7 7 5 4", "8 5 5 3 3"}, look{8, "12 7 7 5 4", "12 5 5 3 3"}),
			missing: []string{"f: local_safe stays at 5:05aa00, the source went on 4s ago", "f: safe stays",
				"f: finalized stays", "f: current_l1 stays"},
		},
		"silent": {
			looks:   and(look{6.5, "7 5 5 3 3", ""}),
			missing: []string{"f: no answer for 3.5s"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v := watch(New(rules, "f"), c.looks)
			require.Equal(t, c.passed, v.Passed, "%+v", v)
			if c.violation == "" {
				require.Empty(t, v.Violations)
				require.False(t, v.Failed())
			} else {
				require.True(t, v.Failed())
				require.Contains(t, v.Violations[0].What, c.violation)
			}
			require.Len(t, v.Missing, len(c.missing), "%q", v.Missing)
			for i, want := range c.missing {
				require.Contains(t, v.Missing[i], want)
			}
		})
	}
}

func TestNoFollowerIsNoPass(t *testing.T) {
	v := New(rules).Verdict(time.Hour)
	require.False(t, v.Passed)
	require.Equal(t, []string{"no follower to judge"}, v.Missing)
}

func TestEveryFollowerCounts(t *testing.T) {
	j := New(rules, "f", "g")
	for at := time.Duration(0); at < 10*time.Second; at += time.Second {
		h := heads("9 7 7 5 4")
		j.Source(at, h)
		j.Follower(at, "f", h)
	}
	v := j.Verdict(10 * time.Second)
	require.False(t, v.Passed)
	require.Equal(t, []string{"g: shows nothing"}, v.Missing)
}

func TestFirstsAndLags(t *testing.T) {
	j := New(rules, "f")
	j.Source(seconds(1), heads("5 3 3 0 2"))
	require.Empty(t, j.Follower(seconds(1.1), "f", heads("4 0 0 0 1")), "unsafe 4 was not seen at the source, nor was 1")
	firsts := j.Follower(seconds(1.5), "f", heads("5 3 3 0 2"))
	require.Len(t, firsts, 4)
	require.Equal(t, First{Follower: "f", Label: Unsafe, Ref: ref("5"), At: seconds(1.5)}, firsts[0])
	at, ok := j.Mirrored("f", Safe)
	require.True(t, ok)
	require.Equal(t, seconds(1.5), at)
	_, ok = j.Mirrored("f", Finalized)
	require.False(t, ok)

	j.Source(seconds(3), heads("7 5 5 3 3"))
	require.Len(t, j.Follower(seconds(3.2), "f", heads("7 5 5 3 3")), 1)
	require.Empty(t, j.Follower(seconds(4), "f", heads("8 7 7 3 3")), "ahead of the source")
	j.Source(seconds(4.1), heads("8 7 7 3 3"))
	require.Equal(t, Lags{Count: 3, Last: 0, Median: 200 * time.Millisecond, Max: 500 * time.Millisecond}, j.Lag("f", Safe))
	require.Zero(t, j.Lag("unheard of", Safe))
}

func TestRestartedFollowerMayBeginAnywhere(t *testing.T) {
	j := New(rules, "f")
	j.Source(0, heads("9 7 7 5 4"))
	j.Follower(0, "f", heads("9 7 7 5 4"))
	j.Restarted("f")
	j.Follower(seconds(1), "f", heads("- - - - -"))
	j.Follower(seconds(2), "f", heads("9 7 7 5 4"))
	require.Empty(t, j.Verdict(seconds(2)).Violations)
}

func TestL1HeadsFillWhatWasNotLookedAt(t *testing.T) {
	j := New(rules, "f")
	j.Source(0, heads("9 7 7 5 2"))
	j.L1(seconds(1), heads("- - - - 3")[CurrentL1])
	j.Follower(seconds(1), "f", heads("9 7 7 5 3"))
	j.Source(seconds(2), heads("9 7 7 5 4"))
	at, ok := j.Mirrored("f", CurrentL1)
	require.True(t, ok)
	require.Equal(t, seconds(1), at)
}

func TestHistoryIsBounded(t *testing.T) {
	s := newSourceHistory()
	const blocks = 20 * historyLimit
	for n := uint64(1); n <= blocks; n++ {
		r := Ref{Number: n, Hash: common.Hash{byte(n), byte(n >> 8), byte(n >> 16), 1}}
		s.observe(time.Duration(n), Heads{Unsafe: r, Safe: r, CurrentL1: r})
	}
	for _, l := range []Label{Unsafe, Safe, CurrentL1} {
		require.LessOrEqual(t, len(s.shown[l]), 2*historyLimit+1)
		require.LessOrEqual(t, len(s.steps[l]), 2*historyLimit+1)
		require.GreaterOrEqual(t, len(s.steps[l]), historyLimit)
	}
	require.LessOrEqual(t, len(s.blocks[chainL2]), 2*historyLimit+1)
	_, passed := s.passedAt(Safe, blocks-1)
	require.True(t, passed)
}

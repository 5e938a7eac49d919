package engine

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ethereum/go-ethereum/log"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// inboxWorld is a chain with a fork b that shares blocks up to 3 with the main branch.
type inboxWorld struct {
	t     *testing.T
	chain *modelel.Chain
	box   *inbox
}

func newInboxWorld(t *testing.T) *inboxWorld {
	chain := modelel.NewChain()
	chain.L2().Fork("b", 3)
	return &inboxWorld{t, chain, newInbox(log.NewLogger(log.NewTerminalHandler(io.Discard, false)))}
}

func (w *inboxWorld) block(name string) modelel.Block {
	w.t.Helper()
	b, err := w.chain.Find(name)
	require.NoError(w.t, err)
	return b
}

func (w *inboxWorld) add(names string) {
	w.t.Helper()
	for _, name := range strings.Fields(names) {
		require.NoError(w.t, w.box.add(w.block(name).Envelope))
	}
}

// next names the next payload for a head, with a question mark behind a gap.
func (w *inboxWorld) next(head string) string {
	w.t.Helper()
	envelope, gap := w.box.next(w.block(head).Ref)
	if gap {
		return w.name(envelope) + "?"
	}
	return w.name(envelope)
}

// drain takes out what extends the head, block by block.
func (w *inboxWorld) drain(head string) string {
	w.t.Helper()
	var got []string
	for {
		envelope, gap := w.box.next(w.block(head).Ref)
		if envelope == nil || gap {
			return strings.Join(got, " ")
		}
		w.box.drop(envelope)
		head = w.name(envelope)
		got = append(got, head)
	}
}

func (w *inboxWorld) name(envelope *eth.ExecutionPayloadEnvelope) string {
	if envelope == nil {
		return "-"
	}
	return w.chain.Name(envelope.ExecutionPayload.BlockHash)
}

func TestInboxNext(t *testing.T) {
	for name, test := range map[string]struct {
		add, head, want string
	}{
		"empty":                             {"", "5", "-"},
		"a child":                           {"6", "5", "6"},
		"the child, not a later one":        {"8 7 6", "5", "6"},
		"a gap":                             {"8 7", "5", "7?"},
		"the head itself":                   {"5", "5", "-"},
		"old ones are passed over":          {"2 3 6", "5", "6"},
		"another parent":                    {"6b", "5", "-"},
		"another parent, then a gap":        {"6b 8", "5", "8?"},
		"two of a height, one is the child": {"6b 6", "5", "6"},
		"the first after the fork point":    {"4b", "3", "4b"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newInboxWorld(t)
			w.add(test.add)
			require.Equal(t, test.want, w.next(test.head))
			require.Equal(t, test.want, w.next(test.head), "looking does not take")
		})
	}
}

func TestInboxRefuses(t *testing.T) {
	w := newInboxWorld(t)
	w.add("6")
	require.Error(t, w.box.add(w.block("6").Envelope), "it waits already")
	require.NoError(t, w.box.add(w.block("6b").Envelope), "another block of that height")
}

func TestInboxTakesPayloadsUpAgainAfterTheHeadWentBack(t *testing.T) {
	w := newInboxWorld(t)
	w.add("4b 5b 6b")
	require.Equal(t, "-", w.next("7"), "all of another branch")
	require.Equal(t, "-", w.next("3"), "put aside")
	w.box.readopt()
	require.Equal(t, "4b 5b 6b", w.drain("3"))
	w.box.readopt()
	require.Equal(t, "-", w.next("3"), "they are gone for good")
}

func TestInboxForgetsTheOldestOfTooManyOrphans(t *testing.T) {
	w := newInboxWorld(t)
	for _, b := range w.blocksOf("b", 4, 4+maxOrphans) { // one too many
		require.NoError(t, w.box.add(b.Envelope))
	}
	require.Equal(t, "-", w.next("400"))
	w.box.readopt()
	require.Equal(t, "5b?", w.next("3"))
}

func (w *inboxWorld) blocksOf(fork string, from, to uint64) (out []modelel.Block) {
	for n := from; n <= to; n++ {
		out = append(out, w.block(fmt.Sprint(n)+fork))
	}
	return out
}

func TestInboxBranch(t *testing.T) {
	for name, test := range map[string]struct {
		orphans, tip, want string
	}{
		"none":                       {"", "6b", ""},
		"another tip":                {"4b 5b", "6b", ""},
		"the whole branch":           {"4b 5b 6b", "6b", "4b 5b 6b"},
		"in whatever order it came":  {"6b 4b 5b", "6b", "4b 5b 6b"},
		"not what is above":          {"4b 5b 6b", "5b", "4b 5b"},
		"with a hole, what is above": {"4b 6b", "6b", "6b"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newInboxWorld(t)
			w.add(test.orphans)
			require.Equal(t, "-", w.next("9"))
			for range 2 { // they stay
				var got []string
				for _, envelope := range w.box.branch(w.block(test.tip).Hash()) {
					got = append(got, w.name(envelope))
				}
				require.Equal(t, test.want, strings.Join(got, " "))
			}
		})
	}
}

func TestInboxAbove(t *testing.T) {
	w := newInboxWorld(t)
	w.add("4 5 6b 7")
	require.Equal(t, "6b", w.name(w.box.above(5)))
	require.Equal(t, "7", w.name(w.box.above(6)))
	require.Equal(t, "-", w.name(w.box.above(7)))
	require.Equal(t, "-", w.next("3"), "what was below is forgotten")
}

func TestInboxDropsOnlyTheLowest(t *testing.T) {
	w := newInboxWorld(t)
	w.add("6 7")
	w.box.drop(w.block("7").Envelope)
	require.Equal(t, "6 7", w.drain("5"))
}

func TestInboxLoad(t *testing.T) {
	w := newInboxWorld(t)
	length, bytes, next := w.box.load()
	require.Zero(t, length)
	require.Zero(t, bytes)
	require.Zero(t, next)
	w.add("7 6")
	length, bytes, next = w.box.load()
	require.EqualValues(t, 2, length)
	require.Equal(t, payloadBytes(w.block("6").Envelope)+payloadBytes(w.block("7").Envelope), bytes)
	require.Equal(t, w.block("6").ID(), next)
}

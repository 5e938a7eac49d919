package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-e2e/e2eutils/geth"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// The model of op-geth that the rollup driver is tested on is compared with the real one: both get the same commands
// and must answer each of them alike and have the same labels after it.
//
// Commands are those of modelel.Perform, and
//
//	restart       stop and start the engine, on the same database
//	rewind 3      debug_setHead
//	build on 3    a forkchoice update to block 3, and its labels to nothing, with attributes for a child
//
// Blocks 1 to 8 are a chain; 4b to 7b fork off at 3, 6c to 8c at 5, 5x on top of 4 has a wrong state root and 6x is on
// top of 5x; nobody has block "?".
var modelStories = map[string][]string{
	"growth": {
		"byLabel latest", "byLabel safe", "byLabel finalized",
		"newPayload 1", "byHash 1", "byNumber 1", "FCU head=1", "byNumber 1", "newPayload 2", "newPayload 2",
		"FCU head=2 safe=1", "FCU head=2 safe=1 fin=1", "FCU head=2 safe=2", "FCU head=- safe=1 fin=1",
	},
	"labels may move back": {
		"newPayload 1", "newPayload 2", "FCU head=2 safe=2 fin=2", "FCU head=2 safe=1 fin=1", "FCU head=2 safe=0 fin=1",
		"FCU head=2 safe=2 fin=0", "FCU head=2",
	},
	"a payload without its parent": {
		"newPayload 2", "byHash 2", "FCU head=2 safe=1 fin=1", "newPayload 1", "FCU head=2", "newPayload 3", "newPayload 2",
		"FCU head=2", "FCU head=3", "newPayload 3", "FCU head=3 safe=1 fin=1",
	},
	"an unknown head": {
		"newPayload 1", "FCU head=1 safe=0 fin=0", "FCU head=? safe=1 fin=1", "FCU head=5 safe=1 fin=1", "FCU head=1 safe=1 fin=1",
	},
	"a head on the canonical chain below latest": {
		"newPayload 1", "newPayload 2", "newPayload 3", "FCU head=3 safe=1 fin=0", "FCU head=1 safe=1 fin=1", "byNumber 3",
		"FCU head=2 safe=3", "newPayload 4", "FCU head=4",
	},
	"reorgs": {
		"newPayload 1", "newPayload 2", "newPayload 3", "newPayload 4", "newPayload 5", "newPayload 6", "FCU head=6 safe=5 fin=2",
		"newPayload 4b", "FCU head=4b safe=3 fin=3", "byNumber 4", "byNumber 5", "byHash 5", "FCU head=4b", "FCU head=6",
		"byNumber 5", "newPayload 6c", "FCU head=6c safe=5 fin=3", "newPayload 7c", "newPayload 5b", "newPayload 6b",
		"FCU head=6b safe=4b fin=1", "byNumber 5", "FCU head=7c safe=6c fin=5",
	},
	"labels off the canonical chain": {
		"newPayload 1", "newPayload 2", "newPayload 3", "newPayload 4", "newPayload 4b", "FCU head=4 safe=4 fin=1",
		"FCU head=4b", "byLabel safe", "FCU head=4b safe=4 fin=2", "FCU head=4 safe=4b fin=3", "FCU head=4b safe=4b fin=4",
		"FCU head=4 safe=? fin=2", "FCU head=4b safe=3 fin=?", "FCU head=4b safe=3 fin=3", "FCU head=4 safe=5", "FCU head=4 fin=5",
	},
	"invalid blocks": {
		"newPayload 1", "newPayload 2", "newPayload 3", "newPayload 4", "FCU head=4 safe=2 fin=1", "newPayload 5x", "newPayload 5x",
		"byHash 5x", "FCU head=5x", "newPayload 6x", "FCU head=6x", "FCU head=4 safe=5x", "newPayload 5", "FCU head=5",
		"restart", "newPayload 6x", "FCU head=6x", "newPayload 5x", "newPayload 6x",
	},
	"an invalid block that came before its parent": {
		"newPayload 6x", "newPayload 5x", "FCU head=6x", "newPayload 1", "newPayload 2", "newPayload 3", "newPayload 4",
		"newPayload 5x", "FCU head=6x", "newPayload 6x", "FCU head=6x",
	},
	"a bad block gets another chance": slices.Concat(
		[]string{"newPayload 1", "newPayload 2", "newPayload 3", "newPayload 4", "newPayload 5x"},
		slices.Repeat([]string{"newPayload 6x"}, 130), []string{"newPayload 5x", "newPayload 6x"},
	),
	"restart": {
		"newPayload 1", "newPayload 2", "FCU head=2 safe=1", "restart", "byLabel safe", "FCU head=2 safe=2 fin=1", "newPayload 3",
		"newPayload 5", "restart", "byHash 3", "FCU head=5", "FCU head=3 safe=3 fin=2", "newPayload 4b", "restart", "FCU head=4b",
	},
	"rewind": {
		"newPayload 1", "newPayload 2", "newPayload 3", "newPayload 4", "newPayload 4b", "newPayload 5b", "newPayload 5",
		"FCU head=5 safe=4 fin=1", "rewind 4", "byHash 5", "byHash 4b", "byHash 5b", "rewind 3", "byHash 4b", "FCU head=4",
		"newPayload 4", "FCU head=4 safe=4 fin=4", "rewind 2", "newPayload 3", "FCU head=3 safe=2", "rewind 2",
	},
	"build": {
		"build on 0", "newPayload 1", "newPayload 2", "build on 2", "build on 1", "build on 0", "newPayload 4", "build on 4",
		"build on ?", "newPayload 3", "newPayload 4b", "build on 3",
	},
}

func TestModelELEqualsOpGeth(t *testing.T) {
	w := newModelWorld(t)
	for name, story := range modelStories {
		t.Run(name, func(t *testing.T) {
			var opts []geth.GethOption
			if slices.Contains(story, "restart") {
				opts = append(opts, onDisk(t))
			}
			w.newPair(t, opts...).perform(t, story...)
		})
	}
}

// TestModelELEqualsOpGethAtRandom plays stories that nobody thought of: some in which anything may happen save a restart,
// and some in which the engine is restarted and no block is heard of that conflicts with one that was final.
func TestModelELEqualsOpGethAtRandom(t *testing.T) {
	w := newModelWorld(t)
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			teller := &modelTeller{w: w, random: rand.New(rand.NewPCG(seed, 0)), restarts: seed%4 == 0, final: w.blocks["0"]}
			var opts []geth.GethOption
			if teller.restarts {
				opts = append(opts, onDisk(t))
			}
			p := w.newPair(t, opts...)
			for range 80 {
				p.perform(t, teller.command(p.model))
			}
		})
	}
}

// modelTeller makes up stories.
type modelTeller struct {
	w        *modelWorld
	random   *rand.Rand
	restarts bool
	final    modelel.Block // the highest ever
}

// command tends to let the chain grow, and to call things by their right names.
func (s *modelTeller) command(el *modelel.EL) string {
	random, w := s.random, s.w
	heads := el.Heads()
	if heads.Finalized.Number > s.final.Ref.Number {
		s.final = w.blocks[w.name(heads.Finalized.Hash)]
	}
	var known, next, payloads []string
	for _, name := range w.order {
		b := w.blocks[name]
		if b.Envelope == nil || s.restarts && w.conflict(b, s.final) {
			continue
		}
		payloads = append(payloads, name)
		switch {
		case el.Has(b.Hash()):
			known = append(known, name)
		case el.Has(b.Ref.ParentHash):
			next = append(next, name)
		}
	}
	all := append(slices.Clip(payloads), "?")
	pick := func(percent int, likely, other []string) string {
		if random.IntN(100) < percent && len(likely) > 0 {
			return likely[random.IntN(len(likely))]
		}
		return other[random.IntN(len(other))]
	}
	label := func() string {
		switch random.IntN(6) {
		case 0:
			return "-"
		case 1:
			return pick(50, known, all)
		case 2:
			return w.name(heads.Safe.Hash)
		default:
			return w.name(w.ancestor(heads.Latest.Hash, random.IntN(4)))
		}
	}
	switch n := random.IntN(100); {
	case n < 45:
		return "newPayload " + pick(70, next, payloads)
	case n < 85:
		return fmt.Sprintf("FCU head=%s safe=%s fin=%s", pick(80, known, all), label(), label())
	case n < 91:
		return "byNumber " + fmt.Sprint(random.IntN(9))
	case n < 94:
		return "byHash " + pick(50, known, all)
	case n < 96:
		return "build on " + pick(80, known, all)
	case n < 98 && s.restarts:
		return "restart"
	default:
		return fmt.Sprint("rewind ", heads.Latest.Number-min(heads.Latest.Number, uint64(random.IntN(3))))
	}
}

// TestModelELRefusesLikeOpGeth sends payloads and attributes that are wrong in themselves.
func TestModelELRefusesLikeOpGeth(t *testing.T) {
	w := newModelWorld(t)
	p := w.newPair(t)
	p.perform(t, "newPayload 1", "FCU head=1")
	t.Run("payloads", func(t *testing.T) {
		for name, spoil := range map[string]func(*eth.ExecutionPayloadEnvelope){
			"content":          func(e *eth.ExecutionPayloadEnvelope) { e.ExecutionPayload.GasUsed++ },
			"beacon root":      func(e *eth.ExecutionPayloadEnvelope) { e.ParentBeaconBlockRoot = &common.Hash{1} },
			"no beacon root":   func(e *eth.ExecutionPayloadEnvelope) { e.ParentBeaconBlockRoot = nil },
			"extra data":       func(e *eth.ExecutionPayloadEnvelope) { e.ExecutionPayload.ExtraData = nil },
			"withdrawals root": func(e *eth.ExecutionPayloadEnvelope) { e.ExecutionPayload.WithdrawalsRoot = nil },
			"no withdrawals":   func(e *eth.ExecutionPayloadEnvelope) { e.ExecutionPayload.Withdrawals = nil },
			"no blob gas":      func(e *eth.ExecutionPayloadEnvelope) { e.ExecutionPayload.BlobGasUsed = nil },
			"time": func(e *eth.ExecutionPayloadEnvelope) {
				e.ExecutionPayload.Timestamp -= modelel.DefaultL2BlockTime
				e.ExecutionPayload.BlockHash, _ = e.CheckBlockHash()
			},
			"number": func(e *eth.ExecutionPayloadEnvelope) {
				e.ExecutionPayload.BlockNumber++
				e.ExecutionPayload.BlockHash, _ = e.CheckBlockHash()
			},
		} {
			t.Run(name, func(t *testing.T) {
				payload := *w.blocks["2"].Envelope.ExecutionPayload
				envelope := &eth.ExecutionPayloadEnvelope{
					ParentBeaconBlockRoot: w.blocks["2"].Envelope.ParentBeaconBlockRoot, ExecutionPayload: &payload,
				}
				spoil(envelope)
				p.both(t, func(e modelel.Engine) {
					_, _ = e.NewPayload(t.Context(), envelope.ExecutionPayload, envelope.ParentBeaconBlockRoot)
				})
			})
		}
	})
	t.Run("attributes", func(t *testing.T) {
		for name, spoil := range map[string]func(*eth.PayloadAttributes){
			"nothing":           func(*eth.PayloadAttributes) {},
			"time":              func(a *eth.PayloadAttributes) { a.Timestamp -= modelel.DefaultL2BlockTime },
			"gas limit":         func(a *eth.PayloadAttributes) { a.GasLimit = nil },
			"beacon root":       func(a *eth.PayloadAttributes) { a.ParentBeaconBlockRoot = nil },
			"withdrawals":       func(a *eth.PayloadAttributes) { a.Withdrawals = nil },
			"no parameters":     func(a *eth.PayloadAttributes) { a.EIP1559Params = nil },
			"absurd parameters": func(a *eth.PayloadAttributes) { a.EIP1559Params = &eth.Bytes8{7: 1} },
			"no minimum fee":    func(a *eth.PayloadAttributes) { a.MinBaseFee = nil },
			"transaction":       func(a *eth.PayloadAttributes) { a.Transactions = []eth.Data{{0x42}} },
			"no transactions":   func(a *eth.PayloadAttributes) { a.Transactions = nil },
			"parameters":        func(a *eth.PayloadAttributes) { a.EIP1559Params = &eth.Bytes8{3: 50, 7: 2} },
		} {
			t.Run(name, func(t *testing.T) {
				attr := w.attributes(w.blocks["1"], "")
				spoil(attr)
				state := &eth.ForkchoiceState{HeadBlockHash: w.blocks["1"].Hash()}
				p.both(t, func(e modelel.Engine) {
					res, err := e.ForkchoiceUpdate(t.Context(), state, attr)
					if err != nil {
						return
					}
					envelope, err := e.GetPayload(t.Context(), eth.PayloadInfo{ID: *res.PayloadID, Timestamp: uint64(attr.Timestamp)})
					require.NoError(t, err)
					payload := envelope.ExecutionPayload
					require.Equal(t, state.HeadBlockHash, payload.ParentHash)
					require.Equal(t, attr.Timestamp, payload.Timestamp)
					require.Len(t, payload.Transactions, len(attr.Transactions))
					require.Equal(t, w.extraData(attr), []byte(payload.ExtraData))
				})
			})
		}
	})
	t.Run("a payload nobody asked for", func(t *testing.T) {
		p.both(t, func(e modelel.Engine) {
			_, _ = e.GetPayload(t.Context(), eth.PayloadInfo{ID: eth.PayloadID{3}, Timestamp: w.cfg.Genesis.L2Time + 2})
		})
	})
}

// TestModelELSyncsLikeOpGeth lets both engines fetch blocks from peers.
func TestModelELSyncsLikeOpGeth(t *testing.T) {
	w := newModelWorld(t)
	t.Run("to an unknown head", func(t *testing.T) {
		p := w.newPeeredPair(t, "8")
		p.await(t, "FCU head=4 safe=2 fin=1", "4")
		p.perform(t, "byNumber 3", "FCU head=4 safe=2 fin=1", "newPayload 5", "FCU head=5")
	})
	t.Run("to an announced head", func(t *testing.T) {
		p := w.newPeeredPair(t, "8")
		p.perform(t, "newPayload 6")
		p.await(t, "FCU head=6", "6")
		p.perform(t, "FCU head=6 safe=6 fin=6")
	})
	t.Run("to another branch", func(t *testing.T) {
		p := w.newPeeredPair(t, "7b")
		p.perform(t, "newPayload 1", "newPayload 2", "newPayload 3", "newPayload 4", "newPayload 5", "FCU head=5 safe=3 fin=2")
		p.await(t, "FCU head=7b safe=5b fin=3", "7b")
		p.perform(t, "byNumber 4", "byHash 5", "FCU head=7b safe=5b fin=3")
	})
	t.Run("not to a block off the canonical chain of its peers", func(t *testing.T) {
		p := w.newPeeredPair(t, "8")
		p.perform(t, "newPayload 1", "newPayload 2", "newPayload 3", "newPayload 4", "FCU head=4 safe=3 fin=2",
			"newPayload 6b", "FCU head=6b safe=3 fin=2", "FCU head=6b safe=3 fin=2")
		require.False(t, p.model.CompleteSync())
		p.lostPeer(t)
		p.perform(t, "FCU head=6b safe=3 fin=2", "newPayload 5", "FCU head=5 safe=4 fin=3")
	})
	t.Run("snap sync", func(t *testing.T) {
		p := w.newPeeredPair(t, "8", snapSync)
		p.perform(t, "newPayload 1")
		p.await(t, "FCU head=8 safe=2 fin=1", "8")
		p.perform(t, "FCU head=8 safe=2 fin=1", "byNumber 1")
	})
	t.Run("snap sync answers", func(t *testing.T) {
		p := w.newSnapPair(t)
		p.perform(t, "newPayload 1", "FCU head=1", "FCU head=0", "newPayload 1", "newPayload 2", "FCU head=2 safe=1 fin=1",
			"FCU head=?", "byNumber 0", "byNumber 1", "byHash 1", "byLabel latest", "FCU head=0 safe=0 fin=0", "restart",
			"newPayload 1", "FCU head=1")
	})
}

// await performs a command that starts a sync, and goes on once both engines have the block.
func (p *modelPair) await(t *testing.T, command, name string) {
	t.Helper()
	require.Equal(t, p.performReal(t, command), p.performModel(t, command))
	require.True(t, p.model.CompleteSync())
	synced := func() bool { return p.realHead() == p.w.blocks[name].Hash() }
	require.Eventually(t, synced, 30*time.Second, time.Millisecond, "op-geth does not sync to %s", name)
	p.compareLabels(t, command)
}

// lostPeer waits until the real engine has thrown out its peer, for not delivering the headers that lead to its target.
func (p *modelPair) lostPeer(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return p.real.inst.Node.Server().PeerCount() == 0 }, 20*time.Second, time.Millisecond)
}

// perform gives commands to both engines and compares what comes of them.
func (p *modelPair) perform(t *testing.T, commands ...string) {
	t.Helper()
	for _, command := range commands {
		real, model := p.performReal(t, command), p.performModel(t, command)
		p.story = append(p.story, real)
		require.Equal(t, real, model, "op-geth and the model differ after\n%s", strings.Join(p.story, "\n"))
		p.compareLabels(t, command)
	}
}

// both gives a call that cannot be put into words to both engines and compares what comes of it.
func (p *modelPair) both(t *testing.T, call func(modelel.Engine)) {
	t.Helper()
	call(p.realLog)
	call(p.modelLog)
	want, got := anonymous(p.realLog.Log().Take()), anonymous(p.modelLog.Log().Take())
	require.NotEmpty(t, want)
	require.Equal(t, want, got)
	p.compareLabels(t, want)
}

// anonymous are calls without the hashes of blocks that only one of the engines could have made.
func anonymous(calls []modelel.Call) string {
	var b strings.Builder
	for _, c := range calls {
		line := c.String()
		if c.Method == modelel.GetPayload && c.Err == nil {
			line, _, _ = strings.Cut(line, " → ")
		}
		fmt.Fprintln(&b, line)
	}
	return b.String()
}

func (p *modelPair) compareLabels(t *testing.T, command string) {
	t.Helper()
	labels := func(e modelel.Engine) string {
		var b strings.Builder
		for _, label := range []eth.BlockLabel{eth.Unsafe, eth.Safe, eth.Finalized} {
			ref, _ := e.L2BlockRefByLabel(context.Background(), label)
			fmt.Fprintf(&b, " %s=%s", label, p.w.name(ref.Hash))
		}
		return b.String()
	}
	real, model := labels(p.real.client), labels(p.model)
	p.story = append(p.story, "labels"+real)
	require.Equal(t, real, model, "labels of op-geth and the model differ after %s:\n%s", command, strings.Join(p.story, "\n"))
}

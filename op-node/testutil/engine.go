package testutil

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/sources"

	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// Engine is an execution layer of a world, with peers, and a line to it that can fail. From the inside out: the model;
// what it hides or answers out of turn; the faults of the line; the client of a node, see [Engine.Connect]. It is safe
// for concurrent use.
type Engine struct {
	*modelel.EL
	// Peers are what the engine can fetch blocks from.
	Peers *modelel.Network
	// Line is what can go wrong with calls.
	Line *modelel.Faulty

	chain *modelel.Chain
	moody *moody
}

// NewEngine makes an execution layer that has the genesis of a chain.
func NewEngine(chain *modelel.Chain, peers *modelel.Network, opts ...modelel.Option) *Engine {
	e := &Engine{EL: chain.NewEL(append([]modelel.Option{modelel.WithNetwork(peers)}, opts...)...), Peers: peers, chain: chain}
	e.moody = &moody{Engine: e.EL}
	e.Line = modelel.NewFaulty(e.moody)
	return e
}

// Manners are the kinds of execution layer, by the client that is modelled.
func Manners() map[string][]modelel.Option {
	return map[string][]modelel.Option{"op-geth": nil, "op-reth": {modelel.Reth()}}
}

// Connect makes the client of a node, with empty caches: one for each process, which all parts of the node share.
func (e *Engine) Connect() *sources.EngineClient {
	return NewClient(e.chain.RollupConfig(), e.Line, e.EL)
}

// HideUpTo lets the engine not find canonical blocks by number up to one, as in the middle of a sync; zero ends it.
func (e *Engine) HideUpTo(number uint64) {
	e.moody.mu.Lock()
	defer e.moody.mu.Unlock()
	e.moody.hidden = number
}

// SayNext lets the engine answer the next call of a method, FCU or NewPayload, with a status, whatever it was asked.
func (e *Engine) SayNext(method modelel.Method, status eth.ExecutePayloadStatus) {
	e.moody.mu.Lock()
	defer e.moody.mu.Unlock()
	e.moody.method, e.moody.status = method, status
}

// Kill stops the engine uncleanly: it comes back without the blocks above a number, on any branch.
func (e *Engine) Kill(kept uint64) {
	e.Restart()
	e.Rewind(kept)
}

// Wipe gives the engine an empty database.
func (e *Engine) Wipe() { e.Kill(e.chain.Genesis().Ref.Number) }

// Give has blocks executed that do not become canonical, parents first.
func (e *Engine) Give(blocks ...modelel.Block) error {
	for _, b := range blocks {
		status, err := e.NewPayload(context.Background(), b.Envelope.ExecutionPayload, b.Envelope.ParentBeaconBlockRoot)
		if err != nil {
			return err
		}
		if status.Status != eth.ExecutionValid {
			return fmt.Errorf("block %s is %s", b.Ref, status.Status)
		}
	}
	return nil
}

// Options are those of an engine that a transcript names: "reth" and "snap".
func Options(c Command) (opts []modelel.Option) {
	if c.HasArg("reth") {
		opts = append(opts, modelel.Reth())
	}
	if c.HasArg("snap") {
		opts = append(opts, modelel.SnapSync())
	}
	return opts
}

// Start loads the chain up to a block, and sets labels, by their names in "el=60 safe=40 finalized=30". Without el the
// engine stays empty.
func (e *Engine) Start(c Command, find func(name string) (modelel.Block, error)) error {
	if name, ok := c.Value("el"); ok {
		blocks, err := Range(find, "1.."+name)
		if err != nil {
			return err
		}
		e.Load(blocks...)
	}
	var labels [2]common.Hash
	for i, key := range []string{"safe", "finalized"} {
		if name, ok := c.Value(key); ok {
			b, err := find(name)
			if err != nil {
				return err
			}
			labels[i] = b.Hash()
		}
	}
	e.SetLabels(labels[0], labels[1])
	return nil
}

// Perform carries out a command of a transcript about the engine or its peers, and returns what is to be told. Those are:
//
//	el restart | wipe | rewind 30 | sync | mark-invalid 7 | labels
//	el fault drop [times=3] [on=FCU]  the faults of modelel.ParseFault; without times for good
//	el slow 10ms                      each call takes a while
//	el hides-up-to 50                 older canonical blocks are not found by number
//	el heal                           no more faults
//	peers have 1..90 | lack 7         what the engine can fetch
func (e *Engine) Perform(c Command, find func(name string) (modelel.Block, error)) (told string, err error) {
	if c.Cmd == "peers" {
		return "", e.performPeers(c, find)
	}
	switch c.Word(0) {
	case "restart":
		e.Restart()
	case "wipe":
		e.Wipe()
	case "rewind":
		number, err := strconv.ParseUint(c.Word(1), 10, 64)
		if err != nil {
			return "", err
		}
		e.Rewind(number)
	case "sync":
		return fmt.Sprintf("reached: %t", e.CompleteSync()), nil
	case "mark-invalid":
		b, err := find(c.Word(1))
		if err != nil {
			return "", err
		}
		e.MarkInvalid(b.Hash())
	case "labels":
		return e.String(), nil
	case "slow":
		pause, err := time.ParseDuration(c.Word(1))
		if err != nil {
			return "", err
		}
		e.Line.Always(modelel.Delay(clock.SystemClock, pause))
	case "hides-up-to":
		number, err := strconv.ParseUint(c.Word(1), 10, 64)
		if err != nil {
			return "", err
		}
		e.HideUpTo(number)
	case "heal":
		e.HideUpTo(0)
		e.Line.Heal()
	case "fault":
		return "", e.addFault(c)
	default:
		return "", fmt.Errorf("unknown command el %s", c.Word(0))
	}
	return "", nil
}

func (e *Engine) performPeers(c Command, find func(name string) (modelel.Block, error)) error {
	for _, names := range c.Words(1) {
		blocks, err := Range(find, names)
		if err != nil {
			return err
		}
		switch c.Word(0) {
		case "have":
			e.Peers.Publish(blocks...)
		case "lack":
			e.Peers.Withdraw(blocks...)
		default:
			return fmt.Errorf("unknown command peers %s", c.Word(0))
		}
	}
	return nil
}

func (e *Engine) addFault(c Command) error {
	fault, err := modelel.ParseFault(c.Word(1))
	if err != nil {
		return err
	}
	var methods []modelel.Method
	if on, ok := c.Value("on"); ok {
		for _, m := range strings.Split(on, ",") {
			methods = append(methods, modelel.Method(m))
		}
	}
	if _, ok := c.Value("times"); !ok {
		e.Line.Always(fault, methods...)
		return nil
	}
	times, err := c.Number("times")
	e.Line.Next(int(times), fault, methods...)
	return err
}

// moody is an engine that hides blocks and answers out of turn.
type moody struct {
	modelel.Engine
	mu     sync.Mutex
	hidden uint64
	method modelel.Method
	status eth.ExecutePayloadStatus
}

// take is the answer that is due for a method.
func (m *moody) take(method modelel.Method) (eth.PayloadStatusV1, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.method != method {
		return eth.PayloadStatusV1{}, false
	}
	m.method = ""
	return eth.PayloadStatusV1{Status: m.status}, true
}

// L2BlockRefByNumber implements modelel.Engine, as do the methods below.
func (m *moody) L2BlockRefByNumber(ctx context.Context, number uint64) (eth.L2BlockRef, error) {
	m.mu.Lock()
	hidden := m.hidden
	m.mu.Unlock()
	if number > 0 && number <= hidden {
		return eth.L2BlockRef{}, ethereum.NotFound
	}
	return m.Engine.L2BlockRefByNumber(ctx, number)
}

func (m *moody) ForkchoiceUpdate(ctx context.Context, state *eth.ForkchoiceState, attr *eth.PayloadAttributes) (*eth.ForkchoiceUpdatedResult, error) {
	if status, ok := m.take(modelel.FCU); ok {
		return &eth.ForkchoiceUpdatedResult{PayloadStatus: status}, nil
	}
	return m.Engine.ForkchoiceUpdate(ctx, state, attr)
}

func (m *moody) NewPayload(ctx context.Context, payload *eth.ExecutionPayload, root *common.Hash) (*eth.PayloadStatusV1, error) {
	if status, ok := m.take(modelel.NewPayload); ok {
		return &status, nil
	}
	return m.Engine.NewPayload(ctx, payload, root)
}

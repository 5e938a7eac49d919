package modelel

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// Fault is something that can go wrong with a call. It may call deliver, which hands the call to the engine and returns
// the engine's error; a nil result lets the caller see the engine's answer.
type Fault func(ctx context.Context, deliver func(context.Context) error) error

// Results of a Fault that replace the answer instead of failing the call.
var (
	errNilAnswer   = errors.New("nil answer")
	errEmptyAnswer = errors.New("empty answer")
	errSyncing     = errors.New("engine is syncing")
)

// ErrDropped is the transport error of [Drop].
var ErrDropped = fmt.Errorf("dial engine: %w", syscall.ECONNREFUSED)

// Drop fails the call with a transport error; the engine does not get it.
func Drop() Fault {
	return func(context.Context, func(context.Context) error) error { return ErrDropped }
}

// RPCError fails the call with a JSON-RPC error; the engine does not get it.
func RPCError(code int, message string) Fault {
	return func(context.Context, func(context.Context) error) error { return &rpcError{code, message} }
}

// Reaiming fails a forkchoice update as op-geth does when it has just been given another sync target and has not yet let
// go of the one before: a moment later the same call is answered with SYNCING.
func Reaiming() Fault { return RPCError(-32000, "beacon syncer reorging") }

// NilAnswer answers with nothing at all, as for the JSON value null; the engine does not get the call.
func NilAnswer() Fault {
	return func(context.Context, func(context.Context) error) error { return errNilAnswer }
}

// EmptyAnswer answers with an object that has no fields; the engine does not get the call.
func EmptyAnswer() Fault {
	return func(context.Context, func(context.Context) error) error { return errEmptyAnswer }
}

// Forget answers like an engine that lost its blocks: SYNCING to what it is given, not found to what it is asked for,
// unknown payload to what it was to build. The engine does not get the call.
func Forget() Fault {
	return func(context.Context, func(context.Context) error) error { return errSyncing }
}

// Hang never answers: the call ends when its context does, and the engine does not get it.
func Hang() Fault {
	return func(ctx context.Context, _ func(context.Context) error) error {
		<-ctx.Done()
		return ctx.Err()
	}
}

// Delay holds the call up, by the given clock, before the engine gets it. A context that ends first ends the call.
func Delay(c clock.Clock, d time.Duration) Fault {
	return func(ctx context.Context, deliver func(context.Context) error) error {
		if err := c.SleepCtx(ctx, d); err != nil {
			return err
		}
		return deliver(ctx)
	}
}

// Late lets the engine get the call, and loses the answer: the caller sees the fault instead.
func Late(fault Fault) Fault {
	return func(ctx context.Context, deliver func(context.Context) error) error {
		_ = deliver(ctx)
		return fault(ctx, func(context.Context) error { return nil })
	}
}

// Before does something to the world just before the engine gets the call: Before(el.Restart), for instance.
func Before(act func()) Fault {
	return func(ctx context.Context, deliver func(context.Context) error) error {
		act()
		return deliver(ctx)
	}
}

// After does something to the world just after the engine answered, and before the caller learns of it.
func After(act func()) Fault {
	return func(ctx context.Context, deliver func(context.Context) error) error {
		err := deliver(ctx)
		act()
		return err
	}
}

// Both is two faults at once; the first is nearer to the caller.
func Both(first, second Fault) Fault {
	return func(ctx context.Context, deliver func(context.Context) error) error {
		return first(ctx, func(ctx context.Context) error { return second(ctx, deliver) })
	}
}

// Flap lets some calls pass, then strikes some, and so on.
func Flap(pass, strike int, fault Fault) Fault {
	var mu sync.Mutex
	seen := 0
	return func(ctx context.Context, deliver func(context.Context) error) error {
		mu.Lock()
		struck := seen%(pass+strike) >= pass
		seen++
		mu.Unlock()
		if struck {
			return fault(ctx, deliver)
		}
		return deliver(ctx)
	}
}

// Gate holds calls up until a test lets them go.
type Gate struct {
	arrived chan struct{}
	open    chan struct{}
	once    sync.Once
}

// NewGate makes a closed gate.
func NewGate() *Gate { return &Gate{arrived: make(chan struct{}, 1024), open: make(chan struct{})} }

// Hold is the fault: the engine gets the call when the gate is open. A context that ends first ends the call.
func (g *Gate) Hold() Fault {
	return func(ctx context.Context, deliver func(context.Context) error) error {
		g.arrived <- struct{}{}
		select {
		case <-g.open:
			return deliver(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Arrived yields a value for each call that came to the gate.
func (g *Gate) Arrived() <-chan struct{} { return g.arrived }

// Release opens the gate, for good. It may be called again.
func (g *Gate) Release() { g.once.Do(func() { close(g.open) }) }

type rpcError struct {
	code    int
	message string
}

var _ rpc.Error = (*rpcError)(nil)

func (e *rpcError) Error() string  { return e.message }
func (e *rpcError) ErrorCode() int { return e.code }

// Faulty is an engine with faults, which come from a script: those announced with [Faulty.Next], in that order, and
// once these are used up the standing one of [Faulty.Always], if any. It is safe for concurrent use.
type Faulty struct {
	inner Engine

	mu     sync.Mutex
	script []*scripted
	always []*scripted
}

// scripted is a fault that is due for calls of some methods, or all if none is named.
type scripted struct {
	left    int
	fault   Fault
	methods []Method
}

// NewFaulty puts a script, empty at first, in front of an engine.
func NewFaulty(inner Engine) *Faulty { return &Faulty{inner: inner} }

// Next lets the next n calls that no earlier Next claims meet a fault. With methods given, only calls of these count.
func (f *Faulty) Next(n int, fault Fault, methods ...Method) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script = append(f.script, &scripted{n, fault, methods})
}

// Always lets all calls that no Next claims meet a fault, or those of the given methods. The latest Always that fits
// counts.
func (f *Faulty) Always(fault Fault, methods ...Method) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.always = append(f.always, &scripted{-1, fault, methods})
}

// Heal drops the script: all calls pass.
func (f *Faulty) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script, f.always = nil, nil
}

// due takes the fault for the next call out of the script.
func (f *Faulty) due(m Method) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.script {
		if s.left > 0 && matches(s.methods, m) {
			s.left--
			return s.fault
		}
	}
	for i := len(f.always) - 1; i >= 0; i-- {
		if matches(f.always[i].methods, m) {
			return f.always[i].fault
		}
	}
	return func(ctx context.Context, deliver func(context.Context) error) error { return deliver(ctx) }
}

// answers is what a call gets in place of the engine's answer.
type answers[T any] struct {
	empty, syncing T
	syncingErr     error
}

func through[T any](ctx context.Context, fault Fault, call func(context.Context) (T, error), instead answers[T]) (T, error) {
	var answer, none T
	err := fault(ctx, func(ctx context.Context) (err error) {
		answer, err = call(ctx)
		return err
	})
	switch {
	case err == nil:
		return answer, nil
	case errors.Is(err, errNilAnswer):
		return none, nil
	case errors.Is(err, errEmptyAnswer):
		return instead.empty, nil
	case errors.Is(err, errSyncing):
		return instead.syncing, instead.syncingErr
	default:
		return none, err
	}
}

// GetPayload implements [Engine].
func (f *Faulty) GetPayload(ctx context.Context, info eth.PayloadInfo) (*eth.ExecutionPayloadEnvelope, error) {
	call := func(ctx context.Context) (*eth.ExecutionPayloadEnvelope, error) { return f.inner.GetPayload(ctx, info) }
	return through(ctx, f.due(GetPayload), call, answers[*eth.ExecutionPayloadEnvelope]{
		empty:      new(eth.ExecutionPayloadEnvelope),
		syncingErr: &rpcError{int(eth.UnknownPayload), "Unknown payload"},
	})
}

// ForkchoiceUpdate implements [Engine].
func (f *Faulty) ForkchoiceUpdate(ctx context.Context, state *eth.ForkchoiceState, attr *eth.PayloadAttributes) (*eth.ForkchoiceUpdatedResult, error) {
	call := func(ctx context.Context) (*eth.ForkchoiceUpdatedResult, error) {
		return f.inner.ForkchoiceUpdate(ctx, state, attr)
	}
	return through(ctx, f.due(FCU), call, answers[*eth.ForkchoiceUpdatedResult]{
		empty:   new(eth.ForkchoiceUpdatedResult),
		syncing: &eth.ForkchoiceUpdatedResult{PayloadStatus: eth.PayloadStatusV1{Status: eth.ExecutionSyncing}},
	})
}

// NewPayload implements [Engine].
func (f *Faulty) NewPayload(ctx context.Context, payload *eth.ExecutionPayload, root *common.Hash) (*eth.PayloadStatusV1, error) {
	call := func(ctx context.Context) (*eth.PayloadStatusV1, error) { return f.inner.NewPayload(ctx, payload, root) }
	return through(ctx, f.due(NewPayload), call, answers[*eth.PayloadStatusV1]{
		empty:   new(eth.PayloadStatusV1),
		syncing: &eth.PayloadStatusV1{Status: eth.ExecutionSyncing},
	})
}

// L2BlockRefByLabel implements [Engine].
func (f *Faulty) L2BlockRefByLabel(ctx context.Context, label eth.BlockLabel) (eth.L2BlockRef, error) {
	call := func(ctx context.Context) (eth.L2BlockRef, error) { return f.inner.L2BlockRefByLabel(ctx, label) }
	return through(ctx, f.due(ByLabel), call, notFound)
}

// L2BlockRefByHash implements [Engine].
func (f *Faulty) L2BlockRefByHash(ctx context.Context, hash common.Hash) (eth.L2BlockRef, error) {
	call := func(ctx context.Context) (eth.L2BlockRef, error) { return f.inner.L2BlockRefByHash(ctx, hash) }
	return through(ctx, f.due(ByHash), call, notFound)
}

// L2BlockRefByNumber implements [Engine].
func (f *Faulty) L2BlockRefByNumber(ctx context.Context, num uint64) (eth.L2BlockRef, error) {
	call := func(ctx context.Context) (eth.L2BlockRef, error) { return f.inner.L2BlockRefByNumber(ctx, num) }
	return through(ctx, f.due(ByNumber), call, notFound)
}

var notFound = answers[eth.L2BlockRef]{syncingErr: ethereum.NotFound}

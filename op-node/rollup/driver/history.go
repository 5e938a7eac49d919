package driver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/lru"
	"golang.org/x/sync/singleflight"

	"github.com/ethereum-optimism/optimism/op-node/node/safedb"
	upstream "github.com/ethereum-optimism/optimism/op-node/rollup/engine"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-service/sources"
)

const (
	// lookupsAtOnce is how many questions with as many hops left are put to sources at a time, and lookupsWaiting how many more
	// of them may wait.
	lookupsAtOnce  = 4
	lookupsWaiting = 16
	// lookupTimeout bounds one question, its waiting included.
	lookupTimeout = 10 * time.Second
	// callsPerLookup is how many calls to sources one question costs at most.
	callsPerLookup = 2
	// lookupsKept is how many final answers of each kind are remembered.
	lookupsKept = 4096
)

// RecordCalls is how many calls of a Record there may be at a time. It has to let as many through at once: one that waits for
// another may wait for itself.
const RecordCalls = lookupsAtOnce * int(sources.MaxHops)

var errLookupsBusy = errors.New("too many look-ups at once, try again later")

// Record is what a source is asked on behalf of RPC clients. Errors wrap sources.ErrFetch or sources.ErrMalformed.
type Record interface {
	SafeHeadAtL1(ctx context.Context, l1Number uint64, left sources.Hops) (sources.SafeHead, error)
	RequiredL1(ctx context.Context, timestamp uint64, chain eth.ChainID, left sources.Hops) (sources.RequiredL1, bool, error)
}

// History answers which L2 block was safe at which L1 block (spec X3). A follower does not derive and so cannot know; it
// asks its accepted sources in their order, at most two calls to a question, and passes on the first answer that holds
// against its own L1 view and its own engine. If no source keeps the record the error is upstream's own for a node
// without the database. Clients that ask the same share the answer, and one that is final is remembered. All methods may
// be called from any goroutine.
type History struct {
	driver  *Driver
	records []Record
	engine  upstream.ExecEngine

	flights singleflight.Group
	// queues are those of the questions by how many hops they have left, less one. A question waits for one with fewer hops,
	// at another node, and with queues of their own never for itself.
	queues [sources.MaxHops]queue
	// heads are final answers by L1 number, required those by L2 block.
	heads    *lru.Cache[uint64, sources.SafeHead]
	required *lru.Cache[common.Hash, eth.BlockID]
}

// NewHistory makes the history of a driver. The records are of its sources, in their order; they should have connections
// of their own.
func (d *Driver) NewHistory(records []Record) *History {
	h := &History{
		driver: d, records: records, engine: d.engine,
		heads:    lru.NewCache[uint64, sources.SafeHead](lookupsKept),
		required: lru.NewCache[common.Hash, eth.BlockID](lookupsKept),
	}
	for i := range h.queues {
		h.queues[i] = queue{asking: make(chan struct{}, lookupsAtOnce), waiting: make(chan struct{}, lookupsAtOnce+lookupsWaiting)}
	}
	return h
}

// SafeHeadAtL1 returns the safe head as of an L1 block, with the L1 block it was recorded at.
func (h *History) SafeHeadAtL1(ctx context.Context, l1Number uint64) (l1, safeHead eth.BlockID, err error) {
	head, ok := h.heads.Get(l1Number)
	if !ok {
		head, err = share(ctx, h, fmt.Sprintf("head %d", l1Number), func(ctx context.Context, b backer, left sources.Hops) (sources.SafeHead, error) {
			head, err := h.records[b.rank].SafeHeadAtL1(ctx, l1Number, left)
			if err != nil {
				return head, err
			}
			if head.L1.Number > l1Number {
				return head, fmt.Errorf("recorded at L1 block %s, which is later", head.L1)
			}
			err = errors.Join(h.l1Holds(ctx, head.L1), h.l2Holds(ctx, head.L2))
			// A source that has yet to digest the block may have more to say of it.
			if err == nil && l1Number <= h.finalL1() && l1Number < b.currentL1 {
				h.heads.Add(l1Number, head)
			}
			return head, err
		})
	}
	return head.L1, head.L2, err
}

// L1AtSafeHead returns the earliest L1 block at which the safe head had reached an L2 block, and that L2 block.
func (h *History) L1AtSafeHead(ctx context.Context, l2Number uint64) (l1, safeHead eth.BlockID, err error) {
	ref, err := h.engine.L2BlockRefByNumber(ctx, l2Number)
	if err != nil {
		return eth.BlockID{}, eth.BlockID{}, err
	}
	l1, ok := h.required.Get(ref.Hash)
	if ok {
		return l1, ref.ID(), nil
	}
	l1, err = share(ctx, h, "l1 "+ref.Hash.Hex(), func(ctx context.Context, b backer, left sources.Hops) (eth.BlockID, error) {
		chain := eth.ChainIDFromBig(h.driver.cfg.Rollup.L2ChainID)
		required, found, err := h.records[b.rank].RequiredL1(ctx, ref.Time, chain, left)
		switch {
		case err != nil:
			return eth.BlockID{}, err
		case !found:
			return eth.BlockID{}, fmt.Errorf("block %d is not safe at the source: %w", l2Number, sources.ErrNotFound)
		case required.L2 != ref.Hash:
			return eth.BlockID{}, fmt.Errorf("the source has L2 block %s in the place of %s", required.L2, ref)
		case required.L1.Number < ref.L1Origin.Number:
			return eth.BlockID{}, fmt.Errorf("L1 block %s is older than the L1 origin of %s", required.L1, ref)
		}
		if err := h.l1Holds(ctx, required.L1); err != nil {
			return eth.BlockID{}, err
		}
		if required.L1.Number <= h.finalL1() {
			h.required.Add(ref.Hash, required.L1)
		}
		return required.L1, nil
	})
	return l1, ref.ID(), err
}

// share puts a question to the sources, once for all clients that ask it at a time. It goes on when its client is gone:
// others may wait for the answer.
func share[T any](ctx context.Context, h *History, question string, ask func(context.Context, backer, sources.Hops) (T, error)) (T, error) {
	var none T
	hops := sources.HopsLeft(ctx)
	if hops == 0 {
		return none, safedb.ErrNotEnabled
	}
	// A question that came back over other nodes has fewer hops left, and must not wait for itself.
	flight := h.flights.DoChan(fmt.Sprintf("%s %d", question, hops), func() (any, error) {
		ctx, cancel := context.WithTimeout(h.driver.ctx, lookupTimeout)
		defer cancel()
		release, err := h.queues[hops-1].turn(ctx)
		if err != nil {
			return none, err
		}
		defer release()
		return firstSound(ctx, h.driver.backers(), hops-1, ask)
	})
	select {
	case result := <-flight:
		answer, _ := result.Val.(T)
		return answer, result.Err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// queue is where questions wait: asking is held while sources are asked, waiting from before that on.
type queue struct{ asking, waiting chan struct{} }

// turn waits until sources may be asked.
func (q queue) turn(ctx context.Context) (release func(), err error) {
	select {
	case q.waiting <- struct{}{}:
	default:
		return nil, errLookupsBusy
	}
	select {
	case q.asking <- struct{}{}:
		return func() { <-q.asking; <-q.waiting }, nil
	case <-ctx.Done():
		<-q.waiting
		return nil, errLookupsBusy
	}
}

// firstSound is the first answer without an error. Without one, the error says that there is no such record if a source
// says so, and that nobody keeps records otherwise.
func firstSound[T any](ctx context.Context, backers []backer, left sources.Hops, ask func(context.Context, backer, sources.Hops) (T, error)) (T, error) {
	var none T
	var errs []error
	calls := 0
	for _, b := range backers {
		say := sources.Untold
		if b.ours {
			say = left
		}
		for calls < callsPerLookup {
			calls++
			answer, err := ask(ctx, b, say)
			if err == nil {
				return answer, nil
			}
			if ctx.Err() != nil {
				return none, ctx.Err()
			}
			errs = append(errs, err)
			if say == sources.Untold || !errors.Is(err, sources.ErrArguments) {
				break
			}
			say = sources.Untold // the balancer has picked a node of another kind
		}
	}
	if errors.Is(errors.Join(errs...), sources.ErrNotFound) {
		return none, safedb.ErrNotFound
	}
	return none, safedb.ErrNotEnabled
}

// backer is an accepted source. Ours tells that it is a node of our kind.
type backer struct {
	rank      int
	currentL1 uint64
	ours      bool
}

// backers are the accepted sources, in their order.
func (d *Driver) backers() (list []backer) {
	for rank, c := range d.shown.Load().candidates {
		if c.judged && c.reason == follow.None {
			list = append(list, backer{rank: rank, currentL1: c.status.CurrentL1.Number, ours: c.lineage.ID != ""})
		}
	}
	return list
}

// finalL1 is the number of the finalized L1 block, 0 while it is unknown.
func (h *History) finalL1() uint64 { return h.driver.l1.Refs().Finalized.Number }

// l1Holds tells whether an L1 block is canonical in the own view.
func (h *History) l1Holds(ctx context.Context, id eth.BlockID) error {
	if answer := h.driver.l1.LookUp(ctx, id)[id]; answer != follow.L1Canonical {
		return fmt.Errorf("L1 block %s is not canonical here", id)
	}
	return nil
}

// l2Holds tells whether an L2 block is on the local chain.
func (h *History) l2Holds(ctx context.Context, id eth.BlockID) error {
	ref, err := h.engine.L2BlockRefByNumber(ctx, id.Number)
	if err != nil {
		return err
	}
	if ref.Hash != id.Hash {
		return fmt.Errorf("L2 block %s is not on the local chain", id)
	}
	return nil
}

package model

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/testutil/modelel"
	"github.com/lightcl/op-node/ops/bench/meter"
)

// The L1 labels trail the head by so many blocks.
const (
	l1SafeDistance  = 2
	l1FinalDistance = 4
)

// l1 is the L1 of one world. It may be used from any goroutine.
type l1 struct {
	chain *modelel.Chain

	mu      sync.Mutex
	head    uint64
	waiting map[chan uint64]struct{}
}

func newL1(chain *modelel.Chain, head uint64) *l1 {
	return &l1{chain: chain, head: head, waiting: make(map[chan uint64]struct{})}
}

// advance makes a block the head and tells the subscribers.
func (l *l1) advance(head uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.head = head
	for c := range l.waiting {
		select {
		case c <- head:
		default: // as slow subscribers are dropped by geth
		}
	}
}

func (l *l1) current() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

func (l *l1) subscribe() (heads chan uint64, end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	heads = make(chan uint64, 16)
	l.waiting[heads] = struct{}{}
	return heads, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.waiting, heads)
	}
}

func (l *l1) header(number uint64) *types.Header {
	if number > l.current() {
		return nil
	}
	return headerOf(l.chain.L1().Block(number))
}

// headerOf is the header of a block: what the model keeps of it, and for the rest the values of a block without
// transactions.
func headerOf(block modelel.L1Block) *types.Header {
	info := block.Info
	header := &types.Header{
		ParentHash: info.ParentHash(), UncleHash: types.EmptyUncleHash, Coinbase: info.Coinbase(), Root: info.Root(),
		TxHash: types.EmptyTxsHash, ReceiptHash: info.ReceiptHash(), Difficulty: new(big.Int),
		Number: new(big.Int).SetUint64(info.NumberU64()), GasLimit: info.GasLimit(), GasUsed: info.GasUsed(), Time: info.Time(),
		Extra: info.Extra(), MixDigest: info.MixDigest(), BaseFee: info.BaseFee(), WithdrawalsHash: info.WithdrawalsRoot(),
		BlobGasUsed: info.BlobGasUsed(), ExcessBlobGas: info.ExcessBlobGas(), ParentBeaconRoot: info.ParentBeaconRoot(),
		RequestsHash: &types.EmptyRequestsHash,
	}
	if header.Hash() != block.Ref.Hash {
		panic(fmt.Sprintf("the header of L1 block %s has another hash: the model's blocks have become other ones", block.Ref))
	}
	return header
}

// l1API serves the L1 to one client, whose calls it counts.
type l1API struct {
	l1    *l1
	calls *meter.Counter
}

// GetBlockByNumber is eth_getBlockByNumber, without transactions.
func (a *l1API) GetBlockByNumber(number rpc.BlockNumber, _ bool) *types.Header {
	head := a.l1.current()
	back := func(n uint64) uint64 { return head - min(head, n) }
	switch number {
	case rpc.LatestBlockNumber:
		a.calls.Add("getBlockByNumber:latest")
		return a.l1.header(head)
	case rpc.SafeBlockNumber:
		a.calls.Add("getBlockByNumber:safe")
		return a.l1.header(back(l1SafeDistance))
	case rpc.FinalizedBlockNumber:
		a.calls.Add("getBlockByNumber:finalized")
		return a.l1.header(back(l1FinalDistance))
	default:
		a.calls.Add("getBlockByNumber")
		return a.l1.header(uint64(number))
	}
}

// GetBlockByHash is eth_getBlockByHash. No block has transactions.
func (a *l1API) GetBlockByHash(hash common.Hash, _ bool) (map[string]any, error) {
	a.calls.Add("getBlockByHash")
	for number := a.l1.current() + 1; number > 0; number-- {
		header := a.l1.header(number - 1)
		if header.Hash() != hash {
			continue
		}
		text, err := json.Marshal(header)
		if err != nil {
			return nil, err
		}
		block := map[string]any{"transactions": []any{}, "uncles": []any{}, "withdrawals": []any{}}
		return block, json.Unmarshal(text, &block)
	}
	return nil, nil
}

// GetBlockReceipts is eth_getBlockReceipts. There are none.
func (a *l1API) GetBlockReceipts(common.Hash) []any {
	a.calls.Add("getBlockReceipts")
	return []any{}
}

// ChainId is eth_chainId.
func (a *l1API) ChainId() *hexutil.Big {
	a.calls.Add("chainId")
	return (*hexutil.Big)(a.l1.chain.RollupConfig().L1ChainID)
}

// NewHeads is the subscription of that name.
func (a *l1API) NewHeads(ctx context.Context) (*rpc.Subscription, error) {
	notifier, ok := rpc.NotifierFromContext(ctx)
	if !ok {
		return nil, rpc.ErrNotificationsUnsupported
	}
	sub := notifier.CreateSubscription()
	heads, end := a.l1.subscribe()
	go func() {
		defer end()
		for {
			select {
			case head := <-heads:
				_ = notifier.Notify(sub.ID, a.l1.header(head)) // a client that is gone ends the subscription
			case <-sub.Err():
				return
			}
		}
	}()
	return sub, nil
}

// source is a scripted consensus node. It may be used from any goroutine.
type source struct {
	rollup *rollup.Config
	status atomic.Pointer[shown]

	mu       sync.Mutex
	requests []time.Time
}

// shown is what the source says since a moment, and when that was first asked for.
type shown struct {
	status eth.SyncStatus
	since  time.Time
	served atomic.Pointer[time.Time]
}

// show changes what the source says.
func (s *source) show(status eth.SyncStatus) *shown {
	now := &shown{status: status, since: time.Now()}
	s.status.Store(now)
	return now
}

// sourceAPI is the RPC namespace of a source.
type sourceAPI struct{ *source }

// SyncStatus is optimism_syncStatus.
func (s sourceAPI) SyncStatus() *eth.SyncStatus {
	now := time.Now()
	s.mu.Lock()
	s.requests = append(s.requests, now)
	s.mu.Unlock()
	current := s.status.Load()
	current.served.CompareAndSwap(nil, &now)
	return &current.status
}

// RollupConfig is optimism_rollupConfig.
func (s sourceAPI) RollupConfig() *rollup.Config { return s.rollup }

// requestsBetween are the times at which the status was asked for.
func (s *source) requestsBetween(from, to time.Time) (out []time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.requests {
		if !at.Before(from) && at.Before(to) {
			out = append(out, at)
		}
	}
	return out
}

// server serves any number of RPC namespaces, each at a path of its own, on one loopback port.
type server struct {
	mux  *http.ServeMux
	http *http.Server
	addr string

	mu   sync.Mutex
	rpcs []*rpc.Server
}

func newServer() (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{mux: http.NewServeMux(), addr: listener.Addr().String()}
	s.http = &http.Server{Handler: s.mux}
	go func() { _ = s.http.Serve(listener) }() // ends with close
	return s, nil
}

// serveWS serves an object over WebSocket and returns its URL.
func (s *server) serveWS(path, namespace string, object any) (string, error) {
	server, err := s.newRPC(namespace, object)
	if err != nil {
		return "", err
	}
	s.mux.Handle(path, server.WebsocketHandler([]string{"*"}))
	return "ws://" + s.addr + path, nil
}

// serveHTTP serves an object over HTTP and returns its URL.
func (s *server) serveHTTP(path, namespace string, object any, calls *meter.Counter) (string, error) {
	server, err := s.newRPC(namespace, object)
	if err != nil {
		return "", err
	}
	s.mux.Handle(path, meter.Count(calls, server))
	return "http://" + s.addr + path, nil
}

func (s *server) newRPC(namespace string, object any) (*rpc.Server, error) {
	server := rpc.NewServer()
	if err := server.RegisterName(namespace, object); err != nil {
		return nil, fmt.Errorf("serve %s: %w", namespace, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rpcs = append(s.rpcs, server)
	return server, nil
}

func (s *server) close() error {
	err := s.http.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, server := range s.rpcs {
		server.Stop()
	}
	return err
}

package l1chain

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/ethereum-optimism/optimism/op-service/client"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum-optimism/optimism/op-service/sources"
)

// RPCFetcher gets L1 headers over JSON-RPC. It is safe for concurrent use.
type RPCFetcher struct {
	rpc      client.RPC
	trustRPC bool
}

// NewRPCFetcher makes a fetcher that asks over the given client, which stays the caller's to close. Unless the RPC is
// trusted, the hash of every header is computed and compared with the one it came with.
func NewRPCFetcher(rpc client.RPC, trustRPC bool) *RPCFetcher {
	return &RPCFetcher{rpc: rpc, trustRPC: trustRPC}
}

// Fetch asks for the canonical blocks of all numbers in one request: a JSON-RPC batch, or a plain call for a single
// number, which endpoints without batches can answer too. The result is aligned with the numbers; a block that the
// endpoint does not have (the number is above its head) is a zero ref. An answer that is not to the question, or whose
// hash is wrong, is an error of the whole request. If the endpoint answers for some blocks with an error of its own, as
// where it keeps no old ones, the refs of the others come along with the error.
func (f *RPCFetcher) Fetch(ctx context.Context, numbers []uint64) ([]eth.L1BlockRef, error) {
	headers := make([]*sources.RPCHeader, len(numbers))
	failed, err := f.request(ctx, numbers, headers)
	if err != nil {
		err = fmt.Errorf("fetching %d L1 headers: %w", len(numbers), err)
		if failed == len(numbers) {
			return nil, err
		}
	}
	refs := make([]eth.L1BlockRef, len(numbers))
	for i, header := range headers {
		if header == nil {
			continue
		}
		if got := uint64(header.Number); got != numbers[i] {
			return nil, fmt.Errorf("asked L1 for block %d and got block %d", numbers[i], got)
		}
		info, err := header.Info(f.trustRPC, false)
		if err != nil {
			return nil, fmt.Errorf("L1 header %d: %w", numbers[i], err)
		}
		refs[i] = eth.InfoToL1BlockRef(info)
	}
	return refs, err
}

// request fills in the headers. It tells how many it failed for.
func (f *RPCFetcher) request(ctx context.Context, numbers []uint64, headers []*sources.RPCHeader) (int, error) {
	const method, withTransactions = "eth_getBlockByNumber", false
	if len(numbers) == 1 {
		return 1, f.rpc.CallContext(ctx, &headers[0], method, hexutil.Uint64(numbers[0]), withTransactions)
	}
	batch := make([]rpc.BatchElem, len(numbers))
	for i, number := range numbers {
		batch[i] = rpc.BatchElem{
			Method: method,
			Args:   []any{hexutil.Uint64(number), withTransactions},
			Result: &headers[i],
		}
	}
	if err := f.rpc.BatchCallContext(ctx, batch); err != nil {
		return len(numbers), err
	}
	var failed []error
	for i, elem := range batch {
		if elem.Error != nil {
			failed = append(failed, fmt.Errorf("block %d: %w", numbers[i], elem.Error))
			headers[i] = nil
		}
	}
	if len(failed) > 1 {
		return len(failed), fmt.Errorf("%w (and %d more)", failed[0], len(failed)-1)
	}
	return len(failed), errors.Join(failed...)
}

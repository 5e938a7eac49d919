package sources

import (
	"context"

	"github.com/ethereum/go-ethereum/common/hexutil"
)

// Hops is how many more nodes may be asked in turn on behalf of one client's question.
//
// A node of ours that cannot answer a look-up asks one of its own sources. It tells how many hops are left in an argument
// of its own, after those of the method: unlike an HTTP header it goes through every proxy and works over WebSocket,
// where all requests share the headers of one handshake.
type Hops int

const (
	// MaxHops is how many a client's question has.
	MaxHops Hops = 3
	// Untold is for a source of another kind, which has no such argument and asks nobody.
	Untold Hops = -1
)

// arguments are those of a look-up, with the hops left where they are told.
func (h Hops) arguments(n uint64) []any {
	if h == Untold {
		return []any{hexutil.Uint64(n)}
	}
	return []any{hexutil.Uint64(n), hexutil.Uint64(h)}
}

type hopsKey struct{}

// WithHops notes in the context of a request how many hops its client left; nil if it did not say.
func WithHops(ctx context.Context, left *hexutil.Uint64) context.Context {
	if left == nil {
		return ctx
	}
	return context.WithValue(ctx, hopsKey{}, Hops(min(uint64(*left), uint64(MaxHops))))
}

// HopsLeft is how many hops the client of a request left, never more than MaxHops.
func HopsLeft(ctx context.Context) Hops {
	if left, ok := ctx.Value(hopsKey{}).(Hops); ok {
		return left
	}
	return MaxHops
}

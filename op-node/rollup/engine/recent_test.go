package engine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ethereum/go-ethereum/common"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/rollup/follow"
)

func recentRef(number uint64) eth.L2BlockRef {
	return eth.L2BlockRef{Number: number, Hash: common.BigToHash(common.Big1), Time: number}
}

func TestRecent(t *testing.T) {
	for name, test := range map[string]struct {
		change func(r *recent)
		has    []uint64
		hasNot []uint64
	}{
		"empty, also of genesis": {func(*recent) {}, nil, []uint64{0, 1, recentBlocks}},
		"genesis":                {func(r *recent) { r.put(recentRef(0)) }, []uint64{0}, []uint64{1, recentBlocks}},
		"the younger of a slot": {func(r *recent) {
			r.put(recentRef(7))
			r.put(recentRef(7 + recentBlocks))
		}, []uint64{7 + recentBlocks}, []uint64{7}},
		"an older one does not push out": {func(r *recent) {
			r.put(recentRef(7 + recentBlocks))
			r.put(recentRef(7))
		}, []uint64{7 + recentBlocks}, []uint64{7}},
		"cut": {func(r *recent) {
			r.put(recentRef(7))
			r.put(recentRef(8))
			r.put(recentRef(9))
			r.cut(8)
		}, []uint64{7, 8}, []uint64{9}},
		"clear": {func(r *recent) {
			r.put(recentRef(7))
			r.clear()
		}, nil, []uint64{7}},
		"an older one after a clear": {func(r *recent) {
			r.put(recentRef(7 + recentBlocks))
			r.clear()
			r.put(recentRef(7))
		}, []uint64{7}, []uint64{7 + recentBlocks}},
		"heads": {func(r *recent) {
			r.putHeads(follow.Heads{Unsafe: follow.Unsafe{L2BlockRef: recentRef(9)}, Labels: follow.Labels{
				LocalSafe: follow.LocalSafe{L2BlockRef: recentRef(8)}, Safe: follow.Safe{L2BlockRef: recentRef(7)},
				Finalized: follow.Finalized{L2BlockRef: recentRef(6)},
			}})
		}, []uint64{6, 7, 8, 9}, []uint64{5, 10}},
		"heads with an unknown one": {func(r *recent) {
			r.putHeads(follow.Heads{Unsafe: follow.Unsafe{L2BlockRef: recentRef(9)}})
		}, []uint64{9}, []uint64{0}},
	} {
		t.Run(name, func(t *testing.T) {
			var r recent
			test.change(&r)
			for _, number := range test.has {
				ref, ok := r.at(number)
				require.True(t, ok, "%d", number)
				require.Equal(t, recentRef(number), ref)
			}
			for _, number := range test.hasNot {
				_, ok := r.at(number)
				require.False(t, ok, "%d", number)
			}
		})
	}
}

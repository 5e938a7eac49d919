package engine

import "github.com/ethereum-optimism/optimism/op-service/eth"

// The L1 views of the tests know everything there is to know, and no more of a block than its id.

func (*bench) Ref(id eth.BlockID) eth.L1BlockRef   { return refOf(id) }
func (*storyL1) Ref(id eth.BlockID) eth.L1BlockRef { return refOf(id) }
func (*simL1) Ref(id eth.BlockID) eth.L1BlockRef   { return refOf(id) }

func (*bench) Ask(eth.BlockID)   {}
func (*storyL1) Ask(eth.BlockID) {}
func (*simL1) Ask(eth.BlockID)   {}

func refOf(id eth.BlockID) eth.L1BlockRef { return eth.L1BlockRef{Hash: id.Hash, Number: id.Number} }

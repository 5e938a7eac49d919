// Package l1chain is the node's own view of canonical L1: the one place that says whether a block is part of it.
//
// A View is fed with the heads that the node hears of anyway and keeps the newest blocks as a window, a run of blocks in
// which each names the hash of the one before. Heads that were missed are filled in by number, and count only if the
// hashes link up; an L1 reorg is the step from one linked run to another over their common ancestor. So two forks never
// stand in one view, whatever mixture of backends answers behind the L1 endpoint.
//
// Questions are answered from the window and, below it, from what was asked before. L1 is asked, in one batch, only for
// what is not known yet:
//
//   - above finality and within the reach of the window, the blocks down to the one asked for are fetched and linked,
//     which extends the window downwards: every later question about them is answered from memory;
//   - below that, nothing links the answer to the head. It counts if the same answer has the block right below the window,
//     so that it comes from a backend on the window's chain. At or below L1 finality it is kept for good, above until L1
//     reorgs or finality passes it; a hash that contradicts what is asked about is asked for again with the next head.
//
// An endpoint may hide backends of several forks and heights, even of several networks. Therefore a head that is lower than
// the view's or far above it takes several answers, and one that does not link to the view at all has to come with what is
// known for sure; see OnHead.
//
// Memory is bounded: Config.Window block refs of 80 bytes (twice that while the window slides), and twice Config.Keep
// pairs of number and hash.
package l1chain

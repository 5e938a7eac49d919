// Package engine drives the own execution engine in follow mode.
//
// A Controller has one goroutine, Run, which owns all state and is the only caller of the engine API. Work reaches it as
// tasks (queue.go) from any goroutine; it ends in the one function that sends a forkchoice update and commits what was
// acknowledged (synchronize.go). Readers get an immutable Snapshot, swapped whole.
//
//	payload.go      unsafe payloads: gossip and admin RPC, one block a task
//	target.go       follow targets: plan and apply; pending.go waits while the engine answers SYNCING
//	lineage.go      whether blocks belong to one chain: what a target claims, the own finalized block
//	role.go         what making blocks changes: Verifier or Sequencer, and what keeps the head from being built on
//	sequencing.go   the door for upstream's sequencer; build.go is what its calls do
//	recovery.go     load at start
//	l1reorg.go      an L1 that was reorged: unsafe blocks are given up, labels go back to what is left
//	tip.go          an engine that lost or moved something: its labels are read again, what it lost is handed in again
//	answers.go      what an answer of the engine means; nobody else looks at error codes or statuses
package engine

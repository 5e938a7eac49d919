// Package modelel is an execution engine that exists only in memory: a block tree, a canonical chain, three labels,
// and answers to engine API calls that equal op-geth's, including the surprising ones. Tests of the rollup driver and
// of the engine controller run against it where a real engine would be too slow, or too honest.
//
// What it offers:
//
//   - [EL], the engine; it satisfies upstream's engine.ExecEngine.
//   - [Network], the blocks that peers of an engine could deliver, for EL sync.
//   - [Chain], deterministic L1 and L2 chains with named forks: "block 15 on fork b" is a one-liner.
//   - [Faulty], a decorator that makes any engine slow, unreachable, forgetful, erroneous or absurd, from a script.
//   - [Recorder], a decorator that keeps every call and answer in order, readable by a person.
//
// No payload is executed: a block is as valid as its hash, unless a test marks it invalid. There is no freezer either:
// op-geth moves blocks up to finalized there once a minute and at start, keeps them canonical from then on whatever the
// forkchoice says, and deletes blocks that conflict with them. A test that lets the head leave a finalized block sees
// less harm done than there would be. What else the package claims about op-geth is compared with the real one by the
// end-to-end tests of the devnet.
//
// The package is for tests. The import rules forbid it to production code.
package modelel

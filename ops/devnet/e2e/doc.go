// Package e2e runs op-node against a whole OP Stack: geths, batcher, gossip and all. It is the one test binary that
// links them.
//
// What runs upstream's driver in the test's own process is built without the race detector: upstream's sequencer and
// event loop share the unsafe head without a lock, which would fail every test. The op-node under test is another
// process; -race-node builds it with the detector and fails the tests that made it report something.
package e2e

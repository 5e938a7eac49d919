package model

import (
	"sync"
	"time"

	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// vigil watches an engine until it has come to a chain. It is told of the engine's heads from any goroutine.
type vigil struct {
	target eth.L2BlockRef
	begun  uint64 // engine calls

	mu     sync.Mutex
	latest eth.L2BlockRef
	seen   sightings
}

// sightings are what a vigil saw.
type sightings struct {
	// labelled is when the target was the safe label, and calls how many engine calls that took; built is when there was a
	// block on it. They are zero as long as that is not so.
	labelled, built time.Time
	calls           uint64
	// left is how often the head was one that its predecessor is not on, lowest the lowest safe label.
	left   int
	lowest uint64
}

// watch begins a vigil, in place of the one before.
func (e *engine) watch(target eth.L2BlockRef) *vigil {
	heads := e.Heads()
	v := &vigil{target: target, begun: e.Counts().Total(), latest: heads.Latest, seen: sightings{lowest: heads.Safe.Number}}
	e.vigil.Store(v)
	return v
}

func (v *vigil) look(e *engine, heads modelel.Heads, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen.lowest = min(v.seen.lowest, heads.Safe.Number)
	if v.seen.labelled.IsZero() && heads.Safe == v.target {
		v.seen.labelled, v.seen.calls = now, e.Counts().Total()-v.begun
	}
	if heads.Latest == v.latest {
		return
	}
	if heads.Latest.ParentHash != v.latest.Hash && !e.canonical(v.latest) {
		v.seen.left++
	}
	v.latest = heads.Latest
	if v.seen.built.IsZero() && heads.Latest.Number > v.target.Number && e.canonical(v.target) {
		v.seen.built = now
	}
}

func (v *vigil) sightings() sightings {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.seen
}

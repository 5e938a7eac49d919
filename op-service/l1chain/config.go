package l1chain

import (
	"fmt"
	"time"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// Config bounds what a View remembers and what it asks of L1. A zero field takes its default.
type Config struct {
	// Anchor is a block that is known to be canonical: the one that the rollup starts from. A head of which nothing links to
	// the view has to have it in its chain, so that no other network's L1 is ever believed. Zero for none.
	Anchor eth.BlockID
	// Window is how many of the newest blocks are kept linked; default 1024, about 3.4 hours of mainnet. It has to be
	// longer than L1 takes to finalize, or L1 origins between the two cost an L1 call each.
	Window int
	// Keep is how many answers below the window are remembered, each of the final and the tentative ones; default 1024.
	Keep int
	// MaxBatch is how many headers one batched request may ask for; default 20, the default of --l1.rpc-max-batch-size. With
	// fewer than three, what should be one answer of one backend is asked for piece by piece, which a balancer may spread.
	MaxBatch int
	// FetchTimeout bounds one request; default 5 s.
	FetchTimeout time.Duration
	// RetryDelay is how long L1 is left alone after a question that it did not answer; default 1 s. Meanwhile questions
	// are answered from memory.
	RetryDelay time.Duration
}

func (c Config) withDefaults() (Config, error) {
	for _, count := range []struct {
		name     string
		value    *int
		fallback int
	}{
		{"Window", &c.Window, 1024},
		{"Keep", &c.Keep, 1024},
		{"MaxBatch", &c.MaxBatch, 20},
	} {
		if *count.value < 0 {
			return Config{}, fmt.Errorf("L1 view: %s is %d, but a count of blocks is wanted (0 for the default, %d)",
				count.name, *count.value, count.fallback)
		}
		if *count.value == 0 {
			*count.value = count.fallback
		}
	}
	for _, span := range []struct {
		name     string
		value    *time.Duration
		fallback time.Duration
	}{
		{"FetchTimeout", &c.FetchTimeout, 5 * time.Second},
		{"RetryDelay", &c.RetryDelay, time.Second},
	} {
		if *span.value < 0 {
			return Config{}, fmt.Errorf("L1 view: %s is %s, but a duration is wanted (0 for the default, %s)",
				span.name, *span.value, span.fallback)
		}
		if *span.value == 0 {
			*span.value = span.fallback
		}
	}
	return c, nil
}

// Package meter counts JSON-RPC calls on their way from a client to a server.
package meter

import (
	"encoding/json"
	"maps"
	"sync"
)

// Counts are numbers of calls by name. The name is the method; a call for a block by one of its labels carries the label
// behind a colon, because it is made for other reasons than one for a number.
type Counts map[string]uint64

// Total is the sum over all names.
func (c Counts) Total() (sum uint64) {
	for _, n := range c {
		sum += n
	}
	return sum
}

// Since are the calls in c that were not yet in before.
func (c Counts) Since(before Counts) Counts {
	out := make(Counts)
	for name, n := range c {
		if n > before[name] {
			out[name] = n - before[name]
		}
	}
	return out
}

// Plus adds up two counts.
func (c Counts) Plus(other Counts) Counts {
	out := maps.Clone(c)
	if out == nil {
		out = make(Counts)
	}
	for name, n := range other {
		out[name] += n
	}
	return out
}

// Counter counts calls. The zero value is ready for use, from any goroutine.
type Counter struct {
	mu     sync.Mutex
	counts Counts
}

// Add counts one call.
func (c *Counter) Add(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = make(Counts)
	}
	c.counts[name]++
}

// Counts are the calls up to now.
func (c *Counter) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.counts)
}

// addMessage counts the calls in a JSON-RPC message, which may be a batch. Anything else counts as "malformed".
func (c *Counter) addMessage(message []byte) {
	var calls []call
	if len(message) > 0 && message[0] == '[' {
		if json.Unmarshal(message, &calls) != nil {
			calls = []call{{}}
		}
	} else {
		var one call
		_ = json.Unmarshal(message, &one) // leaves it empty
		calls = []call{one}
	}
	for _, one := range calls {
		c.Add(one.name())
	}
}

type call struct {
	Method string
	Params []json.RawMessage
}

func (c call) name() string {
	switch c.Method {
	case "":
		return "malformed"
	case "eth_getBlockByNumber":
		var block string
		if len(c.Params) > 0 && json.Unmarshal(c.Params[0], &block) == nil {
			switch block {
			case "latest", "safe", "finalized":
				return c.Method + ":" + block
			}
		}
	}
	return c.Method
}

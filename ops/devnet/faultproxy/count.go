package faultproxy

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"sync"
)

// Count counts calls that arrive, whatever becomes of them. Its methods may be called from any goroutine.
type Count struct {
	method string

	mu          sync.Mutex
	total       uint64
	under, most int
}

// CountCalls counts the calls of an RPC method, or every request if that is empty.
func CountCalls(method string) *Count { return &Count{method: method} }

// Over is a Behaviour with the calls that meet it counted. One count may be over several.
func (c *Count) Over(b Behaviour) Behaviour {
	return Func(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if c.counts(r) {
			c.begin()
			defer c.end()
		}
		b.Serve(w, r, next)
	})
}

// Total is how many calls have arrived.
func (c *Count) Total() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total
}

// Most is how many calls there were at the same time, at most.
func (c *Count) Most() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.most
}

func (c *Count) counts(r *http.Request) bool {
	if c.method == "" {
		return true
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the client went away
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var call struct{ Method string }
	return json.Unmarshal(body, &call) == nil && call.Method == c.method
}

func (c *Count) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total++
	c.under++
	c.most = max(c.most, c.under)
}

func (c *Count) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.under--
}

package faultproxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Status is a result of optimism_syncStatus, as it is on the wire.
type Status map[string]map[string]any

// l2Heads are the refs of a Status that are L2 blocks below the unsafe head.
var l2Heads = []string{"safe_l2", "local_safe_l2", "finalized_l2"}

// AlterStatus hands every request on and changes the sync statuses that come back. change is called one at a time, with
// a status that is its own.
func AlterStatus(change func(Status) Status) Behaviour {
	var mu sync.Mutex
	return Func(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler) // the client went away
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		var call struct{ Method string }
		if json.Unmarshal(body, &call) != nil || call.Method != "optimism_syncStatus" {
			next.ServeHTTP(w, r)
			return
		}
		r.Header.Del("Accept-Encoding") // the answer has to be readable
		recorded := httptest.NewRecorder()
		next.ServeHTTP(recorded, r)
		mu.Lock()
		defer mu.Unlock()
		_, _ = w.Write(altered(recorded.Body.Bytes(), change)) // the client's problem
	})
}

// altered changes the result of an answer; what is no sync status passes as it is.
func altered(answer []byte, change func(Status) Status) []byte {
	var envelope map[string]json.RawMessage
	var status Status
	if json.Unmarshal(answer, &envelope) != nil || json.Unmarshal(envelope["result"], &status) != nil || status == nil {
		return answer
	}
	result, err := json.Marshal(change(status))
	if err != nil {
		return answer
	}
	envelope["result"] = result
	if answer, err = json.Marshal(envelope); err != nil {
		return nil
	}
	return answer
}

// Replay answers with the first status it sees, for ever: a cache that got stuck, or a replica that stopped.
func Replay() Behaviour {
	var first Status
	return AlterStatus(func(s Status) Status {
		if first == nil {
			first = s
		}
		return first
	})
}

// Lie gives the safe, local-safe and finalized blocks other hashes.
func Lie() Behaviour { return AlterStatus(lie) }

// Equivocate tells the truth and lies by turns.
func Equivocate() Behaviour {
	turn := 0
	return AlterStatus(func(s Status) Status {
		if turn++; turn%2 == 0 {
			return lie(s)
		}
		return s
	})
}

// Invent names, as safe and local-safe, a block that nobody has, so many blocks above the true one.
func Invent(blocks uint64, blockTime time.Duration) Behaviour {
	return AlterStatus(func(s Status) Status {
		for _, name := range []string{"safe_l2", "local_safe_l2"} {
			number, ok := s[name]["number"].(float64)
			at, timed := s[name]["timestamp"].(float64)
			if ok && timed {
				s[name]["number"], s[name]["timestamp"] = number+float64(blocks), at+float64(blocks)*blockTime.Seconds()
				s[name]["hash"] = fmt.Sprintf("0x%064x", uint64(number)+1)
			}
		}
		return s
	})
}

// WrongChain shows blocks whose timestamps belong to another chain.
func WrongChain() Behaviour {
	return AlterStatus(func(s Status) Status {
		return changed(s, func(head map[string]any) {
			if at, ok := head["timestamp"].(float64); ok {
				head["timestamp"] = at + 1
			}
		})
	})
}

func lie(s Status) Status {
	return changed(s, func(head map[string]any) {
		if number, ok := head["number"].(float64); ok {
			head["hash"] = fmt.Sprintf("0x%064x", uint64(number)+1)
		}
	})
}

// changed applies a change to the L2 heads of a status.
func changed(s Status, change func(head map[string]any)) Status {
	for _, name := range l2Heads {
		if head := s[name]; head != nil {
			change(head)
		}
	}
	return s
}

// Switch sends requests to a target that can be set later; until then it answers with an error. Followers that are to
// follow each other need it: neither knows the other's address before it runs.
type Switch struct {
	to atomic.Pointer[httputil.ReverseProxy]
}

// To sets the target, a http URL.
func (s *Switch) To(target string) error {
	to, err := url.Parse(target)
	if err != nil {
		return fmt.Errorf("switch: %w", err)
	}
	s.to.Store(&httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
	return nil
}

// Serve sends a request to the target.
func (s *Switch) Serve(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	to := s.to.Load()
	if to == nil {
		http.Error(w, "nobody there yet", http.StatusBadGateway)
		return
	}
	to.ServeHTTP(w, r)
}

// named are the behaviours that can be asked for by name.
var named = map[string]func() Behaviour{
	"stall":       Stall,
	"error":       func() Behaviour { return Fail(http.StatusServiceUnavailable) },
	"delay":       func() Behaviour { return Delay(3 * time.Second) },
	"replay":      Replay,
	"lie":         Lie,
	"equivocate":  Equivocate,
	"wrong-chain": WrongChain,
}

// Names lists what Named knows, in order.
func Names() []string { return slices.Sorted(maps.Keys(named)) }

// Named makes a behaviour by its name.
func Named(name string) (Behaviour, error) {
	make, ok := named[name]
	if !ok {
		return nil, fmt.Errorf("no behaviour %q: there are %v", name, Names())
	}
	return make(), nil
}

package faults

import (
	"fmt"
	"maps"
	"sync"

	"github.com/lightcl/op-node/ops/devnet/faultproxy"
)

// recorder keeps the first status that passes, to say it again later.
type recorder struct {
	mu    sync.Mutex
	first faultproxy.Status
}

func (r *recorder) record() faultproxy.Behaviour {
	return faultproxy.AlterStatus(func(s faultproxy.Status) faultproxy.Status {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.first == nil {
			r.first = maps.Clone(s)
		}
		return s
	})
}

func (r *recorder) replay() faultproxy.Behaviour {
	return faultproxy.AlterStatus(func(s faultproxy.Status) faultproxy.Status {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.first == nil {
			return s
		}
		return r.first
	})
}

// wrongHash gives one head the hash of no block.
func wrongHash(name string) faultproxy.Behaviour {
	return faultproxy.AlterStatus(func(s faultproxy.Status) faultproxy.Status {
		if head := s[name]; head != nil {
			head["hash"] = fmt.Sprintf("0x%064x", 0xbad)
		}
		return s
	})
}

// nobodyHasIt names a local-safe and a safe head a thousand blocks ahead.
func nobodyHasIt() faultproxy.Behaviour {
	return faultproxy.AlterStatus(func(s faultproxy.Status) faultproxy.Status {
		for _, name := range []string{"safe_l2", "local_safe_l2"} {
			number, ok := s[name]["number"].(float64)
			time, timed := s[name]["timestamp"].(float64)
			if ok && timed {
				s[name]["number"], s[name]["timestamp"], s[name]["hash"] = number+1000, time+1000, fmt.Sprintf("0x%064x", 0xbad)
			}
		}
		return s
	})
}

// finalizedIsSafe says of each safe head that it is final.
func finalizedIsSafe() faultproxy.Behaviour {
	return faultproxy.AlterStatus(func(s faultproxy.Status) faultproxy.Status {
		if safe := s["safe_l2"]; safe != nil {
			s["finalized_l2"] = maps.Clone(safe)
		}
		return s
	})
}

package opnode

import (
	"strings"
)

// Flags are what an operator types to run an op-node. Empty fields are left out.
type Flags struct {
	// L1 is the L1 RPC endpoint; Beacon its beacon API, needed for deriving only.
	L1, Beacon string
	// L2 is the engine API, JWT the file with its secret.
	L2, JWT string
	// Rollup and L1Chain are config files.
	Rollup, L1Chain string
	// Follow are the RPC endpoints of the nodes to follow; none means deriving from L1.
	Follow []string
	// Gossip says how to take part in block gossip; nil is not at all.
	Gossip *Gossip
	// Metrics opens the metrics server on a free loopback port.
	Metrics bool
	// Extra is appended as it is. Of a flag given twice the last one counts.
	Extra []string
}

// Gossip is how a node on this machine takes part in block gossip.
type Gossip struct {
	// Static are the multiaddrs of the peers to dial.
	Static []string
	// Key is the file with the node's key; it is made when missing.
	Key string
}

// Args are the flags as arguments, in the order of a thoughtful operator.
func (f Flags) Args() []string {
	var args []string
	add := func(name, value string) {
		if value != "" {
			args = append(args, "--"+name+"="+value)
		}
	}
	add("l1", f.L1)
	add("l1.beacon", f.Beacon)
	add("l1.epoch-poll-interval", "1s")
	add("l2", f.L2)
	add("l2.jwt-secret", f.JWT)
	add("l2.enginekind", "geth")
	add("l2.follow.source", strings.Join(f.Follow, ","))
	add("rollup.config", f.Rollup)
	add("rollup.l1-chain-config", f.L1Chain)
	add("rpc.addr", "127.0.0.1")
	add("rpc.port", "0")
	if f.Gossip == nil {
		args = append(args, "--p2p.disable")
	} else {
		add("p2p.listen.ip", "127.0.0.1")
		add("p2p.listen.tcp", "0")
		args = append(args, "--p2p.no-discovery")
		add("p2p.static", strings.Join(f.Gossip.Static, ","))
		add("p2p.priv.path", f.Gossip.Key)
		add("p2p.peerstore.path", "memory")
	}
	if f.Metrics {
		args = append(args, "--metrics.enabled")
		add("metrics.addr", "127.0.0.1")
		add("metrics.port", "0")
	}
	return append(args, f.Extra...)
}

// CommandLine is a command that can be pasted into a shell, one flag a line.
func CommandLine(path string, args []string) string {
	words := []string{quote(path)}
	for _, arg := range args {
		words = append(words, quote(arg))
	}
	return strings.Join(words, " \\\n    ")
}

// quote protects a word from the shell where it must be.
func quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,@%+", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

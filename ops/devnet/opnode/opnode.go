// Package opnode runs the op-node binary as a child process and talks to it the way an operator does: by flags,
// by its log and over its RPC.
package opnode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/lightcl/op-node/ops/devnet/child"
)

const (
	// readyTimeout bounds a start, from the fork to the first answer.
	readyTimeout = 60 * time.Second
	readyPoll    = 20 * time.Millisecond
	callTimeout  = 3 * time.Second
)

// Node is an op-node that can be started, ended and started again with the same flags. Its methods may be called
// from any goroutine; Start, Stop, Kill9 and Restart wait for each other.
type Node struct {
	name string
	path string
	dir  string
	args []string

	control sync.Mutex // one change of the process at a time
	mu      sync.Mutex // guards run, for readers that must not wait for a start
	run     *run
}

// run is one life of the process.
type run struct {
	process *child.Process
	url     string
	client  *rpc.Client
}

// ErrNotRunning says that the process has not been started or has ended.
var ErrNotRunning = errors.New("op-node is not running")

// New describes a node: binary is the path of the program, dir an existing directory for its log and whatever it
// writes into its working directory.
func New(name, binary, dir string, flags Flags) (*Node, error) {
	path, err := filepath.Abs(binary)
	if err != nil {
		return nil, fmt.Errorf("op-node binary: %w", err)
	}
	return &Node{name: name, path: path, dir: dir, args: flags.Args()}, nil
}

// Name is what the node is called in logs and tables.
func (n *Node) Name() string { return n.name }

// CommandLine is how the node is started, ready to be pasted into a shell.
func (n *Node) CommandLine() string { return CommandLine(n.path, n.args) }

// LogFile is where everything the node prints is kept, over all its lives.
func (n *Node) LogFile() string { return filepath.Join(n.dir, n.name+".log") }

// Start starts the process and returns once its RPC server has answered. A process that ends or stays silent is an
// error that shows the last lines it printed; nothing is left running then. When ctx ends the start is given up.
// The process itself lives until Stop or Kill9.
func (n *Node) Start(ctx context.Context) error {
	n.control.Lock()
	defer n.control.Unlock()
	return n.start(ctx)
}

func (n *Node) start(ctx context.Context) error {
	if current := n.current(); current != nil && !ended(current.process) {
		return fmt.Errorf("op-node %s is already running", n.name)
	}
	addresses := make(chan string, 1)
	process, err := child.Start(context.Background(), child.Spec{
		Path: n.path, Args: n.args, Dir: n.dir, Env: child.CleanEnv("OP_NODE_"), LogFile: n.LogFile(),
		OnLine: func(line string) {
			if addr, ok := rpcAddress(line); ok {
				select {
				case addresses <- addr:
				default:
				}
			}
		},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("not ready within %s", readyTimeout))
	defer cancel()
	r, err := ready(ctx, process, addresses)
	if err != nil {
		process.Kill()
		return fmt.Errorf("start op-node %s: %w\n%s", n.name, err, indent(process.Tail()))
	}
	n.mu.Lock()
	n.run = r
	n.mu.Unlock()
	return nil
}

// ready waits for the address of the RPC server and then for its first answer.
func ready(ctx context.Context, process *child.Process, addresses <-chan string) (*run, error) {
	var addr string
	select {
	case addr = <-addresses:
	case <-process.Done():
		return nil, exitError(process)
	case <-ctx.Done():
		return nil, fmt.Errorf("no RPC server: %w", context.Cause(ctx))
	}
	r := &run{process: process, url: "http://" + addr}
	client, err := rpc.DialOptions(ctx, r.url)
	if err != nil {
		return nil, fmt.Errorf("dial RPC: %w", err)
	}
	r.client = client
	for {
		_, err := r.syncStatus(ctx)
		if err == nil {
			return r, nil
		}
		select {
		case <-time.After(readyPoll):
		case <-process.Done():
			client.Close()
			return nil, exitError(process)
		case <-ctx.Done():
			client.Close()
			return nil, fmt.Errorf("no sync status: %w", errors.Join(context.Cause(ctx), err))
		}
	}
}

func exitError(p *child.Process) error {
	if err := p.Err(); err != nil {
		return fmt.Errorf("the process ended: %w", err)
	}
	return errors.New("the process ended")
}

// Stop ends the process with SIGTERM; if it is still there when ctx ends, it is killed and Stop says so. A node
// that does not run is no error.
func (n *Node) Stop(ctx context.Context) error {
	n.control.Lock()
	defer n.control.Unlock()
	r := n.current()
	if r == nil {
		return nil
	}
	defer r.client.Close()
	if err := r.process.Stop(ctx); err != nil {
		return fmt.Errorf("stop op-node %s: %w", n.name, err)
	}
	return nil
}

// Kill9 kills the process without warning and returns when it is gone.
func (n *Node) Kill9() {
	n.control.Lock()
	defer n.control.Unlock()
	if r := n.current(); r != nil {
		r.process.Kill()
		r.client.Close()
	}
}

// Restart starts the process again after Stop, Kill9 or its own end.
func (n *Node) Restart(ctx context.Context) error { return n.Start(ctx) }

// Exited is closed when the present process ends, whoever ended it. Before the first Start it is nil.
func (n *Node) Exited() <-chan struct{} {
	r := n.current()
	if r == nil {
		return nil
	}
	return r.process.Done()
}

// Exit is how the process ended; nil while it runs and when it ended with status 0.
func (n *Node) Exit() error {
	r := n.current()
	if r == nil {
		return ErrNotRunning
	}
	return r.process.Err()
}

// Tail is the last lines the present process printed.
func (n *Node) Tail() []string {
	r := n.current()
	if r == nil {
		return nil
	}
	return r.process.Tail()
}

// PID is the process id, or 0 before the first Start.
func (n *Node) PID() int {
	r := n.current()
	if r == nil {
		return 0
	}
	return r.process.PID()
}

// RPC is the URL of the RPC server of the present process. Another life has another one.
func (n *Node) RPC() string {
	r := n.current()
	if r == nil {
		return ""
	}
	return r.url
}

// SyncStatus asks optimism_syncStatus.
func (n *Node) SyncStatus(ctx context.Context) (*eth.SyncStatus, error) {
	r := n.current()
	if r == nil || ended(r.process) {
		return nil, ErrNotRunning
	}
	return r.syncStatus(ctx)
}

// Call makes any other call to the node's RPC server; result must be a pointer.
func (n *Node) Call(ctx context.Context, result any, method string, args ...any) error {
	r := n.current()
	if r == nil || ended(r.process) {
		return ErrNotRunning
	}
	return r.client.CallContext(ctx, result, method, args...)
}

func (n *Node) current() *run {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.run
}

func (r *run) syncStatus(ctx context.Context) (*eth.SyncStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var status *eth.SyncStatus
	if err := r.client.CallContext(ctx, &status, "optimism_syncStatus"); err != nil {
		return nil, err
	}
	if status == nil {
		return nil, errors.New("optimism_syncStatus answered null")
	}
	return status, nil
}

func ended(p *child.Process) bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

// rpcStarted is the line that tells the RPC server's address, in any of the log formats.
const rpcStarted = "Started JSON-RPC server"

var addrField = regexp.MustCompile(`"?\baddr"?\s*[=:]\s*"?(?:https?://)?([^\s",}]+:\d+)`)

// rpcAddress reads host and port of the RPC server from a line of the log.
func rpcAddress(line string) (string, bool) {
	_, rest, found := strings.Cut(line, rpcStarted)
	if !found {
		return "", false
	}
	// JSON sorts its keys as it likes: look at the whole line if the rest has no address.
	for _, text := range []string{rest, line} {
		if m := addrField.FindStringSubmatch(ansi.ReplaceAllString(text, "")); m != nil {
			return m[1], true
		}
	}
	return "", false
}

// ansi matches the colours of a terminal log.
var ansi = regexp.MustCompile("\x1b\\[[0-9;]*m")

func indent(lines []string) string {
	return "    | " + strings.Join(lines, "\n    | ")
}

// Check reports why a path is not a program that can be run.
func Check(binary string) error {
	info, err := os.Stat(binary)
	switch {
	case err != nil:
		return err
	case info.IsDir() || info.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not an executable file", binary)
	}
	return nil
}

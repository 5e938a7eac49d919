//go:build !race

package e2e

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/log"
	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/ops/devnet/mirror"
	"github.com/lightcl/op-node/ops/devnet/stack"
	"github.com/lightcl/op-node/ops/devnet/watch"
)

var (
	// binary is the op-node under test.
	binary string
	// tempDir holds what is built.
	tempDir string
)

var (
	prebuilt = flag.String("op-node", "", "the op-node `program` under test; empty is to build it")
	raceNode = flag.Bool("race-node", false, "build the op-node under test with the race detector")
)

// minParallel is how many tests run at the same time at least. Most of a test's time is waiting.
const minParallel = 3

func TestMain(m *testing.M) {
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue && runtime.GOMAXPROCS(0) < minParallel {
		_ = parallel.Value.Set(strconv.Itoa(minParallel))
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	log.SetDefault(log.NewLogger(log.DiscardHandler())) // parts of the fake L1 know no other
	var err error
	if tempDir, err = os.MkdirTemp("", "devnet-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(tempDir)
	if binary, err = opNode(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// opNode is the path of the program under test.
func opNode() (string, error) {
	if *prebuilt != "" {
		return filepath.Abs(*prebuilt)
	}
	path := filepath.Join(tempDir, "op-node")
	args := []string{"github.com/lightcl/op-node/op-node/cmd"}
	if *raceNode {
		args = append([]string{"-race"}, args...)
	}
	return path, build(path, args...)
}

// build compiles a program; the last argument is its package.
func build(path string, args ...string) error {
	cmd := exec.Command("go", append([]string{"build", "-o", path}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", args[len(args)-1], err, out)
	}
	return nil
}

const (
	// startTimeout bounds bringing up a devnet or a follower.
	startTimeout = 60 * time.Second
	// safeTimeout and finalTimeout bound the wait for the first block with that label on a machine that is busy.
	safeTimeout  = 45 * time.Second
	finalTimeout = 60 * time.Second

	pollInterval = 50 * time.Millisecond
)

// startStack brings up a devnet that lives as long as the test. When the test fails the end of its log is shown.
func startStack(t *testing.T, change func(*stack.Options)) *stack.Stack {
	t.Helper()
	o := stack.DefaultOptions()
	o.Dir = t.TempDir()
	file, err := os.Create(filepath.Join(o.Dir, "devnet.log"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	o.Log = log.NewLogger(log.LogfmtHandlerWithLevel(file, slog.LevelWarn))
	if change != nil {
		change(&o)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	s, err := stack.Start(ctx, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// startFollower adds an op-node process, with its log watched.
func startFollower(t *testing.T, s *stack.Stack, spec stack.FollowerSpec) *stack.Follower {
	t.Helper()
	spec.Binary = binary
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	f, err := s.AddFollower(ctx, spec)
	require.NoError(t, err)
	watchLog(t, f)
	return f
}

// watchLog shows a node's last lines when the test fails. A data race it reports, if it was built to, fails the test.
func watchLog(t *testing.T, f *stack.Follower) {
	t.Helper()
	t.Cleanup(func() {
		text, err := os.ReadFile(f.LogFile())
		require.NoError(t, err)
		require.False(t, bytes.Contains(text, []byte("DATA RACE")), "see the log of %s", f.Name())
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s, the last lines:", f.Name())
			for _, line := range f.Tail() {
				t.Log(line)
			}
		}
	})
}

// waitFor polls until ok or fails the test.
func waitFor(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !ok() {
		require.True(t, time.Now().Before(deadline), "not within %s: %s", within, what)
		select {
		case <-time.After(pollInterval):
		case <-t.Context().Done():
			require.FailNow(t, "test over while waiting", what)
		}
	}
}

// heads are a node's labels; a node that does not answer fails the test.
func heads(t *testing.T, n watch.Node) mirror.Heads {
	t.Helper()
	status, err := n.SyncStatus(t.Context())
	require.NoError(t, err, n.Name())
	return mirror.HeadsOf(status)
}

// requireMirrored watches the source and a node until everything has been mirrored for settle. Any label that goes
// back, or names a block that is not the source's, fails the test.
func requireMirrored(t *testing.T, s *stack.Stack, n watch.Node, settle time.Duration) *mirror.Judge {
	t.Helper()
	rules := mirror.DefaultRules()
	rules.Settle = settle
	judge := mirror.New(rules, n.Name())
	begin := time.Now()
	waitFor(t, finalTimeout+settle, "everything mirrored", func() bool {
		head := s.L1().Head()
		judge.L1(time.Since(begin), mirror.Ref{Number: head.Number, Hash: head.Hash})
		judge.Source(time.Since(begin), heads(t, s.Source()))
		judge.Follower(time.Since(begin), n.Name(), heads(t, n))
		v := judge.Verdict(time.Since(begin))
		require.Empty(t, v.Violations)
		if time.Since(begin) > finalTimeout+settle-time.Second {
			require.Empty(t, v.Missing)
		}
		return v.Passed
	})
	for _, l := range mirror.Labels() {
		at, _ := judge.Mirrored(n.Name(), l)
		lags := judge.Lag(n.Name(), l)
		t.Logf("%s %s: first mirrored after %d ms, lag median %d ms, max %d ms", n.Name(), l,
			at.Milliseconds(), lags.Median.Milliseconds(), lags.Max.Milliseconds())
	}
	return judge
}

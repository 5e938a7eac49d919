//go:build !race

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// program is the devnet program, built once for the tests that want it.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(tempDir, "devnet")
	return path, build(path, "github.com/lightcl/op-node/ops/devnet")
})

// devnet starts the program with the op-node under test. Its standard output is delivered line by line.
func devnet(t *testing.T, args ...string) (*exec.Cmd, <-chan string, *bytes.Buffer) {
	t.Helper()
	path, err := program()
	require.NoError(t, err)
	cmd := exec.Command(path, append([]string{"--op-node=" + binary}, args...)...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "TMPDIR="+cmd.Dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := make(chan string, 10_000)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	return cmd, lines, &stderr
}

// line returns the first line that contains the text.
func line(t *testing.T, lines <-chan string, text string) string {
	t.Helper()
	timeout := time.After(startTimeout)
	for {
		select {
		case l, ok := <-lines:
			require.True(t, ok, "the program ended before it said %q", text)
			if strings.Contains(l, text) {
				return l
			}
		case <-timeout:
			require.FailNow(t, "the program did not say "+text)
		}
	}
}

// childOf finds the op-node a devnet program has started.
func childOf(t *testing.T, pid int) int {
	t.Helper()
	text, err := exec.Command("pgrep", "-P", strconv.Itoa(pid)).Output()
	require.NoError(t, err)
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	return child
}

func requireGone(t *testing.T, pid int) {
	t.Helper()
	waitFor(t, 20*time.Second, fmt.Sprintf("process %d gone", pid), func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
}

func TestProgramChecks(t *testing.T) {
	t.Parallel()
	cmd, lines, stderr := devnet(t, "--check", "--settle=3s", "--timeout=90s")
	var text []string
	for l := range lines {
		text = append(text, l)
	}
	out := strings.Join(text, "\n")
	require.NoError(t, cmd.Wait(), "%s\n%s", out, stderr)
	require.Regexp(t, regexp.MustCompile(`(?m)^    --l2\.follow\.source=http://127\.0\.0\.1:\d+ \\$`), out, "the command line is shown")
	for _, label := range []string{"unsafe", "local_safe", "safe", "finalized", "current_l1"} {
		require.Regexp(t, `follower-1 first mirrored `+label+` \d+:[0-9a-f]{6} \d+ ms after all was up`, out)
	}
	require.Contains(t, out, "PASS")
	left, err := os.ReadDir(cmd.Dir)
	require.NoError(t, err)
	require.Empty(t, left, "no file is left behind")
}

func TestProgramThatCannotPassSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	cmd, lines, stderr := devnet(t, "--check", "--settle=1s", "--timeout=4s", "--finalized-distance=60")
	for range lines { // to the end
	}
	require.ErrorContains(t, cmd.Wait(), "exit status 1")
	require.Contains(t, stderr.String(), "devnet: check not passed after 4s")
	require.Contains(t, stderr.String(), "missing: follower-1: finalized not mirrored")
}

func TestProgramEndsWithItsFollowers(t *testing.T) {
	t.Parallel()
	t.Run("interrupted", func(t *testing.T) {
		cmd, lines, stderr := devnet(t)
		line(t, lines, "All up")
		child := childOf(t, cmd.Process.Pid)
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		for range lines { // to the end
		}
		require.NoError(t, cmd.Wait(), stderr)
		requireGone(t, child)
	})
	t.Run("killed", func(t *testing.T) {
		cmd, lines, _ := devnet(t)
		line(t, lines, "All up")
		child := childOf(t, cmd.Process.Pid)
		require.NoError(t, cmd.Process.Kill())
		require.Error(t, cmd.Wait())
		requireGone(t, child)
	})
	t.Run("its follower ends", func(t *testing.T) {
		cmd, lines, stderr := devnet(t)
		line(t, lines, "All up")
		require.NoError(t, syscall.Kill(childOf(t, cmd.Process.Pid), syscall.SIGKILL))
		for range lines { // to the end
		}
		require.ErrorContains(t, cmd.Wait(), "exit status 1")
		require.Contains(t, stderr.String(), "follower-1 ended by itself")
	})
}

func TestProgramRefusesWhatItCannotDo(t *testing.T) {
	t.Parallel()
	path, err := program()
	require.NoError(t, err)
	for flag, want := range map[string]string{
		"--op-node=/nowhere/op-node":     "--op-node: stat /nowhere/op-node: no such file or directory; build it with `make op-node`",
		"--da=pigeon":                    `data availability "pigeon": want "calldata" or "blobs"`,
		"--l1-block-time=1500ms":         "L1 block time 1.5s: block timestamps are whole seconds",
		"--l2-block-time=3s":             "L2 block time 3s above L1 block time 2s",
		"--finalized-distance=0":         "finalized distance 0",
		"--followers=-1":                 "--followers=-1: give 0 or more",
		"--batcher-reads=nobody":         "--batcher-reads=nobody: want sequencer or follower",
		"--follower-flag=--no.such=flag": "started with:",
		"surplus":                        `unexpected argument "surplus"`,
	} {
		t.Run(flag, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
			defer cancel()
			out, err := exec.CommandContext(ctx, path, "--op-node="+binary, "--duration=1s", flag).CombinedOutput()
			require.ErrorContains(t, err, "exit status 1", string(out))
			require.Contains(t, string(out), want)
		})
	}
	for _, args := range [][]string{{"--check", "--followers=0"}, {"--check", "--batcher=false"}, {"--check", "--timeout=5s"}} {
		out, err := exec.Command(path, args...).CombinedOutput()
		require.ErrorContains(t, err, "exit status 1", string(out))
		require.Contains(t, string(out), args[1])
	}
}

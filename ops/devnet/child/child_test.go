package child

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const patience = 10 * time.Second

// shell starts a script; its output arrives on the channel line by line.
func shell(t *testing.T, ctx context.Context, script string) (*Process, <-chan string) {
	t.Helper()
	lines := make(chan string, 100)
	p, err := Start(ctx, Spec{
		Path: "/bin/sh", Args: []string{"-c", script}, Dir: t.TempDir(), Env: os.Environ(),
		LogFile: filepath.Join(t.TempDir(), "log"),
		OnLine:  func(line string) { lines <- line },
	})
	require.NoError(t, err)
	t.Cleanup(p.Kill)
	return p, lines
}

func next(t *testing.T, lines <-chan string) string {
	t.Helper()
	select {
	case line := <-lines:
		return line
	case <-time.After(patience):
		require.FailNow(t, "no line of output")
		return ""
	}
}

// until reads lines up to the given one; a shell has things of its own to say about signals.
func until(t *testing.T, lines <-chan string, want string) {
	t.Helper()
	for next(t, lines) != want {
	}
}

func ended(t *testing.T, p *Process) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(patience):
		require.FailNow(t, "the child did not end")
	}
}

// gone waits until no process has the id, or only a zombie that nobody reaps yet.
func gone(t *testing.T, pid int) {
	t.Helper()
	require.Eventually(t, func() bool {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			return syscall.Kill(pid, 0) == syscall.ESRCH
		}
		_, state, _ := strings.Cut(string(stat), ") ")
		return strings.HasPrefix(state, "Z")
	}, patience, 10*time.Millisecond)
}

func TestOutputGoesToFileTailAndCallback(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	var lines []string
	p, err := Start(t.Context(), Spec{
		Path: "/bin/sh", Args: []string{"-c", `echo one; echo two >&2; printf three`}, Dir: t.TempDir(),
		LogFile: log, OnLine: func(line string) { lines = append(lines, line) },
	})
	require.NoError(t, err)
	ended(t, p)
	require.NoError(t, p.Err())
	want := []string{"one", "two", "three"}
	require.Equal(t, want, lines)
	require.Equal(t, want, p.Tail())
	text, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Equal(t, "one\ntwo\nthree", string(text))
}

func TestTailKeepsTheLastLines(t *testing.T) {
	p, err := Start(t.Context(), Spec{
		Path: "/bin/sh", Args: []string{"-c", `i=0; while [ $i -lt 200 ]; do echo $i; i=$((i+1)); done`},
		LogFile: filepath.Join(t.TempDir(), "log"),
	})
	require.NoError(t, err)
	ended(t, p)
	tail := p.Tail()
	require.Len(t, tail, tailLines)
	require.Equal(t, "199", tail[tailLines-1])
	require.Equal(t, strconv.Itoa(200-tailLines), tail[0])
}

func TestStopIsASIGTERM(t *testing.T) {
	p, lines := shell(t, t.Context(), `trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done`)
	require.Equal(t, "up", next(t, lines))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, p.Stop(ctx))
	until(t, lines, "bye")
	require.NoError(t, p.Err())
	require.NoError(t, p.Stop(ctx), "a second Stop finds nothing to do")
}

func TestStopReachesTheWholeGroup(t *testing.T) {
	p, lines := shell(t, t.Context(), `(trap 'echo inner; exit 0' TERM; echo up; while :; do sleep 0.05; done) & trap '' TERM; wait`)
	require.Equal(t, "up", next(t, lines))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, p.Stop(ctx))
	until(t, lines, "inner")
}

func TestStopKillsADeafChild(t *testing.T) {
	p, lines := shell(t, t.Context(), `trap '' TERM; echo up; while :; do sleep 0.05; done`)
	require.Equal(t, "up", next(t, lines))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, p.Stop(ctx), context.DeadlineExceeded)
	require.ErrorContains(t, p.Err(), "killed")
}

func TestParentContextKillsTheWholeGroup(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, lines := shell(t, ctx, `trap '' TERM; sleep 600 & echo $!; wait`)
	grandchild, err := strconv.Atoi(next(t, lines))
	require.NoError(t, err)
	cancel()
	ended(t, p)
	gone(t, p.PID())
	gone(t, grandchild)
}

func TestWhatAChildLeavesBehindIsKilled(t *testing.T) {
	p, lines := shell(t, t.Context(), `sleep 600 >/dev/null 2>&1 & echo $!`)
	orphan, err := strconv.Atoi(next(t, lines))
	require.NoError(t, err)
	ended(t, p)
	gone(t, orphan)
}

func TestExitStatusIsReported(t *testing.T) {
	p, _ := shell(t, t.Context(), `exit 3`)
	ended(t, p)
	require.ErrorContains(t, p.Err(), "exit status 3")
}

func TestStartOfNothing(t *testing.T) {
	_, err := Start(t.Context(), Spec{Path: filepath.Join(t.TempDir(), "absent"), LogFile: filepath.Join(t.TempDir(), "log")})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestCleanEnv(t *testing.T) {
	t.Setenv("CHILDTEST_GONE", "1")
	t.Setenv("OTHER_STAYS", "1")
	env := CleanEnv("CHILDTEST_")
	require.NotContains(t, env, "CHILDTEST_GONE=1")
	require.Contains(t, env, "OTHER_STAYS=1")
}

// Package tree keeps upstream's source tree as a git repository: the very version that this module depends on, copied out
// of Go's module cache, verified by go.sum, and committed as the base of patches. The benchmark builds upstream's program
// from it, with and without the series.
//
// The copy always lies in the same place, or Go would not know the packages again that it has built before. One process at
// a time works in it.
package tree

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/mod/sumdb/dirhash"
)

const (
	optimism = "github.com/ethereum-optimism/optimism"
	geth     = "github.com/ethereum/go-ethereum"
)

// Base and Branch are the refs of the unchanged sources and of the series on top of them.
const (
	Base   = "refs/tags/base"
	Branch = "refs/heads/series"
)

// Tree is a copy of upstream's repository. It is used by one goroutine.
type Tree struct {
	// Dir is where the copy lies, Version is upstream's, ModuleDir is this module's directory.
	Dir, Version, ModuleDir string

	lock *os.File
}

// Open returns the copy below dir, made if it is not there. Another process that has it is waited for.
func Open(ctx context.Context, dir string) (*Tree, error) {
	module, err := download(ctx)
	if err != nil {
		return nil, err
	}
	own, err := goCommand(ctx, "", "env", "GOMOD")
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(filepath.Join(dir, module.Version))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(abs), 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(abs+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	t := &Tree{Dir: abs, Version: module.Version, ModuleDir: filepath.Dir(own), lock: lock}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the copy of upstream's sources: %w", err), lock.Close())
	}
	if _, err := t.Git(ctx, "rev-parse", "--verify", "--quiet", Base); err == nil {
		return t, nil
	}
	if err := t.create(ctx, module); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// Close lets the next process have the copy.
func (t *Tree) Close() error { return t.lock.Close() }

type module struct{ Version, Dir, Sum string }

// download sees to it that upstream's module, and op-geth's, are in the module cache.
func download(ctx context.Context) (m module, err error) {
	out, err := goCommand(ctx, "", "mod", "download", "-json", optimism)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal([]byte(out), &m); err != nil {
		return m, fmt.Errorf("go mod download: %w", err)
	}
	_, err = goCommand(ctx, "", "mod", "download", geth)
	return m, err
}

// create makes the copy from scratch. What a run that was killed has left is no use.
func (t *Tree) create(ctx context.Context, m module) error {
	if err := os.RemoveAll(t.Dir); err != nil {
		return err
	}
	if err := os.CopyFS(t.Dir, os.DirFS(m.Dir)); err != nil {
		return fmt.Errorf("copy upstream's sources: %w", err)
	}
	sum, err := dirhash.HashDir(t.Dir, optimism+"@"+m.Version, dirhash.Hash1)
	if err != nil {
		return err
	}
	sums, err := os.ReadFile(filepath.Join(t.ModuleDir, "go.sum"))
	if err != nil {
		return err
	}
	if line := fmt.Sprintf("%s %s %s\n", optimism, m.Version, sum); !strings.Contains(string(sums), line) {
		return fmt.Errorf("upstream's sources are not those of go.sum: the copy has %s", strings.TrimSpace(line))
	}
	if _, err := t.Git(ctx, "init", "--quiet", "--initial-branch=main"); err != nil {
		return err
	}
	if err := t.addBundle(ctx); err != nil {
		return err
	}
	// Everything but the bundle, which is not upstream's.
	if _, err := t.Git(ctx, "add", "--all", "--force", "--", ".", ":(exclude)"+bundle); err != nil {
		return err
	}
	if _, err := t.Git(ctx, "commit", "--quiet", "--no-verify", "--message=optimism "+m.Version); err != nil {
		return err
	}
	if err := t.PinBundle(ctx); err != nil {
		return err
	}
	_, err = t.Git(ctx, "update-ref", Base, "HEAD")
	return err
}

// Git runs a git command in the copy and returns what it printed. Neither the user's configuration nor the clock has a
// part in it, so that the same patches make the same commits everywhere.
func (t *Tree) Git(ctx context.Context, args ...string) (string, error) {
	return t.GitInput(ctx, nil, nil, args...)
}

// GitInput is Git with input and with more environment.
func (t *Tree) GitInput(ctx context.Context, input []byte, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "core.compression=1", "-c", "core.abbrev=12", "-c", "gc.auto=0",
		"-c", "core.autocrlf=false", "-c", "commit.gpgSign=false", "-c", "advice.detachedHead=false"}, args...)...)
	cmd.Dir, cmd.Stdin = t.Dir, bytes.NewReader(input)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "GIT_") { // a hook that runs this program has them set for another repository
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, "GIT_DIR="+filepath.Join(t.Dir, ".git"), "GIT_WORK_TREE="+t.Dir,
		"GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_SYSTEM="+os.DevNull, "GIT_EDITOR=true",
		"GIT_AUTHOR_NAME=op-node follow mode", "GIT_AUTHOR_EMAIL=follow@localhost", "GIT_AUTHOR_DATE=2026-09-01T00:00:00Z",
		"GIT_COMMITTER_NAME=op-node follow mode", "GIT_COMMITTER_EMAIL=follow@localhost", "GIT_COMMITTER_DATE=2026-09-01T00:00:00Z")
	cmd.Env = append(cmd.Env, env...)
	return output(cmd)
}

// Go runs a go command in the copy, with upstream's own go.mod, and returns what it printed to either output. An error
// of the command itself comes with the output.
func (t *Tree) Go(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = t.Dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "PWD="+t.Dir)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// OwnVersion is the version of a module that this module depends on.
func (t *Tree) OwnVersion(ctx context.Context, module string) (string, error) {
	return goCommand(ctx, t.ModuleDir, "list", "-m", "-f", "{{.Version}}", module)
}

// goCommand runs the go command in this module, or in dir.
func goCommand(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	out, err := output(cmd)
	return strings.TrimSpace(out), err
}

// output runs a command; what it says on its standard error becomes part of the error.
func output(cmd *exec.Cmd) (string, error) {
	out, err := cmd.Output()
	if err == nil {
		return string(out), nil
	}
	said := strings.TrimSpace(string(out))
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		said = strings.TrimSpace(said + "\n" + string(exit.Stderr))
	}
	args := cmd.Args
	for len(args) > 2 && args[1] == "-c" { // settings of git
		args = append(args[:1:1], args[3:]...)
	}
	return string(out), fmt.Errorf("%s: %w\n%s", strings.Join(args[:min(len(args), 3)], " "), err, said)
}

// Checkout has the files of a commit in the copy, instead of what was there.
func (t *Tree) Checkout(ctx context.Context, commit string) error {
	// The checksum that is built is no commit's, and where two commits have different ones git does not take it away.
	if _, err := t.Git(ctx, "update-index", "--no-skip-worktree", bundleSum); err != nil {
		return err
	}
	if _, err := t.Git(ctx, "checkout", "--quiet", "--force", "--detach", commit); err != nil {
		return err
	}
	return t.PinBundle(ctx)
}

// Build builds upstream's op-node from the files that are checked out, with the same versions of everything below and by
// the same compiler as ours.
func (t *Tree) Build(ctx context.Context, out, version string) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	// A copy of this module's go.mod in which upstream is the copied one.
	dir, err := os.MkdirTemp("", "upstream")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(t.ModuleDir, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	modfile := filepath.Join(dir, "go.mod")
	if _, err := goCommand(ctx, t.ModuleDir, "mod", "edit", "-replace="+optimism+"="+t.Dir, modfile); err != nil {
		return err
	}
	_, err = goCommand(ctx, t.ModuleDir, "build", "-mod=mod", "-modfile="+modfile,
		"-ldflags=-X "+optimism+"/op-node/version.Version="+version, "-o", out, optimism+"/op-node/cmd")
	return err
}

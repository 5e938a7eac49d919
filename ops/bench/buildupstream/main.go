// Buildupstream builds upstream's own op-node, to be measured beside ours: the unchanged sources of the very version that
// this repository depends on, with the same versions of everything below and by the same compiler.
//
// The program cannot be built from where Go keeps modules, because it embeds a file that the published module lacks, the
// bundle of known chains. So the sources are copied for the time of the build, and get op-geth's bundle, which is one of the
// same format. Nothing in a benchmark asks for a chain by name.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	optimism = "github.com/ethereum-optimism/optimism"
	geth     = "github.com/ethereum/go-ethereum"
)

func main() {
	out := flag.String("out", "bin/upstream-op-node", "the `path` of the program")
	dir := flag.String("dir", "cache/upstream", "the `directory` for the sources, of which nothing is left; one at a time may build there")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := build(ctx, *out, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "buildupstream:", err)
		os.Exit(1)
	}
}

// build has the copy always in the same place, or Go would not know the packages again that it has built before.
func build(ctx context.Context, out, dir string) (err error) {
	if _, err := goCommand(ctx, "mod", "download", optimism, geth); err != nil {
		return err
	}
	listed, err := goCommand(ctx, "list", "-m", "-f", "{{.Dir}} {{.Version}}", optimism, geth)
	if err != nil {
		return err
	}
	fields := strings.Fields(listed)
	if len(fields) != 4 {
		return fmt.Errorf("go list: %q is not understood", listed)
	}
	sources, version, gethSources := fields[0], fields[1], fields[2]
	if dir, err = filepath.Abs(filepath.Join(dir, version)); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil { // of a build that was killed
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := copySources(sources, dir); err != nil {
		return err
	}
	if err := addBundle(gethSources, dir); err != nil {
		return err
	}
	modfile, err := writeModule(ctx, dir)
	if err != nil {
		return err
	}
	_, err = goCommand(ctx, "build", "-mod=mod", "-modfile="+modfile, "-ldflags=-X "+optimism+"/op-node/version.Version="+version,
		"-o", out, optimism+"/op-node/cmd")
	return err
}

// copySources takes the Go parts of upstream's repository, and what they embed.
func copySources(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	parts := []string{"packages/contracts-bedrock/snapshots"}
	for _, entry := range entries {
		if entry.IsDir() && strings.HasPrefix(entry.Name(), "op-") {
			parts = append(parts, entry.Name())
		}
	}
	for _, part := range parts {
		if err := os.CopyFS(filepath.Join(to, part), os.DirFS(filepath.Join(from, part))); err != nil {
			return fmt.Errorf("copy %s: %w", part, err)
		}
	}
	return copyFile(filepath.Join(from, "go.mod"), filepath.Join(to, "go.mod"))
}

// addBundle adds the bundle of known chains, and its checksum, which the program compares at its start.
func addBundle(gethSources, to string) error {
	const name = "superchain-configs.zip"
	bundle, err := os.ReadFile(filepath.Join(gethSources, "superchain", name))
	if err != nil {
		return err
	}
	path := filepath.Join(to, "op-core", "superchain", name)
	if err := os.WriteFile(path, bundle, 0o644); err != nil {
		return err
	}
	return os.WriteFile(path+".sha256", fmt.Appendf(nil, "%x  %s\n", sha256.Sum256(bundle), name), 0o644)
}

// writeModule makes a copy of this module's go.mod, in which upstream is the copied one.
func writeModule(ctx context.Context, dir string) (modfile string, err error) {
	own, err := goCommand(ctx, "env", "GOMOD")
	if err != nil {
		return "", err
	}
	own = strings.TrimSpace(own)
	modfile = filepath.Join(dir, "bench.mod")
	if err := copyFile(own, modfile); err != nil {
		return "", err
	}
	if err := copyFile(strings.TrimSuffix(own, ".mod")+".sum", filepath.Join(dir, "bench.sum")); err != nil {
		return "", err
	}
	_, err = goCommand(ctx, "mod", "edit", "-replace="+optimism+"="+dir, modfile)
	return modfile, err
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, fs.FileMode(0o644))
}

// goCommand runs the go command in this module and returns what it printed.
func goCommand(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, exit.Stderr)
	}
	return string(out), err
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/params"

	"github.com/lightcl/op-node/ops/devnet/closer"
	"github.com/lightcl/op-node/ops/devnet/opnode"
	"github.com/lightcl/op-node/ops/devnet/screen"
	"github.com/lightcl/op-node/ops/devnet/stack"
)

// run brings everything up, watches it to the end and takes it down.
func run(ctx context.Context, cfg config, display screen.Display) (err error) {
	defer display.Close()
	if cfg.followers > 0 || cfg.deriving || cfg.stack.Light != "" {
		if err := opnode.Check(cfg.binary); err != nil {
			return fmt.Errorf("--op-node: %w; build it with `make op-node`", err)
		}
	}
	for _, program := range cfg.beside {
		if err := opnode.Check(program); err != nil {
			return fmt.Errorf("--beside: %w; `make patches` and `make bench` build upstream's", err)
		}
	}
	var cleanup closer.Closer
	defer func() {
		err = errors.Join(err, cleanup.Close())
		if err != nil && cfg.dir == "" {
			err = fmt.Errorf("%w\n--dir=DIRECTORY keeps the logs of a run", err)
		}
	}()
	if cfg.stack.Dir, err = workDir(cfg.dir, &cleanup); err != nil {
		return err
	}
	if cfg.stack.Log, err = logTo(filepath.Join(cfg.stack.Dir, "devnet.log"), &cleanup); err != nil {
		return err
	}

	begin := time.Now()
	net, err := stack.Start(ctx, cfg.stack)
	if err != nil {
		return err
	}
	cleanup.AddWithin("devnet", closeTimeout, func(context.Context) error { return net.Close() })
	sources, err := cfg.sourcing.start(net, &cleanup)
	if err != nil {
		return err
	}
	followers, err := addFollowers(ctx, cfg, net, sources)
	if err != nil {
		return err
	}
	if cfg.batchFollower {
		if err := net.AddBatcher(ctx, followers[0], followers[0].RPC()); err != nil {
			return err
		}
	}
	if err := cfg.exposure.start(ctx, net, &cleanup); err != nil {
		return err
	}
	display.Note(introduction(cfg, net, followers, time.Since(begin)))
	if err := sources.misbehave(ctx, followers, display); err != nil {
		return err
	}
	return newSession(cfg, net, followers, display).watch(ctx)
}

// closeTimeout is far above what the parts of the devnet take together; each has a limit of its own.
const closeTimeout = 2 * time.Minute

// workDir is the given directory, made when missing, or a new one that goes away at the end.
func workDir(dir string, cleanup *closer.Closer) (string, error) {
	if dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", fmt.Errorf("--dir: %w", err)
		}
		// One directory per run: the files of an earlier one would be mixed up with ours.
		kept, err := os.MkdirTemp(dir, time.Now().UTC().Format("20060102-150405-"))
		if err != nil {
			return "", fmt.Errorf("--dir: %w", err)
		}
		return filepath.Abs(kept)
	}
	temporary, err := os.MkdirTemp("", "devnet-")
	if err != nil {
		return "", err
	}
	cleanup.AddErr("working directory", func() error { return os.RemoveAll(temporary) })
	return temporary, nil
}

// logTo sends the log of every component in this process to a file.
func logTo(path string, cleanup *closer.Closer) (log.Logger, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	cleanup.AddErr("log file", file.Close)
	logger := log.NewLogger(log.LogfmtHandlerWithLevel(file, slog.LevelInfo))
	log.SetDefault(logger) // parts of the fake L1 know no other
	return logger, nil
}

func addFollowers(ctx context.Context, cfg config, net *stack.Stack, sources *proxies) ([]*stack.Follower, error) {
	var specs []stack.FollowerSpec
	for i := range cfg.followers {
		specs = append(specs, stack.FollowerSpec{Name: fmt.Sprintf("follower-%d", i+1)})
	}
	for _, program := range cfg.beside {
		specs = append(specs, stack.FollowerSpec{Name: besideName(program), Binary: program, Extra: []string{
			// Upstream's program does not start without these, and makes no use of them.
			"--l1.beacon=" + net.L1().Beacon(), "--p2p.bootnodes=" + params.MainnetBootnodes[0]}})
	}
	if cfg.deriving {
		specs = append(specs, stack.FollowerSpec{Name: derivingName, Derive: true})
	}
	var followers []*stack.Follower
	for _, spec := range specs {
		spec.Binary, spec.Metrics = cmp.Or(spec.Binary, cfg.binary), cfg.metrics
		spec.Extra = append(spec.Extra, cfg.extra...)
		if !spec.Derive && !cfg.sourcing.plain() {
			spec = sources.spec(spec, followers)
		}
		f, err := net.AddFollower(ctx, spec)
		if err != nil {
			return nil, err
		}
		followers = append(followers, f)
	}
	return followers, nil
}

// derivingName is the follower that follows nobody.
const derivingName = "deriving"

// besideName is what the follower that runs another program is called.
func besideName(program string) string { return "beside-" + filepath.Base(program) }

// forComparison tells whether a follower is there for comparison only.
func (c config) forComparison(name string) bool {
	return name == derivingName || slices.ContainsFunc(c.beside, func(program string) bool { return besideName(program) == name })
}

// introduction says what is running.
func introduction(cfg config, net *stack.Stack, followers []*stack.Follower, took time.Duration) string {
	var b strings.Builder
	for _, f := range followers {
		fmt.Fprintf(&b, "%s runs as\n\n%s\n\nand serves %s\n\n", f.Name(), f.CommandLine(), f.RPC())
	}
	o := cfg.stack
	fmt.Fprintf(&b, "All up after %d ms: L1 every %s, L2 every %s, %s, gossip %s, devp2p %s.\n", took.Milliseconds(),
		o.L1BlockTime, o.L2BlockTime, o.DA, onOff(o.P2P), onOff(o.DevP2P))
	for _, light := range net.Lights() {
		fmt.Fprintf(&b, "%s runs as\n\n%s\n\nand serves %s\n\n", light.Name(), light.CommandLine(), light.RPC())
	}
	fmt.Fprintf(&b, "L1 %s  source %s", net.L1().HTTP(), net.Source().RPC())
	if sequencer := net.Sequencer(); sequencer != nil {
		fmt.Fprintf(&b, "  sequencer %s", sequencer.RPC())
	}
	b.WriteByte('\n')
	if cfg.dir != "" {
		fmt.Fprintf(&b, "Logs in %s\n", o.Dir)
	}
	return b.String()
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

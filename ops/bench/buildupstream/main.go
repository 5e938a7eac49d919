// Buildupstream builds upstream's own op-node, to be measured beside ours: the unchanged sources of the very version that
// this repository depends on, with the same versions of everything below and by the same compiler. With --patched it builds
// the one with the series for upstream's maintainers instead.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/lightcl/op-node/ops/patches/apply"
	"github.com/lightcl/op-node/ops/patches/series"
	"github.com/lightcl/op-node/ops/patches/tree"
)

func main() {
	out := flag.String("out", "bin/upstream-op-node", "the `path` of the program")
	dir := flag.String("dir", "bin/upstream", "the `folder` for the copy of upstream's sources")
	patched := flag.String("patched", "", "the `path` of the program with the series, none by default")
	patches := flag.String("patches", "patches/series", "the `folder` of the series")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := build(ctx, *dir, *out, *patched, *patches); err != nil {
		fmt.Fprintln(os.Stderr, "buildupstream:", err)
		os.Exit(1)
	}
}

func build(ctx context.Context, dir, out, patched, patches string) (err error) {
	t, err := tree.Open(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if patched != "" {
		all, err := series.Load(patches)
		if err != nil {
			return err
		}
		if _, err := apply.Series(ctx, t, all); err != nil {
			return err
		}
		if err := t.Build(ctx, patched, t.Version+"-patched"); err != nil {
			return err
		}
	}
	if err := t.Checkout(ctx, tree.Base); err != nil {
		return err
	}
	return t.Build(ctx, out, t.Version)
}

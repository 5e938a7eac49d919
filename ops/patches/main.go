// Patches applies the series for upstream's maintainers to upstream's own sources, checks it patch by patch, and exports it:
//
//	patches                   applies, vets and tests each patch, tests all at the tip, builds the program, writes mails
//	patches --quick           applies, compares the trees, vets
//	patches --prove           also shows that each new test is red without its patch
//	patches save              writes the edited commits back into patches/series
//	patches rebase DIR        applies the series to another checkout of upstream
//
// It works in a copy of the module that this repository depends on.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/lightcl/op-node/ops/patches/apply"
	"github.com/lightcl/op-node/ops/patches/series"
	"github.com/lightcl/op-node/ops/patches/tree"
)

// run is one run of the program.
type run struct {
	tree *tree.Tree
	// dir is the folder of the patches, out the one for the mails, program the patched op-node.
	dir, out, program string
	say               func(format string, args ...any)
}

type options struct {
	dir, copies, out, program string
	quick, prove              bool
	from                      int
}

func main() {
	var o options
	flag.StringVar(&o.dir, "patches", "patches", "the `folder` of the patches")
	flag.StringVar(&o.copies, "dir", "bin/upstream", "the `folder` for the copy of upstream's sources")
	flag.StringVar(&o.out, "out", "bin/patches", "the `folder` for the mails")
	flag.StringVar(&o.program, "program", "bin/patched-op-node", "the `path` for upstream's program with the series")
	flag.BoolVar(&o.quick, "quick", false, "apply, compare the trees and vet, no more")
	flag.BoolVar(&o.prove, "prove", false, "also run each new test without its patch, where it has to fail")
	flag.IntVar(&o.from, "from", 1, "the `number` of the first patch to test and to prove; those before it are only applied")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := o.run(ctx, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "patches:", err)
		os.Exit(1)
	}
}

func (o options) run(ctx context.Context, args []string) (err error) {
	t, err := tree.Open(ctx, o.copies)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	start := time.Now()
	r := &run{tree: t, dir: o.dir, out: o.out, program: o.program, say: func(format string, args ...any) {
		fmt.Printf("%5.0fs  %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
	}}
	folder := filepath.Join(o.dir, "series")
	switch {
	case len(args) == 1 && args[0] == "save":
		all, err := save(ctx, t, folder)
		if err == nil {
			r.say("%d patches saved in %s", len(all), folder)
		}
		return err
	case len(args) == 2 && args[0] == "rebase" && args[1] != "":
		return r.rebase(ctx, folder, args[1])
	case len(args) > 0:
		return fmt.Errorf("%q is not understood: save, rebase DIR, or nothing", args)
	}
	return r.check(ctx, folder, o)
}

// check is the run without a command.
func (r *run) check(ctx context.Context, folder string, o options) error {
	all, err := series.Load(folder)
	if err != nil {
		return err
	}
	if o.from < 1 || o.from > len(all) {
		return fmt.Errorf("--from=%d: there are the patches 1 to %d", o.from, len(all))
	}
	commits, err := apply.Series(ctx, r.tree, all)
	if err != nil {
		return err
	}
	tip := commits[len(commits)-1].Hash
	size := series.Total(all)
	r.say("%d patches applied to optimism %s, each to the tree that it names: %d lines of code, %d of tests, %d removed",
		len(all), r.tree.Version, size.Code, size.Tests, size.Removed)
	touched := series.Packages(all)
	if err := vet(ctx, r.tree, touched); err != nil {
		return err
	}
	r.say("%d touched packages vetted at the tip", len(touched))
	if o.quick {
		return nil
	}
	if err := r.positions(ctx, commits[o.from-1:]); err != nil {
		return err
	}
	if o.prove {
		if err := r.prove(ctx, commits[o.from-1:]); err != nil {
			return err
		}
	}
	if err := r.compare(ctx, commits); err != nil {
		return err
	}
	if err := r.tree.Build(ctx, r.program, r.tree.Version+"-patched"); err != nil {
		return err
	}
	r.say("upstream's program with the series: %s", r.program)
	if err := mails(ctx, r.tree, tree.Base, tip, r.out); err != nil {
		return err
	}
	r.say("mails for git am: %s", r.out)
	return r.rfc(ctx, tip)
}

// rebase applies the series to another checkout of upstream, as far as it goes.
func (r *run) rebase(ctx context.Context, folder, dir string) error {
	all, err := series.Load(folder)
	if err != nil {
		return err
	}
	commits, err := apply.Series(ctx, r.tree, all)
	if err != nil {
		return err
	}
	return r.onto(ctx, slices.Clone(commits), dir)
}

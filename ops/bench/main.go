// Bench measures op-node's follow mode side by side with upstream's, in follow mode and in derivation mode: upstream's driver,
// which it imports, on a model execution engine with scripted sources, and upstream's program on a devnet with real op-geths.
// It prints a table and writes JSON, Markdown and charts.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	cfg := config{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&cfg.opNode, "op-node", "bin/op-node", "the op-node `program`")
	f.StringVar(&cfg.upstream, "upstream", "bin/upstream-op-node", "upstream's op-node `program`")
	f.StringVar(&cfg.patched, "patched", "", "upstream's op-node `program` with the series for upstream, as one more contestant on the devnet; empty is none")
	f.StringVar(&cfg.out, "out", "cache/bench", "the `directory` for the results")
	f.StringVar(&cfg.into, "into", "", "a Markdown `document` to put the table into as well, between its two marks")
	f.StringVar(&cfg.logs, "logs", "", "a `directory` to keep the nodes' logs in; empty keeps none")
	f.StringVar(&cfg.only, "only", "", "`parts` to run, separated by commas: "+partNames()+"; empty runs all")
	f.BoolVar(&cfg.compare, "compare", false, "measures nothing, and says how far the ratios in the results.json `files` of several runs, given as "+
		"arguments, lie apart; fails if some that have to repeat do not")
	f.BoolVar(&cfg.short, "short", false, "runs for little more than a minute, to see that all works")
	if err := f.Parse(os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	action := run
	if cfg.compare {
		action = func(context.Context, config) error { return compare(os.Stdout, f.Args()) }
	} else if f.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "bench: arguments are for --compare:", f.Args())
		os.Exit(2)
	}
	if err := action(ctx, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

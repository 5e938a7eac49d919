package main

import (
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

	"github.com/lightcl/op-node/ops/bench/faults"
	"github.com/lightcl/op-node/ops/bench/live"
	"github.com/lightcl/op-node/ops/bench/model"
	"github.com/lightcl/op-node/ops/bench/report"
	"github.com/lightcl/op-node/ops/devnet/opnode"
)

// config is what the flags say.
type config struct {
	opNode, upstream, patched, out, into, logs, only string
	short, compare                                   bool
}

// part is one of the measurements, which follow each other so that none takes time from another.
type part struct {
	name string
	run  func(ctx context.Context, cfg config, dir string, logger log.Logger) ([]report.Group, error)
}

func parts() []part {
	return []part{
		{"devnet", runLive}, {"faults", runFaults},
		{"follow", onModel(model.Follow)}, {"fleet", onModel(model.Fleet)}, {"recovery", onModel(model.Recovery)},
		{"backlog", onModel(model.Backlog)},
	}
}

func partNames() string {
	var names []string
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return strings.Join(names, ", ")
}

// run makes all measurements, prints the table and writes the results.
func run(ctx context.Context, cfg config) (err error) {
	chosen := parts()
	if cfg.only != "" {
		want := strings.Split(cfg.only, ",")
		chosen = slices.DeleteFunc(chosen, func(p part) bool { return !slices.Contains(want, p.name) })
		if len(chosen) != len(want) {
			return fmt.Errorf("--only=%s: there is %s", cfg.only, partNames())
		}
	}
	programs := map[string]string{"op-node": cfg.opNode, "upstream": cfg.upstream}
	if cfg.patched != "" {
		programs["patched"] = cfg.patched
	}
	for flag, program := range programs {
		if err := opnode.Check(program); err != nil {
			return fmt.Errorf("--%s: %w; `make bench` builds it", flag, err)
		}
	}
	dir, err := os.MkdirTemp(cfg.logs, "bench-")
	if err != nil {
		return fmt.Errorf("--logs: %w", err)
	}
	if cfg.logs == "" {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	file, err := os.Create(filepath.Join(dir, "devnet.log"))
	if err != nil {
		return err
	}
	defer file.Close()
	logger := log.NewLogger(log.LogfmtHandlerWithLevel(file, slog.LevelWarn))
	log.SetDefault(logger) // parts of the devnet know no other

	begin := time.Now()
	results := report.Results{Date: begin.UTC(), Machine: machine(), Short: cfg.short}
	for _, p := range chosen {
		say("%s", p.name)
		groups, err := p.run(ctx, cfg, dir, logger)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		results.Groups = append(results.Groups, groups...)
	}
	results.Took = time.Since(begin).Seconds()
	results.Judge()
	fmt.Println(results.Markdown(""))
	if err := results.Write(cfg.out); err != nil || cfg.into == "" {
		return err
	}
	return results.Embed(cfg.into, cfg.out)
}

// say shows on stderr how the run goes.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

func runLive(ctx context.Context, cfg config, dir string, logger log.Logger) ([]report.Group, error) {
	o := live.Options{
		OpNode: cfg.opNode, Upstream: cfg.upstream, Patched: cfg.patched, Dir: dir, Log: logger, Say: say,
		Warmup: 30 * time.Second, Window: 180 * time.Second, ScaleWindow: 120 * time.Second, Restarts: 4,
	}
	if cfg.short {
		o.Warmup, o.Window, o.ScaleWindow, o.Restarts = 5*time.Second, 10*time.Second, 0, 0
	}
	return live.Run(ctx, o)
}

func runFaults(ctx context.Context, cfg config, dir string, logger log.Logger) ([]report.Group, error) {
	o := faults.Options{
		Contestants: []faults.Contestant{
			{Name: report.Ours, File: "ours", Program: cfg.opNode},
			{Name: report.UpstreamFollow, File: "upstream", Program: cfg.upstream, Upstream: true},
		},
		Dir: filepath.Join(dir, "faults"), Phase: 12 * time.Second, Log: logger, Say: say,
	}
	if cfg.patched != "" {
		o.Contestants = append(o.Contestants, faults.Contestant{Name: report.PatchedFollow, File: "patched", Program: cfg.patched, Upstream: true})
	}
	if cfg.short {
		return nil, nil // each fault has to last for some polls
	}
	if err := os.Mkdir(o.Dir, 0o755); err != nil {
		return nil, err
	}
	g, err := faults.Run(ctx, o)
	return []report.Group{g}, err
}

// onModel is a measurement on the model engine.
func onModel(measure func(context.Context, model.Options) (report.Group, error)) func(context.Context, config, string, log.Logger) ([]report.Group, error) {
	return func(ctx context.Context, cfg config, _ string, logger log.Logger) ([]report.Group, error) {
		o := model.Options{
			Worlds: 40, Warmup: 48 * time.Second, Window: 80 * time.Second,
			Fleets: []int{1, 10, 100}, FleetWindow: 64 * time.Second,
			Patients: 16, Divergences: 3, Watch: 12 * time.Second,
			Payloads: 10_000, Rounds: 7, FloodWorlds: 3, Log: logger, Say: say,
		}
		if cfg.short {
			o.Worlds, o.Warmup, o.Window = 2, time.Second, 4*time.Second
			o.Fleets, o.FleetWindow = []int{1, 3}, 4*time.Second
			o.Patients, o.Divergences, o.Watch = 1, 1, 5*time.Second
			o.Payloads, o.Rounds, o.FloodWorlds = 1000, 1, 1
		}
		g, err := measure(ctx, o)
		return []report.Group{g}, err
	}
}

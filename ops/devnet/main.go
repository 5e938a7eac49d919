// Devnet runs an OP Stack in one process and op-node beside it, following: L1 with fake proof of stake, sequencer,
// batcher and a deriving source inside, each follower as the real op-node program with the flags an operator types.
//
// It shows what every node considers unsafe, safe and finalized. With --check it ends by itself, with status 0 once
// the followers have mirrored the source for a while and 1 otherwise.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/lightcl/op-node/ops/devnet/faultproxy"
	"github.com/lightcl/op-node/ops/devnet/screen"
	"github.com/lightcl/op-node/ops/devnet/stack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for an orderly end; a second one ends the program at once, and the kernel the children.
	context.AfterFunc(ctx, stop)
	if err := newApp().RunContext(ctx, os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "devnet:", err)
		os.Exit(1)
	}
}

func newApp() *cli.App {
	defaults := stack.DefaultOptions()
	return &cli.App{
		Name:            "devnet",
		Usage:           "an OP Stack in one process, followed by op-node",
		HideHelpCommand: true,
		// A comma in a flag for the followers is the follower's.
		DisableSliceFlagSeparator: true,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "op-node", Value: "bin/op-node", Usage: "the op-node `PROGRAM` to run as follower"},
			&cli.BoolFlag{Name: "check", Usage: "end by itself: status 0 once every label has been mirrored and stayed so, else 1"},
			&cli.DurationFlag{Name: "settle", Value: 10 * time.Second, Usage: "with --check: how long everything must stay mirrored"},
			&cli.DurationFlag{Name: "timeout", Value: 2 * time.Minute, Usage: "with --check: give up after this `TIME`"},
			&cli.DurationFlag{Name: "duration", Usage: "without --check: end after this `TIME`; 0 is at Ctrl-C"},
			&cli.IntFlag{Name: "followers", Value: 1, Usage: "`NUMBER` of op-nodes that follow the source"},
			&cli.StringSliceFlag{Name: "beside", Usage: "one more follower, for comparison, that runs this op-node `PROGRAM`, such as upstream's or upstream's with the series of patches/; repeatable"},
			&cli.IntFlag{Name: "sources", Value: 1, Usage: "`NUMBER` of sources that each op-node is given; they lead to the one node"},
			&cli.IntFlag{Name: "quorum", Value: 1, Usage: "how many sources have to agree"},
			&cli.StringFlag{Name: "fault", Usage: "what the first source does wrong: " + strings.Join(append(faultproxy.Names(), cycle), ", ")},
			&cli.DurationFlag{Name: "fault-after", Value: 10 * time.Second, Usage: "when it begins to"},
			&cli.StringFlag{Name: "sequencer", Value: "full", Usage: "who makes the blocks: full, a node inside that derives, or light, an op-node that follows the source"},
			&cli.IntFlag{Name: "standby", Usage: "with --sequencer=light: `NUMBER` of light sequencers that wait for admin_startSequencer"},
			&cli.BoolFlag{Name: "deriving-follower", Usage: "add an op-node without a source, deriving from L1, for comparison"},
			&cli.BoolFlag{Name: "p2p", Value: defaults.P2P, Usage: "gossip between the nodes; without it labels drive the unsafe head"},
			&cli.BoolFlag{Name: "devp2p", Value: defaults.DevP2P, Usage: "devp2p between the op-geths; always on without --p2p"},
			&cli.StringFlag{Name: "da", Value: string(defaults.DA), Usage: "where batches go: calldata or blobs"},
			&cli.BoolFlag{Name: "batcher", Value: defaults.Batcher, Usage: "post batches; without it nothing becomes safe"},
			&cli.StringFlag{Name: "batcher-reads", Value: readsSequencer, Usage: "`NODE` the batcher asks what to post: sequencer, or follower for the first of them"},
			&cli.DurationFlag{Name: "l1-block-time", Value: defaults.L1BlockTime, Usage: "whole seconds"},
			&cli.DurationFlag{Name: "l2-block-time", Value: defaults.L2BlockTime, Usage: "whole seconds"},
			&cli.Uint64Flag{Name: "finalized-distance", Value: defaults.FinalizedDistance, Usage: "L1 `BLOCKS` from head to finality"},
			&cli.StringSliceFlag{Name: "follower-flag", Usage: "one more `FLAG` for every op-node, such as --log.level=debug; repeatable"},
			&cli.StringFlag{Name: "expose", Usage: "serve L1 (8545, ws 8546), the source (9545) and the engines (8551 and up) on this `ADDRESS`, for op-nodes that run elsewhere"},
			&cli.IntFlag{Name: "engines", Usage: "with --expose: `NUMBER` of op-geths for them"},
			&cli.StringFlag{Name: "files", Usage: "with --expose: `FOLDER` for the JWT secret and the configs that they need"},
			&cli.BoolFlag{Name: "metrics", Usage: "have every op-node serve metrics on a free port"},
			&cli.StringFlag{Name: "dir", Usage: "keep logs and config files in this `DIRECTORY`; by default they are deleted at the end"},
		},
		Action: func(c *cli.Context) error {
			cfg, err := readConfig(c)
			if err != nil {
				return err
			}
			return run(c.Context, cfg, display(os.Stdout))
		},
	}
}

// Whom the batcher reads.
const (
	readsSequencer = "sequencer"
	readsFollower  = "follower"
)

// config is what the flags say.
type config struct {
	stack     stack.Options // without Dir and Log
	binary    string
	beside    []string
	followers int
	sourcing  sourcing
	deriving  bool
	extra     []string
	metrics   bool
	exposure  exposure
	// batchFollower has the batcher read the first follower; stack.Batcher is off then.
	batchFollower bool
	dir           string

	check            bool
	settle, deadline time.Duration
	duration         time.Duration
}

func readConfig(c *cli.Context) (config, error) {
	if c.Args().Present() {
		return config{}, fmt.Errorf("unexpected argument %q: every option is a flag", c.Args().First())
	}
	o := stack.DefaultOptions()
	o.L1BlockTime = c.Duration("l1-block-time")
	o.L2BlockTime = c.Duration("l2-block-time")
	o.FinalizedDistance = c.Uint64("finalized-distance")
	o.DA = stack.DA(strings.ToLower(c.String("da")))
	o.Batcher = c.Bool("batcher")
	o.P2P = c.Bool("p2p")
	o.DevP2P = c.Bool("devp2p") || !o.P2P
	switch who := c.String("sequencer"); who {
	case "full":
	case "light":
		o.Light, o.Standby = c.String("op-node"), c.Int("standby")
	default:
		return config{}, fmt.Errorf("--sequencer=%s: give full or light", who)
	}
	cfg := config{
		stack: o, binary: c.String("op-node"), followers: c.Int("followers"), deriving: c.Bool("deriving-follower"),
		beside: c.StringSlice("beside"), extra: c.StringSlice("follower-flag"), metrics: c.Bool("metrics"), dir: c.String("dir"),
		sourcing: sourcing{count: c.Int("sources"), quorum: c.Int("quorum"), fault: c.String("fault"), after: c.Duration("fault-after")},
		exposure: exposure{host: c.String("expose"), engines: c.Int("engines"), files: c.String("files")},
		check:    c.Bool("check"), settle: c.Duration("settle"), deadline: c.Duration("timeout"), duration: c.Duration("duration"),
	}
	reads := c.String("batcher-reads")
	cfg.batchFollower = o.Batcher && reads == readsFollower
	switch {
	case reads != readsSequencer && reads != readsFollower:
		return config{}, fmt.Errorf("--batcher-reads=%s: want %s or %s", reads, readsSequencer, readsFollower)
	case cfg.batchFollower && cfg.followers == 0:
		return config{}, fmt.Errorf("--batcher-reads=%s with --followers=0: there is none", reads)
	case cfg.followers < 0:
		return config{}, fmt.Errorf("--followers=%d: give 0 or more", cfg.followers)
	case len(cfg.beside) > 0 && (cfg.sourcing.count > 1 || cfg.sourcing.fault == cycle):
		return config{}, fmt.Errorf("--beside with more than one source: upstream's program knows one")
	case cfg.check && cfg.followers == 0:
		return config{}, fmt.Errorf("--check with --followers=0: there is nothing to check")
	case cfg.check && !o.Batcher:
		return config{}, fmt.Errorf("--check with --batcher=false: nothing would ever become safe")
	case cfg.check && cfg.deadline <= cfg.settle:
		return config{}, fmt.Errorf("--timeout=%s must be longer than --settle=%s", cfg.deadline, cfg.settle)
	}
	cfg.stack.Batcher = o.Batcher && !cfg.batchFollower
	return cfg, errors.Join(cfg.sourcing.check(cfg.followers), cfg.exposure.check())
}

// display is a table for a terminal and lines for anything else.
func display(out *os.File) screen.Display {
	fd := int(out.Fd())
	if !term.IsTerminal(fd) {
		return screen.NewLines(out)
	}
	return screen.NewTerminal(out, func() int {
		width, _, err := term.GetSize(fd)
		if err != nil {
			return 0
		}
		return width
	})
}

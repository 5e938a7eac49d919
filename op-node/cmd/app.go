package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/log"
	"github.com/urfave/cli/v2"

	"github.com/ethereum-optimism/optimism/op-node/cmd/genesis"
	"github.com/ethereum-optimism/optimism/op-node/cmd/p2p"
	"github.com/ethereum-optimism/optimism/op-node/version"
	opservice "github.com/ethereum-optimism/optimism/op-service"
	"github.com/ethereum-optimism/optimism/op-service/cliapp"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	oplog "github.com/ethereum-optimism/optimism/op-service/log"
	"github.com/ethereum-optimism/optimism/op-service/metrics/doc"

	"github.com/lightcl/op-node/op-node/chaincfg"
	"github.com/lightcl/op-node/op-node/flags"
	"github.com/lightcl/op-node/op-node/metrics"
	"github.com/lightcl/op-node/op-node/node"
	"github.com/lightcl/op-node/op-service/printable"
	"github.com/lightcl/op-node/op-service/secret"
)

// newApp returns the command line program. It is good for one run.
func newApp() *cli.App {
	set := flags.New()
	app := cli.NewApp()
	app.Name = "op-node"
	app.Usage = "Rollup node of the OP Stack"
	app.Description = "Drives an L2 execution client: derives the chain from L1, or follows a node that does. Can sequence."
	app.Version = opservice.FormatVersion(version.Version, GitCommit, GitDate, version.Meta)
	app.Flags = set.Flags
	app.EnableBashCompletion = true
	app.Action = cliapp.LifecycleCmd(func(ctx *cli.Context, closeApp context.CancelCauseFunc) (cliapp.Lifecycle, error) {
		return newNode(ctx, set, closeApp)
	})
	app.Commands = []*cli.Command{
		{Name: "p2p", Usage: "Keys and ids of peers", Subcommands: p2p.Subcommands},
		{Name: "genesis", Usage: "Genesis files and rollup configs", Subcommands: genesis.Subcommands},
		{Name: "doc", Usage: "Documentation made by the program", Subcommands: append(doc.NewSubcommands(metrics.New()), man())},
		{Name: "networks", Usage: "Chains that are known by name", Subcommands: []*cli.Command{dumpRollupConfig()}},
		completion(),
	}
	return app
}

// newNode makes the node that the flags describe, ready to be started.
func newNode(ctx *cli.Context, set *flags.Set, closeApp context.CancelCauseFunc) (cliapp.Lifecycle, error) {
	logCfg := oplog.ReadCLIConfig(ctx)
	logger := log.NewLogger(printable.Handler(oplog.NewLogger(oplog.AppOut(ctx), logCfg).Handler()))
	oplog.SetGlobalLogHandler(logger.Handler())
	opservice.ValidateEnvVars(flags.EnvPrefix, set.Flags, logger)
	opservice.WarnOnDeprecatedFlags(ctx, set.Deprecated, logger)

	cfg, err := set.Read(ctx, logger)
	if err != nil {
		return nil, fmt.Errorf("unable to create the rollup node config: %w", err)
	}
	oplog.SetGlobalLogHandler(secret.New(cfg.Secrets()...).Handler(logger.Handler())) // what libraries log, and the last error
	if logCfg.Format == oplog.FormatTerminal {
		logger.Info("rollup config:\n" + cfg.Chain.Rollup.Description(chaincfg.DisplayNames()))
	} else {
		cfg.Chain.Rollup.LogDescription(logger, chaincfg.DisplayNames())
	}
	n, err := node.New(ctx.Context, cfg, logger, version.Version, metrics.New(), clock.SystemClock)
	if err != nil {
		return nil, fmt.Errorf("unable to create the rollup node: %w", err)
	}
	go func() {
		select {
		case err := <-n.Critical():
			closeApp(err)
		case <-ctx.Context.Done():
		}
	}()
	return n, nil
}

// dumpRollupConfig is the command that prints the rollup config of a named chain.
func dumpRollupConfig() *cli.Command {
	network := &cli.StringFlag{Name: "network", EnvVars: []string{flags.EnvPrefix + "_NETWORK"}, Usage: "Chain by registry name or chain id."}
	return &cli.Command{
		Name:  "dump-rollup-config",
		Usage: "Prints the rollup config of a chain as JSON",
		Flags: []cli.Flag{network},
		Action: func(ctx *cli.Context) error {
			name := ctx.String(network.Name)
			if name == "" {
				return errors.New("must specify a network name: set --network")
			}
			cfg, err := chaincfg.RollupConfig(name)
			if err != nil {
				return err
			}
			encoder := json.NewEncoder(ctx.App.Writer)
			encoder.SetIndent("", "  ")
			return encoder.Encode(cfg)
		},
	}
}

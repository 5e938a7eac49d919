// Command op-node is a rollup node of the OP Stack. With --l2.follow.source it follows another node instead of deriving the chain.
package main

import (
	"context"
	"os"

	"github.com/ethereum/go-ethereum/log"
	"github.com/urfave/cli/v2"

	"github.com/ethereum-optimism/optimism/op-service/ctxinterrupt"
	oplog "github.com/ethereum-optimism/optimism/op-service/log"

	"github.com/lightcl/op-node/op-node/flags"
)

// Stamped by the linker.
var (
	// GitCommit is the hash of the commit that the program was built from.
	GitCommit = ""
	// GitDate is the time of that commit, in seconds since 1970.
	GitDate = ""
)

func main() {
	// Until the flags are read, the defaults have to do: the reason why they cannot be read is logged too.
	oplog.SetupDefaults()
	for _, flag := range []cli.Flag{cli.HelpFlag, cli.VersionFlag} {
		flag.(*cli.BoolFlag).Category = flags.CategoryMisc
	}
	ctx := ctxinterrupt.WithSignalWaiterMain(context.Background())
	if err := newApp().RunContext(ctx, os.Args); err != nil {
		log.Crit("Application failed", "message", err)
	}
}

package node

import (
	"context"
	"fmt"

	gethnode "github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/ethereum-optimism/optimism/op-node/rollup/sync"
	"github.com/ethereum-optimism/optimism/op-service/client"
	"github.com/ethereum-optimism/optimism/op-service/sources"

	"github.com/lightcl/op-node/op-service/secret"
)

// connectEngine dials the engine API and checks that the execution layer is on the configured chain.
func (n *Node) connectEngine(ctx context.Context) (*sources.EngineClient, error) {
	c, chain := n.cfg.L2, n.cfg.Chain.Rollup
	conn, err := client.NewRPC(ctx, n.log, c.URL,
		client.WithDialAttempts(dialAttempts),
		client.WithCallTimeout(c.CallTimeout),
		client.WithGethRPCOptions(rpc.WithHTTPAuth(gethnode.NewJWTAuth(c.JWTSecret))),
		client.WithRPCRecorder(n.metrics.NewRecorder("engine-api")),
	)
	if err != nil {
		return nil, fmt.Errorf("failed to dial the engine API (--l2=%s): %w", secret.Shown(c.URL), err)
	}
	conn = hidingRPC{conn, n.hide}
	n.cleanups.addFunc("engine API connection", conn.Close)

	clientCfg := sources.EngineClientDefaultConfig(chain)
	clientCfg.FetchWithdrawalRootFromState = c.WithdrawalRootFromState
	engine, err := sources.NewEngineClient(conn, n.log, n.metrics.L2SourceCache, clientCfg)
	if err != nil {
		return nil, fmt.Errorf("failed to create Engine client: %w", err)
	}
	// An execution layer that is about to sync need not have the genesis block yet.
	if err := chain.ValidateL2Config(ctx, n.log, engine, n.cfg.Sync.Mode == sync.ELSync); err != nil {
		return nil, fmt.Errorf("--l2=%s is not on the chain of the rollup config, or refuses --l2.jwt-secret: %w", secret.Shown(c.URL), err)
	}
	return engine, nil
}

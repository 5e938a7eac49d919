package api

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/log"

	"github.com/ethereum-optimism/optimism/op-service/apis"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	oprpc "github.com/ethereum-optimism/optimism/op-service/rpc"
)

// Admin is the admin namespace. Its exported methods are the RPC methods; SetLogLevel comes with the embedded part.
type Admin struct {
	*oprpc.CommonAdminAPI
	driver control
}

var _ apis.OpnodeAdminServer = (*Admin)(nil)

// NewAdmin returns the admin namespace. The handler of the logger has to support a change of level for SetLogLevel to work.
func NewAdmin(driver control, log log.Logger) *Admin {
	return &Admin{CommonAdminAPI: oprpc.NewCommonAdminAPI(log), driver: driver}
}

// PostUnsafePayload serves admin_postUnsafePayload: an op-conductor brings a new leader up to date. The hash of the block is checked.
func (a *Admin) PostUnsafePayload(ctx context.Context, envelope *eth.ExecutionPayloadEnvelope) error {
	if envelope == nil || envelope.ExecutionPayload == nil {
		return errors.New("payload is missing")
	}
	if actual, ok := envelope.CheckBlockHash(); !ok {
		return fmt.Errorf("payload has bad block hash: %s, actual block hash is: %s", envelope.ExecutionPayload.BlockHash, actual)
	}
	a.driver.OnUnsafeL2Payload(ctx, envelope)
	return nil
}

// ResetDerivationPipeline serves admin_resetDerivationPipeline.
func (a *Admin) ResetDerivationPipeline(ctx context.Context) error {
	return a.driver.ResetDerivationPipeline(ctx)
}

// StartSequencer serves admin_startSequencer.
func (a *Admin) StartSequencer(ctx context.Context, head common.Hash) error {
	return a.driver.StartSequencer(ctx, head)
}

// StopSequencer serves admin_stopSequencer.
func (a *Admin) StopSequencer(ctx context.Context) (common.Hash, error) {
	return a.driver.StopSequencer(ctx)
}

// SequencerActive serves admin_sequencerActive.
func (a *Admin) SequencerActive(ctx context.Context) (bool, error) {
	return a.driver.SequencerActive(ctx)
}

// OverrideLeader serves admin_overrideLeader: sequence without asking the conductor, in a disaster.
func (a *Admin) OverrideLeader(ctx context.Context) error { return a.driver.OverrideLeader(ctx) }

// ConductorEnabled serves admin_conductorEnabled.
func (a *Admin) ConductorEnabled(ctx context.Context) (bool, error) {
	return a.driver.ConductorEnabled(ctx)
}

// SetRecoverMode serves admin_setRecoverMode.
func (a *Admin) SetRecoverMode(ctx context.Context, mode bool) error {
	return a.driver.SetRecoverMode(ctx, mode)
}

package node

import (
	"context"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"

	altda "github.com/ethereum-optimism/optimism/op-alt-da"
	"github.com/ethereum-optimism/optimism/op-node/p2p"
	"github.com/ethereum-optimism/optimism/op-service/apis"
	"github.com/ethereum-optimism/optimism/op-service/client"
	"github.com/ethereum-optimism/optimism/op-service/eth"

	"github.com/lightcl/op-node/op-service/secret"
)

// The clients of libraries put the URL that they were given into their errors, and what the other side answers, which may be what
// they sent. From there it would go into logs and to clients of the RPC. What follows stands around them and hides it.

// hidingRPC is a JSON-RPC connection.
type hidingRPC struct {
	client.RPC
	hide *secret.Hider
}

// CallContext implements client.RPC.
func (c hidingRPC) CallContext(ctx context.Context, result any, method string, args ...any) error {
	return c.hide.Error(c.RPC.CallContext(ctx, result, method, args...))
}

// BatchCallContext implements client.RPC.
func (c hidingRPC) BatchCallContext(ctx context.Context, batch []rpc.BatchElem) error {
	err := c.RPC.BatchCallContext(ctx, batch)
	for i := range batch {
		batch[i].Error = c.hide.Error(batch[i].Error)
	}
	return c.hide.Error(err)
}

// Subscribe implements client.RPC.
func (c hidingRPC) Subscribe(ctx context.Context, namespace string, channel any, args ...any) (ethereum.Subscription, error) {
	sub, err := c.RPC.Subscribe(ctx, namespace, channel, args...)
	return sub, c.hide.Error(err)
}

// hidingBeacon is a beacon API.
type hidingBeacon struct {
	apis.BeaconClient
	hide *secret.Hider
}

// ConfigSpec implements apis.BeaconClient.
func (c hidingBeacon) ConfigSpec(ctx context.Context) (eth.APIConfigResponse, error) {
	answer, err := c.BeaconClient.ConfigSpec(ctx)
	return answer, c.hide.Error(err)
}

// BeaconGenesis implements apis.BeaconClient.
func (c hidingBeacon) BeaconGenesis(ctx context.Context) (eth.APIGenesisResponse, error) {
	answer, err := c.BeaconClient.BeaconGenesis(ctx)
	return answer, c.hide.Error(err)
}

// BeaconBlobs implements apis.BeaconClient.
func (c hidingBeacon) BeaconBlobs(ctx context.Context, slot uint64, hashes []common.Hash) (eth.APIBeaconBlobsResponse, error) {
	answer, err := c.BeaconClient.BeaconBlobs(ctx, slot, hashes)
	return answer, c.hide.Error(err)
}

// hidingSigner is a remote signer.
type hidingSigner struct {
	p2p.Signer
	hide *secret.Hider
}

// SignBlockV1 implements p2p.Signer.
func (s hidingSigner) SignBlockV1(ctx context.Context, chain eth.ChainID, payload common.Hash) (eth.Bytes65, error) {
	signature, err := s.Signer.SignBlockV1(ctx, chain, payload)
	return signature, s.hide.Error(err)
}

// hidingStorage is an alt-DA server.
type hidingStorage struct {
	altda.DAStorage
	hide *secret.Hider
}

// GetInput implements altda.DAStorage.
func (s hidingStorage) GetInput(ctx context.Context, key altda.CommitmentData) ([]byte, error) {
	data, err := s.DAStorage.GetInput(ctx, key)
	return data, s.hide.Error(err)
}

// SetInput implements altda.DAStorage.
func (s hidingStorage) SetInput(ctx context.Context, data []byte) (altda.CommitmentData, error) {
	key, err := s.DAStorage.SetInput(ctx, data)
	return key, s.hide.Error(err)
}

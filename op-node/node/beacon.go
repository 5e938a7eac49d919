package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum-optimism/optimism/op-service/apis"
	"github.com/ethereum-optimism/optimism/op-service/client"
	"github.com/ethereum-optimism/optimism/op-service/retry"
	"github.com/ethereum-optimism/optimism/op-service/sources"

	"github.com/lightcl/op-node/op-service/secret"
)

const (
	beaconAttempts = 5
	beaconTimeout  = 10 * time.Second
)

// connectBeacon returns the source of blobs, nil for a chain that has none, after a check that it answers.
func (n *Node) connectBeacon(ctx context.Context) (*sources.L1BeaconClient, error) {
	if n.cfg.Chain.Rollup.EcotoneTime == nil {
		return nil, nil
	}
	c := n.cfg.Beacon
	var options []sources.BeaconHTTPClientOption
	if c.SlotDuration != 0 {
		options = append(options, sources.WithSlotDurationOverride(c.SlotDuration))
	}
	var headers []client.BasicHTTPClientOption
	if c.Header != nil {
		headers = append(headers, client.WithHeader(c.Header))
	}
	main := hidingBeacon{sources.NewBeaconHTTPClient(client.NewBasicHTTPClient(c.URL, n.log, headers...), options...), n.hide}
	var fallbacks []apis.BeaconClient
	for _, url := range c.Fallbacks {
		fallback := sources.NewBeaconHTTPClient(client.NewBasicHTTPClient(url, n.log), options...)
		fallbacks = append(fallbacks, hidingBeacon{fallback, n.hide})
	}
	beacon := sources.NewL1BeaconClient(main, sources.L1BeaconClientConfig{FetchAllSidecars: c.FetchAllSidecars}, fallbacks...)

	err := n.checkBeacon(ctx, main)
	switch {
	case err == nil:
		n.log.Info("Connected to L1 Beacon API, ready for EIP-4844 blobs retrieval.")
	case c.IgnoreCheck && ctx.Err() == nil:
		n.log.Warn("The L1 beacon API does not answer, which is ignored as configured: blobs may not be found", "err", err)
	default:
		return nil, err
	}
	return beacon, nil
}

// checkBeacon asks for something that every beacon API has.
func (n *Node) checkBeacon(ctx context.Context, beacon apis.BeaconClient) error {
	missing := false
	err := retry.Do0(ctx, beaconAttempts, retry.Exponential(), func() error {
		ctx, cancel := context.WithTimeout(ctx, beaconTimeout)
		defer cancel()
		_, err := beacon.BeaconGenesis(ctx)
		if missing = errors.Is(err, client.ErrNoEndpoint); missing {
			return nil // trying again does not help
		}
		return err
	})
	if missing {
		return errors.New("missing L1 Beacon API endpoint: set --l1.beacon, or --l1.beacon.ignore to start without one")
	}
	if err != nil {
		return fmt.Errorf("failed to connect to L1 Beacon API: --l1.beacon=%s does not answer (--l1.beacon.ignore starts without it): %w", secret.Shown(n.cfg.Beacon.URL), err)
	}
	return nil
}

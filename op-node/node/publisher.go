package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/log"

	"github.com/ethereum-optimism/optimism/op-node/p2p"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	opsigner "github.com/ethereum-optimism/optimism/op-service/signer"

	"github.com/lightcl/op-node/op-service/secret"
)

// gossipOut sends blocks to peers.
type gossipOut interface {
	SignAndPublishL2Payload(ctx context.Context, envelope *eth.ExecutionPayloadEnvelope, signer p2p.Signer) error
	PublishSignedL2Payload(ctx context.Context, signed *opsigner.SignedExecutionPayloadEnvelope) error
}

// publisher gives the blocks of the sequencer to the peers, while there are any. The driver has it before the peers exist. Safe for
// concurrent use.
type publisher struct {
	log    log.Logger
	signer p2p.Signer // nil: none configured
	out    atomic.Pointer[gossipOut]
}

// newPublisher sets up the signer that the configuration asks for.
func (n *Node) newPublisher() (*publisher, error) {
	p := &publisher{log: n.log}
	switch c := n.cfg.Signer; {
	case c.Key != "":
		key, err := crypto.HexToECDSA(strings.TrimPrefix(c.Key, "0x"))
		if err != nil {
			return nil, errors.New("failed to read sequencer p2p key: --p2p.sequencer.key: give 64 hex digits")
		}
		p.signer = opsigner.NewLocalSigner(key)
	case c.Remote.Enabled():
		signer, err := opsigner.NewRemoteSigner(n.log, c.Remote)
		if err != nil {
			return nil, fmt.Errorf("--signer.endpoint=%s: %w", secret.Shown(c.Remote.Endpoint), err)
		}
		p.signer = hidingSigner{signer, n.hide}
	default:
		return p, nil
	}
	n.cleanups.add("p2p signer", func(context.Context) error { return p.signer.Close() })
	return p, nil
}

// connect lets blocks through to the peers, until the returned function is called.
func (p *publisher) connect(out gossipOut) (disconnect func()) {
	p.out.Store(&out)
	return func() { p.out.Store(nil) }
}

// SignAndPublishL2Payload implements the network of upstream's driver. Without peers it does nothing.
func (p *publisher) SignAndPublishL2Payload(ctx context.Context, envelope *eth.ExecutionPayloadEnvelope) error {
	out := p.out.Load()
	if out == nil {
		return nil
	}
	if p.signer == nil {
		return fmt.Errorf("node has no p2p signer, payload %s cannot be published: set --p2p.sequencer.key or --signer.endpoint", envelope.ID())
	}
	p.log.Info("Publishing signed execution payload on p2p", "id", envelope.ID())
	return (*out).SignAndPublishL2Payload(ctx, envelope, p.signer)
}

// PublishBlock implements the publishing part of the opstack namespace.
func (p *publisher) PublishBlock(ctx context.Context, signed *opsigner.SignedExecutionPayloadEnvelope) error {
	out := p.out.Load()
	if out == nil {
		return errors.New("P2P not enabled")
	}
	p.log.Info("Publishing signed execution payload on p2p", "id", signed.ID())
	return (*out).PublishSignedL2Payload(ctx, signed)
}

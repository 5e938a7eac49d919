//go:build !race

package e2e

import (
	"context"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/ops/devnet/mirror"
	"github.com/lightcl/op-node/ops/devnet/stack"
)

// The devnet itself, without any op-node process: a second deriving node agrees with the source.
func TestVerifierAgreesWithSource(t *testing.T) {
	for _, da := range []stack.DA{stack.Calldata, stack.Blobs} {
		t.Run(string(da), func(t *testing.T) {
			t.Parallel()
			s := startStack(t, func(o *stack.Options) { o.DA = da })
			verifier, err := s.AddVerifier(t.Context(), "verifier")
			require.NoError(t, err)
			waitFor(t, finalTimeout, "verifier and source final", func() bool {
				return heads(t, verifier)[mirror.Finalized].Number > 2 && heads(t, s.Source())[mirror.Finalized].Number > 2
			})
			for n := uint64(1); n <= heads(t, verifier)[mirror.Finalized].Number; n++ {
				want, ok := s.Sequencer().EL().Canonical(n)
				require.True(t, ok)
				got, _ := verifier.EL().Canonical(n)
				require.Equal(t, want, got)
			}
			select {
			case err := <-s.Failed():
				require.NoError(t, err)
			default:
			}
		})
	}
}

func TestL1ReorgIsFollowedByAll(t *testing.T) {
	t.Parallel()
	s := startStack(t, func(o *stack.Options) { o.FinalizedDistance = 8 })
	waitFor(t, safeTimeout, "safe and a few L1 blocks", func() bool {
		return heads(t, s.Source())[mirror.Safe].Number > 3 && s.L1().Head().Number > 5
	})
	ancestor, abandoned, err := s.L1().Reorg(3)
	require.NoError(t, err)
	require.Equal(t, abandoned.Number-3, ancestor.Number)
	before := heads(t, s.Source())[mirror.Safe].Number
	waitFor(t, safeTimeout, "safe goes on past the reorg", func() bool {
		source := heads(t, s.Source())
		return s.L1().Head().Number > abandoned.Number && source[mirror.Safe].Number > before+2 &&
			source[mirror.CurrentL1].Number > abandoned.Number
	})
	safe := heads(t, s.Source())[mirror.Safe]
	waitFor(t, safeTimeout, "the sequencer has the source's safe block", func() bool {
		block, ok := s.Sequencer().EL().Canonical(safe.Number)
		return ok && block.Hash == safe.Hash
	})

	_, _, err = s.L1().Reorg(100)
	require.ErrorContains(t, err, "would cross finalized")
	head := s.L1().Head().Number
	waitFor(t, 20*time.Second, "L1 goes on after a refused reorg", func() bool { return s.L1().Head().Number > head })
}

func TestPausedL1StopsL1Only(t *testing.T) {
	t.Parallel()
	s := startStack(t, nil)
	waitFor(t, safeTimeout, "L1 has begun", func() bool { return s.L1().Head().Number > 1 })
	require.NoError(t, s.L1().Pause())
	require.NoError(t, s.L1().Pause(), "it is paused already")
	head, unsafe := s.L1().Head(), heads(t, s.Sequencer())[mirror.Unsafe].Number
	waitFor(t, 20*time.Second, "L2 goes on", func() bool { return heads(t, s.Sequencer())[mirror.Unsafe].Number > unsafe+4 })
	require.Equal(t, head, s.L1().Head())
	_, _, err := s.L1().Reorg(1)
	require.NoError(t, err)
	require.Less(t, s.L1().Head().Number, head.Number, "the other fork waits")
	require.NoError(t, s.L1().Resume())
	waitFor(t, 20*time.Second, "L1 goes on", func() bool { return s.L1().Head().Number > head.Number })
}

func TestCloseFreesEveryPort(t *testing.T) {
	t.Parallel()
	s := startStack(t, nil)
	f := startFollower(t, s, stack.FollowerSpec{Name: "follower"})
	var open []string
	for _, endpoint := range []string{
		s.L1().HTTP(), s.L1().WS(), s.L1().Beacon(), s.Sequencer().RPC(), s.Source().RPC(), f.RPC(),
		s.Source().EL().HTTP(), f.EL().AuthHTTP(), f.EL().WS(),
	} {
		u, err := url.Parse(endpoint)
		require.NoError(t, err)
		require.True(t, listens(u.Host), endpoint)
		open = append(open, u.Host)
	}
	require.NoError(t, s.Close())
	for _, host := range open {
		require.False(t, listens(host), host)
	}
	require.NoError(t, s.Close(), "a second Close finds nothing to do")
}

func listens(host string) bool {
	conn, err := net.DialTimeout("tcp", host, time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

func TestStartThatFailsRollsBack(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := stack.DefaultOptions()
	o.Dir = t.TempDir()
	_, err := stack.Start(ctx, o)
	require.ErrorIs(t, err, context.Canceled)

	o.DA = "pigeon"
	_, err = stack.Start(t.Context(), o)
	require.ErrorContains(t, err, `data availability "pigeon"`)
}

func TestFollowerThatCannotStart(t *testing.T) {
	t.Parallel()
	s := startStack(t, nil)
	_, err := s.AddFollower(t.Context(), stack.FollowerSpec{
		Name: "follower", Binary: binary, Extra: []string{"--rollup.config=/nowhere/rollup.json"},
	})
	require.ErrorContains(t, err, "exit status 1")
	require.ErrorContains(t, err, "/nowhere/rollup.json")
	require.ErrorContains(t, err, "started with:")
}

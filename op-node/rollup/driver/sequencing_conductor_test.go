package driver_test

import (
	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/op-node/testutil"
)

// requireCommittedFirst checks that nothing was published, or became the head, that the conductor had not taken.
func (s *stage) requireCommittedFirst(c *testutil.Conductor) {
	s.t.Helper()
	for _, b := range s.net.since(s.start) {
		at, ok := c.CommittedAt(b.ref.Hash)
		require.True(s.t, ok, "block %s was published and not committed", b.ref)
		require.False(s.t, at.After(b.at))
	}
}

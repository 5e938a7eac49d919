package node

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	ds "github.com/ipfs/go-datastore"
	leveldb "github.com/ipfs/go-ds-leveldb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
)

// requireKeyless shows that the private key is in none of the files below a directory, and that they are the owner's alone.
func requireKeyless(t *testing.T, dir string, raw []byte) {
	require.NoError(t, filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := entry.Info()
		require.NoError(t, err)
		if entry.IsDir() {
			require.Equal(t, fs.FileMode(0o700), info.Mode().Perm(), name)
			return nil
		}
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		require.False(t, bytes.Contains(data, raw), "the private key is in %s", name)
		return nil
	}))
}

// TestPeerstoreHoldsNoKey: not after a run of the node, and not any more where an earlier version stored one.
func TestPeerstoreHoldsNoKey(t *testing.T) {
	before := syscall.Umask(0)
	defer syscall.Umask(before)
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "peers")
	w.cfg.P2P.Peers.StorePath = path
	raw, err := w.cfg.P2P.Identity.Raw()
	require.NoError(t, err)
	for range 2 {
		n := w.start(t, new(logBook))
		require.NoError(t, n.Stop(t.Context()))
		requireKeyless(t, path, raw)
	}

	old, err := leveldb.NewDatastore(path, nil)
	require.NoError(t, err)
	id, err := peer.IDFromPrivateKey(w.cfg.P2P.Identity)
	require.NoError(t, err)
	stored, err := crypto.MarshalPrivateKey(w.cfg.P2P.Identity)
	require.NoError(t, err)
	key := ds.NewKey(peerKeys).ChildString(id.String()).ChildString("priv")
	require.NoError(t, old.Put(t.Context(), key, stored))
	require.NoError(t, old.Put(t.Context(), ds.NewKey("/peers/keys/x/pub"), []byte("public")))
	require.NoError(t, old.Close())

	store, err := openPeerstore(path)
	require.NoError(t, err)
	has, err := store.Has(t.Context(), key)
	require.NoError(t, err)
	require.False(t, has)
	public, err := store.Get(t.Context(), ds.NewKey("/peers/keys/x/pub"))
	require.NoError(t, err)
	require.Equal(t, "public", string(public))
	require.NoError(t, store.Put(t.Context(), key, stored))
	got, err := store.Get(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, stored, got, "as long as the node runs")
	size, err := store.GetSize(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, len(stored), size)
	require.NoError(t, store.Delete(t.Context(), key))
	require.NoError(t, store.Close())
	requireKeyless(t, path, raw)
	require.NoError(t, restrict(path))
	entries, err := os.ReadDir(path)
	require.NoError(t, err)
	for _, entry := range entries {
		info, err := entry.Info()
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), "what is there already is the owner's alone")
	}
}

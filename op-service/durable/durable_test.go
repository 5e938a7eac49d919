package durable

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWhateverTheUmask is not parallel: the umask is the process's.
func TestWhateverTheUmask(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077, 0o777} {
		dir := t.TempDir()
		path := filepath.Join(dir, "key")
		before := syscall.Umask(umask)
		created := Create(path, []byte("one"), 0o600)
		again := Create(path, []byte("two"), 0o600)
		replaced := Replace(filepath.Join(dir, "state"), []byte("three"), 0o644)
		syscall.Umask(before)
		require.NoError(t, created)
		require.ErrorIs(t, again, fs.ErrExist)
		require.NoError(t, replaced)
		requireFile(t, path, "one", 0o600)
		requireFile(t, filepath.Join(dir, "state"), "three", 0o644)
		require.NoError(t, Replace(path, []byte("four"), 0o600))
		requireFile(t, path, "four", 0o600)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, 2, "nothing else is left behind")
	}
}

func requireFile(t *testing.T, path, want string, mode fs.FileMode) {
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, mode, info.Mode().Perm(), path)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, string(data))
}

func TestNoDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "file")
	require.ErrorIs(t, Create(path, nil, 0o600), fs.ErrNotExist)
	require.ErrorIs(t, Replace(path, nil, 0o600), fs.ErrNotExist)
}

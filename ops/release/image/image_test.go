package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"testing"
	"time"

	"github.com/blakesmith/ar"
	"github.com/stretchr/testify/require"
)

// deb is a Debian package with these files.
func deb(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var data, out bytes.Buffer
	zipped := gzip.NewWriter(&data)
	archive := tar.NewWriter(zipped)
	for name, content := range files {
		require.NoError(t, archive.WriteHeader(&tar.Header{Name: "./" + name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}))
		_, err := archive.Write([]byte(content))
		require.NoError(t, err)
	}
	require.NoError(t, archive.Close())
	require.NoError(t, zipped.Close())
	w := ar.NewWriter(&out)
	require.NoError(t, w.WriteGlobalHeader())
	for name, content := range map[string][]byte{"data.tar.gz": data.Bytes()} {
		require.NoError(t, w.WriteHeader(&ar.Header{Name: name, Size: int64(len(content)), ModTime: time.Unix(0, 0)}))
		_, err := w.Write(content)
		require.NoError(t, err)
	}
	return out.Bytes()
}

func TestImage(t *testing.T) {
	debs := [][]byte{
		deb(t, map[string]string{"bin/busybox": "shell"}),
		deb(t, map[string]string{"usr/share/ca-certificates/mozilla/B.crt": "two\n", "usr/share/ca-certificates/mozilla/A.crt": "one"}),
	}
	build := Build{
		Architecture: "arm64", Programs: map[string][]byte{"op-node": []byte("program")}, Command: "op-node",
		Version: "v1", Commit: "abc", Time: time.Unix(1700000000, 0), Home: "https://example.org",
	}
	image, err := New(build, debs)
	require.NoError(t, err)
	again, err := New(build, debs)
	require.NoError(t, err)
	first, err := image.Digest()
	require.NoError(t, err)
	second, err := again.Digest()
	require.NoError(t, err)
	require.Equal(t, first, second, "equal arguments make equal images")

	config, err := image.ConfigFile()
	require.NoError(t, err)
	require.Equal(t, []string{"op-node"}, config.Config.Cmd)
	require.Empty(t, config.Config.Entrypoint)
	require.Equal(t, "arm64", config.Architecture)

	found := map[string]*tar.Header{}
	layers, err := image.Layers()
	require.NoError(t, err)
	for _, layer := range layers {
		r, err := layer.Uncompressed()
		require.NoError(t, err)
		for archive := tar.NewReader(r); ; {
			header, err := archive.Next()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			require.Zero(t, header.Uid+header.Gid)
			require.Equal(t, build.Time.Unix(), header.ModTime.Unix())
			found[header.Name] = header
			if header.Name == bundle {
				text, err := io.ReadAll(archive)
				require.NoError(t, err)
				require.Equal(t, "one\ntwo\n", string(text))
			}
		}
	}
	require.EqualValues(t, 0o1777, found["tmp/"].Mode)
	require.EqualValues(t, 0o755, found["usr/local/bin/op-node"].Mode)
	require.Equal(t, "busybox", found["bin/sh"].Linkname)
	require.Equal(t, "busybox", found["bin/wget"].Linkname)

	_, err = New(build, debs[:1])
	require.ErrorContains(t, err, "0 certificates")
	_, err = New(build, [][]byte{[]byte("not a package")})
	require.ErrorContains(t, err, "not a Debian package")
}

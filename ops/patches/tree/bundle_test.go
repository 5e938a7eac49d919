package tree

import (
	"archive/zip"
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStrip(t *testing.T) {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	files := map[string]string{
		"configs/x.toml": "name = \"x\"\nsuperchain_level = 1\n  protocol_versions_addr = \"0x1\"\nblock_time = 2\n",
		"dictionary":     "superchain_level = 1\n",
	}
	for name, text := range files {
		f, err := w.Create(name)
		require.NoError(t, err)
		_, err = f.Write([]byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())

	data, err := strip(buf.Bytes())
	require.NoError(t, err)

	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	require.Len(t, r.File, 2)
	files["configs/x.toml"] = "name = \"x\"\nblock_time = 2\n"
	for _, f := range r.File {
		text, err := read(f)
		require.NoError(t, err)
		require.Equal(t, files[f.Name], string(text))
	}
	_, err = strip([]byte("no archive"))
	require.Error(t, err)
}

package debian

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLocked(t *testing.T) {
	for _, architecture := range []string{"amd64", "arm64"} {
		packages, err := Locked(architecture)
		require.NoError(t, err)
		require.Len(t, packages, 2)
	}
	_, err := Locked("riscv64")
	require.ErrorContains(t, err, "riscv64")
}

func TestGet(t *testing.T) {
	requests, body := 0, "content"
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests++; r.URL.Path != "/debian/pool/x_1+b1.deb" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(body))
	}))
	defer mirror.Close()
	sum := sha256.Sum256([]byte(body))
	p := Package{Name: "x", Archive: "debian", Path: "pool/x_1+b1.deb", SHA256: hex.EncodeToString(sum[:])}
	source := Source{Mirror: mirror.URL, Cache: t.TempDir()}
	for range 2 {
		data, err := source.Get(t.Context(), p)
		require.NoError(t, err)
		require.Equal(t, body, string(data))
	}
	require.Equal(t, 1, requests, "the second time from the cache")

	body = "tampered"
	source.Cache = t.TempDir()
	_, err := source.Get(t.Context(), p)
	require.ErrorContains(t, err, "SHA-256")
	p.Path = "pool/gone.deb"
	_, err = source.Get(t.Context(), p)
	require.ErrorContains(t, err, "has it no more")
	_, err = Source{Cache: t.TempDir()}.Get(t.Context(), p)
	require.ErrorContains(t, err, "DEBIAN_MIRROR")
}

func TestParseIndex(t *testing.T) {
	packages := parseIndex("debian", "Package: a\nVersion: 1\nArchitecture: all\nFilename: pool/a.deb\nSHA256: ab\nDescription: x\n y\n\nPackage: b\n\n")
	require.Equal(t, []Package{{Name: "a", Version: "1", Architecture: "all", Archive: "debian", Path: "pool/a.deb", SHA256: "ab"}, {Name: "b", Archive: "debian"}}, packages)
}

package process

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var kept [][]byte

func TestOwnUsageGrows(t *testing.T) {
	before := Own()
	for Own().Minus(before).CPU < 30*time.Millisecond {
		kept = append(kept[:0], make([]byte, 1<<20))
	}
	used := Own().Minus(before)
	require.Positive(t, used.Objects)
	require.GreaterOrEqual(t, used.Bytes, uint64(1<<20))

	fromProc, err := CPU(os.Getpid())
	require.NoError(t, err)
	require.InDelta(t, Own().CPU.Seconds(), fromProc.Seconds(), 0.2)
}

func TestMemory(t *testing.T) {
	resident, anonymous, err := Memory(os.Getpid())
	require.NoError(t, err)
	require.Greater(t, resident, anonymous)
	require.Greater(t, anonymous, uint64(1<<20))
}

func TestOther(t *testing.T) {
	body := "# HELP x\ngo_memstats_alloc_bytes_total 1.5e+06\nother 1\ngo_memstats_mallocs_total 42\n"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
	defer server.Close()
	u, err := Other(t.Context(), os.Getpid(), server.URL)
	require.NoError(t, err)
	require.EqualValues(t, 42, u.Objects)
	require.EqualValues(t, 1_500_000, u.Bytes)
	require.Positive(t, u.CPU)

	body = "go_memstats_mallocs_total 42\n"
	_, err = Other(t.Context(), os.Getpid(), server.URL)
	require.ErrorContains(t, err, "go_memstats_alloc_bytes_total")
	const nobody = 1 << 30
	_, err = CPU(nobody)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, _, err = Memory(nobody)
	require.ErrorIs(t, err, os.ErrNotExist)
}

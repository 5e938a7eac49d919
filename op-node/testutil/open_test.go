package testutil

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// outcome is what the test around Open comes to.
func outcome(t *testing.T, body func(t testing.TB)) (said string, failed bool) {
	around := &recording{TB: t}
	Open(around, "X1", body)
	return around.result()
}

func TestOpen(t *testing.T) {
	for name, body := range map[string]func(t testing.TB){
		"error":      func(t testing.TB) { t.Error("it is wrong") },
		"fatal":      func(t testing.TB) { t.Fatalf("it is %s", "wrong"); t.Log("not reached") },
		"require":    func(t testing.TB) { require.True(t, false, "it is wrong"); t.Log("not reached") },
		"panic":      func(testing.TB) { panic("it is wrong") },
		"and passes": func(t testing.TB) { t.Errorf("it is wrong"); require.True(t, true) },
	} {
		t.Run(name, func(t *testing.T) {
			said, failed := outcome(t, body)
			require.False(t, failed)
			require.Contains(t, said, "defect X1 is open")
			require.Contains(t, said, "it is wrong")
			require.NotContains(t, said, "not reached")
		})
	}
	said, failed := outcome(t, func(testing.TB) {})
	require.True(t, failed)
	require.Contains(t, said, "defect X1 is mended: remove Open")
	said, failed = outcome(t, func(t testing.TB) { t.Skip() })
	require.True(t, failed)
	require.Contains(t, said, "skips")
}

func TestOpenInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said, failed := outcome(t, func(t testing.TB) {
			time.Sleep(time.Hour)
			t.Fatal("too late")
		})
		require.False(t, failed)
		require.Contains(t, said, "too late")
	})
}

package main

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCanaries: with a secret wherever one can be given, by flag or by variable, neither the help nor a start that fails shows one.
func TestCanaries(t *testing.T) {
	var raw [16]byte
	_, err := rand.Read(raw[:])
	require.NoError(t, err)
	token := hex.EncodeToString(raw[:])
	secrets := map[string]string{
		"l1=L1_ETH_RPC": "http://user:" + token + "@127.0.0.1:1/" + token, "l2=L2_ENGINE_RPC": "http://127.0.0.1:1/" + token,
		"l1.beacon=L1_BEACON": "http://127.0.0.1:1/?key=" + token, "l1.beacon-fallbacks=L1_BEACON_FALLBACKS": "http://127.0.0.1:1/" + token,
		"l1.beacon-header=L1_BEACON_HEADER": "X-Key: " + token, "l2.follow.source=L2_FOLLOW_SOURCE": "http://127.0.0.1:1/" + token + ",http://127.0.0.1:1/1" + token,
		"l2.follow.source.header=L2_FOLLOW_SOURCE_HEADER": "http://127.0.0.1:1/" + token + "|X-Key: " + token, "conductor.rpc=CONDUCTOR_RPC": "http://127.0.0.1:1/" + token,
		"p2p.sequencer.key=P2P_SEQUENCER_KEY": token + token, "p2p.priv.raw=P2P_PRIV_RAW": token + token,
		"signer.header=SIGNER_HEADER":     "k=" + token,
		"altda.da-server=ALTDA_DA_SERVER": "http://127.0.0.1:1/" + token,
	}
	var byVariable, byFlag []string
	for name, value := range secrets {
		flag, variable, _ := strings.Cut(name, "=")
		byVariable, byFlag = append(byVariable, "OP_NODE_"+variable+"="+value), append(byFlag, "--"+flag+"="+value)
	}
	plain := []string{"--l2.jwt-secret=jwt", "--network=op-mainnet", "--rpc.addr=127.0.0.1", "--rpc.port=0", "--p2p.no-discovery", "--p2p.peerstore.path=memory"}
	for name, test := range map[string]struct {
		env, args []string
		code      int
		want      string
	}{
		"help":                 {byVariable, []string{"--help"}, 0, "--l2.follow.source"},
		"variables":            {byVariable, plain, 1, "http://127.0.0.1:1/***"},
		"flags":                {nil, append(byFlag, plain...), 1, "http://127.0.0.1:1/***"},
		"a key for a file":     {byVariable, append(plain, "--l2.jwt-secret="+token+token), 1, "name of a file"},
		"an unknown flag":      {byVariable, append(plain, "--l1.key="+token), 1, "not defined"},
		"a source that is not": {byVariable, append(plain, "--l2.follow.source=127.0.0.1/"+token), 1, "--l2.follow.source=(not shown)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, code := runUntil(t, "failed to dial address", test.env, test.args...)
			require.Equal(t, test.code, code, out)
			require.Contains(t, out, test.want)
			for line := range strings.Lines(out) {
				require.NotContains(t, line, token)
			}
		})
	}
}

// runUntil runs the program to its end, which a signal brings about when it says something.
func runUntil(t *testing.T, said string, env []string, args ...string) (out string, code int) {
	cmd := program(t, env, args...)
	pipe, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines, seen := bufio.NewScanner(pipe), new(strings.Builder)
	lines.Buffer(nil, 1<<20)
	for signalled := false; lines.Scan(); {
		seen.WriteString(lines.Text() + "\n")
		if !signalled && strings.Contains(lines.Text(), said) {
			signalled = true
			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		}
	}
	require.NoError(t, lines.Err())
	_ = cmd.Wait()
	return seen.String(), cmd.ProcessState.ExitCode()
}

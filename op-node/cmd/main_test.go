package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// asProgram in the environment makes the test binary be the program.
const asProgram = "TEST_AS_OP_NODE"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// program prepares a run of the program in a directory of its own, ended with the test at the latest.
func program(t *testing.T, env []string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{asProgram + "=1", "GORACE=" + os.Getenv("GORACE")}, env...)
	return cmd
}

// run runs the program to its end.
func run(t *testing.T, env []string, args ...string) (stdout string, exit int) {
	cmd := program(t, env, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		var failed *exec.ExitError
		require.ErrorAs(t, err, &failed)
	}
	require.Empty(t, errs.String(), "standard error is for panics")
	return out.String(), cmd.ProcessState.ExitCode()
}

// enough are the flags without which nothing starts, for a chain with a name.
func enough(more ...string) []string {
	return append([]string{"--l1=http://127.0.0.1:1", "--l2=http://127.0.0.1:2", "--l2.jwt-secret=jwt", "--l1.beacon=http://127.0.0.1:3",
		"--network=op-mainnet", "--p2p.disable", "--rpc.addr=127.0.0.1", "--rpc.port=0"}, more...)
}

func TestExitCodes(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = taken.Close() }) // the cases run after this function has returned
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)

	for _, test := range []struct {
		name string
		env  []string
		args []string
		exit int
		want []string
	}{
		{"help", nil, []string{"--help"}, 0, []string{"5. PEER-TO-PEER", "--l2.follow.source", "OP_NODE_L2_FOLLOW_SOURCE"}},
		{"version", nil, []string{"--version"}, 0, []string{"op-node version v0.0.0-dev"}},
		{"new key", nil, []string{"p2p", "genkey"}, 0, nil},
		{"metrics", nil, []string{"doc", "metrics"}, 0, []string{"op_node_default_up", "op_node_default_follow_verdicts_total"}},
		{"genesis help", nil, []string{"genesis", "l2", "--help"}, 0, nil},
		{"dump without network", nil, []string{"networks", "dump-rollup-config"}, 1, []string{"must specify a network name"}},
		{"nothing", nil, nil, 1, []string{`lvl=crit msg="Application failed"`, "flag l1 is required"}},
		{"a word", nil, []string{"nonsense"}, 1, []string{"flag l1 is required"}},
		{"no JWT", nil, []string{"--l1=http://127.0.0.1:1", "--l2=http://127.0.0.1:2"}, 1, []string{"flag l2.jwt-secret is required"}},
		{"unknown flag", nil, enough("--rollup.halt=major"), 1, []string{"lvl=crit", "flag provided but not defined: -rollup.halt"}},
		{"bad value", nil, enough("--syncmode=magic"), 1, []string{"lvl=crit", "magic"}},
		{"bad variable", []string{"OP_NODE_RPC_PORT=http"}, nil, 1, []string{"lvl=crit", "OP_NODE_RPC_PORT"}},
		{"unknown network", nil, enough("--network=atlantis"), 1, []string{"lvl=crit", "--network=atlantis"}},
		{"port in use", nil, enough("--rpc.port=" + port), 1, []string{"lvl=crit", "--rpc.port", "address already in use"}},
		{"unknown variable", []string{"OP_NODE_NONSENSE=1"}, nil, 1, []string{"lvl=warn", "Unknown env var", "OP_NODE_NONSENSE"}},
		{"deprecated flag", nil, []string{"--beta.extra-networks"}, 1, []string{"Found a deprecated flag", "beta.extra-networks"}},
		{"follow nonsense", nil, enough("--l2.follow.source=me:hunter2@a"), 1, []string{"--l2.follow.source=(not shown)", "http://host:9545"}},
		{"log as JSON", nil, []string{"--log.format=json"}, 1, []string{`"lvl":"crit","msg":"Application failed"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			out, exit := run(t, test.env, test.args...)
			require.Equal(t, test.exit, exit, out)
			for _, part := range test.want {
				require.Contains(t, out, part)
			}
			if exit != 0 {
				lines := strings.Split(strings.TrimSpace(out), "\n")
				require.Contains(t, lines[len(lines)-1], "Application failed", "the reason is the last line")
			}
		})
	}
}

func TestDumpRollupConfig(t *testing.T) {
	out, exit := run(t, nil, "networks", "dump-rollup-config", "--network=op-sepolia")
	require.Zero(t, exit)
	var cfg struct {
		ID uint64 `json:"l2_chain_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &cfg))
	require.EqualValues(t, 11155420, cfg.ID)
}

// TestNamedNetworkNeedsOnlyL1: the program gets as far as to miss its L1, and a signal ends it there.
func TestNamedNetworkNeedsOnlyL1(t *testing.T) {
	for _, mode := range []string{"", "--l2.follow.source=http://127.0.0.1:4"} {
		args := enough()
		if mode != "" {
			args = enough(mode)
		}
		cmd := program(t, nil, args...)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines, seen := bufio.NewScanner(out), new(strings.Builder)
		for lines.Scan() {
			seen.WriteString(lines.Text() + "\n")
			if strings.Contains(lines.Text(), "failed to dial address") && strings.Contains(lines.Text(), "http://127.0.0.1:1") {
				break
			}
		}
		require.FileExists(t, filepath.Join(cmd.Dir, "jwt"), seen)
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		for lines.Scan() {
			seen.WriteString(lines.Text() + "\n")
		}
		var failed *exec.ExitError
		require.ErrorAs(t, cmd.Wait(), &failed, seen)
		require.Equal(t, 1, failed.ExitCode(), seen)
		require.Contains(t, seen.String(), "Application failed")
		require.Contains(t, seen.String(), "failed to init L1 Source")
	}
}

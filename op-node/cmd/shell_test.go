package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestManualPage(t *testing.T) {
	page, exit := run(t, nil, "doc", "man")
	require.Zero(t, exit)
	for _, what := range []string{".TH op-node 1", "follow.source", "networks", "completion"} {
		require.Contains(t, page, what)
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script, exit := run(t, nil, "completion", shell)
		require.Zero(t, exit)
		require.Contains(t, script, "op-node", shell)
	}
	for _, args := range [][]string{{"completion"}, {"completion", "ksh"}, {"completion", "bash", "zsh"}} {
		said, exit := run(t, nil, args...)
		require.Equal(t, 1, exit)
		require.Contains(t, said, "bash, zsh or fish")
	}
	found, exit := run(t, nil, "--l2.follow", "--generate-bash-completion")
	require.Zero(t, exit)
	require.Equal(t, strings.Count(found, "\n"), strings.Count(found, "--l2.follow"), found)
	require.Contains(t, found, "--l2.follow.source\n")
}

// TestBashCompletes has a real bash complete a flag by the script.
func TestBashCompletes(t *testing.T) {
	bash, err := exec.LookPath("bash")
	require.NoError(t, err, "the recipes of this repository need bash as well")
	cmd := program(t, nil, "completion", "bash")
	script, err := cmd.Output()
	require.NoError(t, err)
	for line, want := range map[string]string{
		"op-node --l2.follow.q": "--l2.follow.quorum",
		"op-node doc m":         "metrics",
	} {
		words := strings.Fields(line)
		ask := exec.CommandContext(t.Context(), bash, "-c", string(script)+`
			COMP_WORDS=(`+line+`); COMP_CWORD=`+string(rune('0'+len(words)-1))+`; _op_node; printf '%s\n' "${COMPREPLY[@]}"`)
		ask.Dir = t.TempDir()
		ask.Env = append(cmd.Env, "PATH="+ask.Dir)
		require.NoError(t, exec.CommandContext(t.Context(), "ln", "-s", cmd.Path, filepath.Join(ask.Dir, "op-node")).Run())
		out, err := ask.Output()
		require.NoError(t, err)
		require.Contains(t, strings.Fields(string(out)), want, line)
	}
}

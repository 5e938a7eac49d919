package flags

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
)

// flagFacts describe a flag as an operator meets it. The file testdata/upstream_flags.json has those of upstream's op-node.
type flagFacts struct {
	Name       string   `json:"name"`
	Env        []string `json:"env"`
	Default    string   `json:"default"`
	Category   string   `json:"category"`
	Type       string   `json:"type"`
	Hidden     bool     `json:"hidden"`
	Aliases    []string `json:"aliases"`
	Required   bool     `json:"required"`
	Deprecated bool     `json:"deprecated"`
	TakesFile  bool     `json:"takes_file"`
}

func upstreamFlags(t *testing.T) []flagFacts {
	data, err := os.ReadFile("testdata/upstream_flags.json")
	require.NoError(t, err)
	var facts []flagFacts
	require.NoError(t, json.Unmarshal(data, &facts))
	require.Len(t, facts, 138)
	return facts
}

// ownFlags are the flags that upstream does not have.
func ownFlags() []string {
	return []string{"l2.follow.max-lag", "l2.follow.poll-interval", "l2.follow.quorum", "l2.follow.source.header", "l2.follow.source.header-file",
		"rpc.admin-jwt-secret", "rpc.admin-listen", "rpc.batch-answer-limit", "rpc.batch-limit", "rpc.body-limit", "rpc.cors-domains",
		"rpc.follow-max-waiters", "rpc.request-limit", "rpc.vhosts"}
}

// describe reads the facts off a flag.
func describe(s *Set, f cli.Flag) flagFacts {
	v := reflect.ValueOf(f).Elem()
	facts := flagFacts{
		Name:       v.FieldByName("Name").String(),
		Env:        v.FieldByName("EnvVars").Interface().([]string),
		Aliases:    v.FieldByName("Aliases").Interface().([]string),
		Category:   v.FieldByName("Category").String(),
		Hidden:     v.FieldByName("Hidden").Bool(),
		Type:       strings.TrimSuffix(v.Type().Name(), "Flag"),
		Required:   slices.Contains(required(), v.FieldByName("Name").String()),
		Deprecated: slices.Contains(s.Deprecated, f),
	}
	if _, slice := f.(*cli.StringSliceFlag); !slice {
		facts.Default = fmt.Sprint(v.FieldByName("Value").Interface())
	}
	if file := v.FieldByName("TakesFile"); file.IsValid() {
		facts.TakesFile = file.Bool()
	}
	return facts
}

func TestFlagsEqualUpstream(t *testing.T) {
	set := New()
	have := map[string]flagFacts{}
	for _, f := range set.Flags {
		facts := describe(set, f)
		require.NotContains(t, have, facts.Name, "flag defined twice")
		have[facts.Name] = facts
	}
	for _, want := range upstreamFlags(t) {
		got, ok := have[want.Name]
		if !ok {
			t.Errorf("flag --%s is missing", want.Name)
			continue
		}
		delete(have, want.Name)
		normalize := func(f *flagFacts) {
			if len(f.Env) == 0 {
				f.Env = nil
			}
			if len(f.Aliases) == 0 {
				f.Aliases = nil
			}
		}
		normalize(&want)
		normalize(&got)
		require.Equal(t, want, got, "flag --%s", want.Name)
	}
	for _, name := range ownFlags() {
		require.Contains(t, have, name)
		delete(have, name)
	}
	require.Empty(t, have, "flags that neither upstream nor this program documents")
}

func TestFlagsAreExplained(t *testing.T) {
	set, variables := New(), map[string]string{}
	for _, f := range set.Flags {
		name := f.Names()[0]
		usage := reflect.ValueOf(f).Elem().FieldByName("Usage").String()
		require.NotEmpty(t, usage, "flag --%s has no text", name)
		deprecated := describe(set, f).Deprecated
		require.Equal(t, deprecated, strings.HasPrefix(usage, "Deprecated"), "flag --%s", name)
		require.True(t, describe(set, f).Hidden || !deprecated, "flag --%s is deprecated and in the help", name)
		for _, variable := range reflect.ValueOf(f).Elem().FieldByName("EnvVars").Interface().([]string) {
			require.True(t, strings.HasPrefix(variable, EnvPrefix+"_"), variable)
			require.Empty(t, variables[variable], "%s belongs to two flags", variable)
			variables[variable] = name
		}
	}
}

// TestNamesAreTyped guards the names that the reading code spells out again: each of them is a flag.
func TestNamesAreTyped(t *testing.T) {
	known := map[string]bool{}
	for _, f := range New().Flags {
		for _, name := range f.Names() {
			known[name] = true
		}
	}
	for _, file := range []string{"read.go", "read_chain.go", "read_p2p.go"} {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, after := range strings.Split(string(source), `IsSet("`)[1:] {
			name, _, _ := strings.Cut(after, `"`)
			require.True(t, known[name], "%s asks for flag %q, which does not exist", file, name)
		}
	}
	for _, name := range required() {
		require.True(t, known[name], name)
	}
}

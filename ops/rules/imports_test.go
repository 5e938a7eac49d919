package rules

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	upstream = "github.com/ethereum-optimism/optimism"
	geth     = "github.com/ethereum/go-ethereum"
)

// rule limits the imports of production code, that is of files that are no tests. Patterns are paths of ours or full
// paths of others; one that ends in /... stands for everything below as well.
type rule struct {
	// of are the packages whose imports are limited, except those of not.
	of, not []string
	// among are the imports that the rule is about; none for all.
	among []string
	// only are those of them that are allowed.
	only    []string
	because string
}

// our are all packages of this module, as opposed to imported ones.
var our = []string{"op-node/...", "op-service/...", "ops/..."}

var testOnly = []string{"op-node/testutil/..."}

var rules = []rule{
	{
		of: []string{"op-node/rollup/follow/...", "op-node/rollup/poll"},
		only: []string{"bytes", "cmp", "errors", "fmt", "maps", "math/...", "slices", "sort", "strings", "time",
			upstream + "/op-service/eth", geth + "/common"},
		because: "the decision cores are pure: they import nothing of ours, and of others only values",
	},
	{
		of: []string{"op-service/..."}, among: our, only: []string{"op-node/rollup/follow", "op-service/secret"},
		because: "an adapter speaks the core's language, keeps secrets, and knows neither the other adapters nor who uses it",
	},
	{
		of: []string{"op-node/rollup/engine"}, among: our, only: []string{"op-node/rollup/follow"},
		because: "the controller applies what was decided, wherever it came from",
	},
	{
		of: []string{"op-node/rollup/driver/..."}, among: our,
		only:    []string{"op-node/rollup/driver/...", "op-node/rollup/engine", "op-node/rollup/feed", "op-node/rollup/follow", "op-node/rollup/poll", "op-service/..."},
		because: "the driver joins sources, L1 view and controller; the node around it is not its business",
	},
	{
		of: our, not: []string{"op-node/node/...", "op-node/cmd/...", "op-node/flags", "op-node/config"},
		among:   []string{"op-node/config", "op-node/flags"},
		because: "only the node's assembly and the program know configuration; the rest gets values",
	},
	{
		of: our, not: []string{"op-node/cmd/..."}, among: []string{"op-node/flags", "op-node/node"},
		because: "the program is on top: nothing that it puts together depends on flags or on the assembly",
	},
	{
		of: our, not: []string{"op-node/node", "op-node/cmd/..."}, among: []string{"op-node/metrics"},
		because: "whoever records metrics owns the interface for it",
	},
	{
		of: our, not: append([]string{"ops/..."}, testOnly...),
		among: append([]string{"ops/...", "testing/...", "github.com/stretchr/testify/...", "pgregory.net/rapid/...",
			"github.com/cockroachdb/datadriven/...", upstream + "/op-e2e/...", upstream + "/op-service/testlog/...",
			upstream + "/op-service/testutils/..."}, testOnly...),
		because: "what exists for tests and for operating is not part of the node",
	},
	{
		of: []string{"op-node/rollup/...", "op-service/..."},
		among: []string{upstream + "/op-node/rollup/attributes/...", upstream + "/op-node/rollup/clsync/...",
			upstream + "/op-node/rollup/driver/...", upstream + "/op-node/rollup/finality/...",
			upstream + "/op-service/sources/caching/..."},
		because: "follow mode derives nothing: the parts for it are not constructed, so they are not even imported (spec I2)",
	},
	{
		of: []string{"op-node/...", "op-service/..."}, among: []string{upstream + "/op-conductor/..."},
		because: "with op-conductor come raft and the archived boltdb/bolt; two calls do without",
	},
	{
		of: []string{"op-node/...", "op-service/..."}, not: []string{"op-node/cmd/...", "op-node/flags"},
		among:   []string{"github.com/urfave/cli/v2"},
		because: "the command line ends at the program and the flag table",
	},
}

// violations lists the imports of a file that the rules forbid.
func violations(s source) []string {
	var found []string
	for _, r := range rules {
		if s.test || !within(s.pkg, r.of) || within(s.pkg, r.not) {
			continue
		}
		for _, imported := range s.imports {
			concerned := r.among == nil || within(imported, r.among)
			if concerned && !within(imported, r.only) {
				found = append(found, fmt.Sprintf("%s imports %s: %s", s.name, imported, r.because))
			}
		}
	}
	return found
}

func TestImports(t *testing.T) {
	for _, s := range sources(t) {
		require.Empty(t, violations(s))
	}
}

// Each rule is broken on purpose, and what stands beside it is not.
func TestImportRulesBite(t *testing.T) {
	for _, test := range []struct {
		pkg, imports string
		allowed      bool
	}{
		{"op-node/rollup/follow", "slices", true},
		{"op-node/rollup/follow", upstream + "/op-service/eth", true},
		{"op-node/rollup/follow", "log", false},
		{"op-node/rollup/follow", "context", false},
		{"op-node/rollup/follow", upstream + "/op-node/rollup", false},
		{"op-node/rollup/follow", "op-service/l1chain", false},
		{"op-service/l1chain", "op-node/rollup/follow", true},
		{"op-service/l1chain", "op-service/sources", false},
		{"op-service/sources", "op-node/rollup/driver", false},
		{"op-node/rollup/engine", "op-node/rollup/follow", true},
		{"op-node/rollup/engine", "op-service/l1chain", false},
		{"op-node/rollup/engine", "op-node/testutil/modelel", false},
		{"op-node/rollup/driver", "op-service/l1chain", true},
		{"op-node/rollup/driver", "op-node/config", false},
		{"op-node/rollup/driver", "op-node/metrics", false},
		{"op-node/rollup/driver", upstream + "/op-node/rollup/finality", false},
		{"op-node/node", "op-node/config", true},
		{"op-node/node", "op-node/metrics", true},
		{"op-node/node", "op-node/flags", false},
		{"op-node/node", "github.com/stretchr/testify/require", false},
		{"op-node/node", upstream + "/op-e2e/e2eutils/geth", false},
		{"op-node/node", "ops/devnet/stack", false},
		{"op-node/node", upstream + "/op-conductor/rpc", false},
		{"op-node/cmd", "op-node/flags", true},
		{"op-node/cmd", "testing", false},
		{"op-node/chaincfg", "op-node/config", false},
		{"op-node/chaincfg", "github.com/urfave/cli/v2", false},
		{"op-node/node", "op-node/testutil", false},
		{"op-node/testutil", "testing", true},
		{"op-node/testutil/modelel", "testing", true},
		{"ops/devnet", "ops/devnet/stack", true},
		{"ops/devnet", upstream + "/op-e2e/e2eutils/geth", true},
		{"ops/devnet", "op-node/config", false},
	} {
		s := source{pkg: test.pkg, name: test.pkg + "/x.go", imports: []string{test.imports}}
		require.Equal(t, test.allowed, len(violations(s)) == 0, "%s importing %s", test.pkg, test.imports)
		s.test = true
		require.Empty(t, violations(s), "tests are free")
	}
}

// ban forbids the use of names of a package in production code.
type ban struct {
	of, not []string
	pkg     string
	names   []string // a * at the end stands for any ending
	because string
}

var bans = []ban{
	{
		of: []string{"op-node/rollup/follow/..."}, pkg: "time",
		names:   []string{"Now", "Since", "Until", "After*", "Sleep", "Tick", "New*"},
		because: "the decision core reads no clock",
	},
	{
		of: []string{"op-node/...", "op-service/..."}, not: []string{"op-node/cmd/..."}, pkg: "os",
		names:   []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv", "Exit"},
		because: "the environment is read, and the process ended, by the program alone",
	},
	{
		of: []string{"op-node/rollup/..."}, not: testOnly, pkg: "derive",
		names:   []string{"NewDerivationPipeline", "NewL1Traversal", "NewL1Retrieval", "NewAttributesQueue", "NewChannelBank"},
		because: "follow mode constructs no derivation pipeline",
	},
}

// misuses lists where a file uses what is banned in its package, and, in the decision core, starts goroutines.
func misuses(s source) []string {
	var found []string
	if s.test {
		return nil
	}
	ast.Inspect(s.file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.GoStmt:
			if within(s.pkg, []string{"op-node/rollup/follow/..."}) {
				found = append(found, s.at(node.Pos())+": the decision core starts no goroutine")
			}
		case *ast.SelectorExpr:
			pkg, ok := node.X.(*ast.Ident)
			for _, b := range bans {
				if ok && pkg.Name == b.pkg && matches(node.Sel.Name, b.names) && within(s.pkg, b.of) && !within(s.pkg, b.not) {
					found = append(found, fmt.Sprintf("%s: %s.%s: %s", s.at(node.Pos()), pkg.Name, node.Sel.Name, b.because))
				}
			}
		}
		return true
	})
	return found
}

func matches(name string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		start, any := strings.CutSuffix(pattern, "*")
		return name == pattern || (any && strings.HasPrefix(name, start))
	})
}

func TestBannedNames(t *testing.T) {
	for _, s := range sources(t) {
		require.Empty(t, misuses(s))
	}
}

func TestBansBite(t *testing.T) {
	for _, test := range []struct {
		pkg, body string
		allowed   bool
	}{
		{"op-node/rollup/follow", "var d = time.Second", true},
		{"op-node/rollup/follow", "var d = time.Now()", false},
		{"op-node/rollup/follow", "var d = time.AfterFunc(1, nil)", false},
		{"op-node/rollup/follow", "func f() { go f() }", false},
		{"op-node/rollup/driver", "func f() { go f() }", true},
		{"op-node/rollup/driver", `var v = os.Getenv("X")`, false},
		{"op-node/cmd", `var v = os.Getenv("X")`, true},
		{"op-node/rollup/engine", "var p = derive.NewDerivationPipeline()", false},
		{"op-node/node", "var p = derive.NewDerivationPipeline()", true},
	} {
		require.Equal(t, test.allowed, len(misuses(parse(t, test.pkg, test.body))) == 0, "%s: %s", test.pkg, test.body)
	}
}

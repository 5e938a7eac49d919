package follow

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var rewrite = flag.Bool("rewrite", false, "write generated documents instead of comparing them")

// TestReasonsPage compares the page that operators read with the table it is made from.
//
//	go test ./op-node/rollup/follow -run TestReasonsPage -rewrite
func TestReasonsPage(t *testing.T) {
	page := filepath.Join("..", "..", "docs", "reasons.md")
	if *rewrite {
		require.NoError(t, os.WriteFile(page, []byte(reasonsPage()), 0o644))
	}
	have, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Equal(t, reasonsPage(), string(have), "%s is out of date, run this test with -rewrite", page)
}

func reasonsPage() string {
	var b strings.Builder
	b.WriteString(`# Reasons

Why a status of a source was, or was not, applied. The code is the same everywhere: the field ` + "`reason`" + ` in the log, the
label in the metrics, and the heading here. A *rejected* status contradicts a rule and is dropped whole. A *deferred* one
could not be judged or applied now, and may be accepted later. In both cases the labels hold and unsafe blocks go on.

This page is generated from the table of reasons; see [the rules](../rollup/follow/validate.go) and
[the head plan](../rollup/follow/plan.go).
`)
	for _, r := range Reasons() {
		fmt.Fprintf(&b, "\n## %s\n\n*%s.* %s\n", r.Code(), r.Class(), r.Text())
		if r != None {
			fmt.Fprintf(&b, "\n%s\n", r.Advice())
		}
	}
	return b.String()
}

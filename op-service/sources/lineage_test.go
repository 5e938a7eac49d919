package sources

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDecodeLineage(t *testing.T) {
	path := func(ids int, id string) string {
		return `{"id":"a","path":["` + strings.Join(slices.Repeat([]string{id}, ids), `","`) + `"],"more":1}`
	}
	for _, test := range []struct{ name, doc, want string }{
		{"as many as allowed", path(MaxPath, strings.Repeat("x", maxIDBytes)), ""},
		{"letters of any language", path(2, "節點"), ""},
		{"no path", `{"id":"a"}`, ""},
		{"one too many", path(MaxPath+1, "x"), "a path of 65 nodes"},
		{"one byte too long", path(1, strings.Repeat("x", maxIDBytes+1)), "an id of 65 bytes"},
		{"a long id of its own", `{"id":"` + strings.Repeat("x", maxIDBytes+1) + `"}`, "an id of 65 bytes"},
		{"a line feed", path(1, `x\ny`), "the character U+000A"},
		{"a C1 control", path(1, `x\u009by`), "the character U+009B"},
		{"a bidirectional control", path(1, `x\u202ey`), "the character U+202E"},
		{"a space", path(1, `x y`), "the character U+0020"},
		{"no id", `{"path":["a"]}`, "no id"},
		{"null", `null`, "null"},
	} {
		t.Run(test.name, func(t *testing.T) {
			lineage, err := decodeLineage([]byte(test.doc))
			if test.want == "" {
				require.NoError(t, err)
				require.Equal(t, "a", lineage.ID)
				return
			}
			require.ErrorContains(t, err, test.want)
			require.Zero(t, lineage)
		})
	}
	require.Equal(t, []string{"a", "b", "c"}, Lineage{ID: "a", Path: []string{"b", "a", "", "c", "b"}}.IDs())
}

package follow

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func word(v Vote) Word { return WordOf(v.Rank, v.Status) }

func TestContradictions(t *testing.T) {
	honest, same, fork := word(vote(0, 90, 80, 40, 20)), word(vote(1, 95, 85, 45, 20)), word(liar(2, 'x', 90, 80, 50, 20))
	require.Equal(t, [][2]int{{0, 2}, {1, 2}}, Contradictions(nil, []Word{fork, honest, same}, localUpTo(100)))

	high := word(liar(1, 'x', 99, 97, 96, 20))
	require.Empty(t, Contradictions(nil, []Word{honest, high}, localUpTo(60)), "nothing known of the blocks above the local chain")
	require.Empty(t, Contradictions(nil, []Word{honest, high}, localUpTo(100)), "the fork may begin above 90")
	require.Equal(t, [][2]int{{0, 1}}, Contradictions(nil, []Word{word(vote(0, 99, 98, 40, 20)), high}, localUpTo(100)))
}

// A contradiction goes on while there is nothing to be seen of it for a moment.
func TestContradictionsEnd(t *testing.T) {
	open := [][2]int{{0, 1}}
	honest, low, high := word(vote(0, 90, 80, 40, 20)), word(vote(1, 60, 50, 40, 20)), word(liar(1, 'x', 99, 97, 96, 20))
	for name, c := range map[string]struct {
		words []Word
		local uint64
		want  [][2]int
	}{
		"one is ahead on its fork":        {[]Word{honest, high}, 100, open},
		"one is ahead of the local chain": {[]Word{honest, high}, 95, open},
		"both are, so that neither shows": {[]Word{honest, low}, 30, open},
		"both are on the local chain":     {[]Word{honest, low}, 100, nil},
		"one says nothing any more":       {[]Word{honest}, 100, nil},
		"another source is no party":      {[]Word{honest, low, word(vote(2, 90, 80, 40, 20))}, 30, open},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, Contradictions(open, c.words, localUpTo(c.local)))
		})
	}
}

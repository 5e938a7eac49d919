package testutil

import (
	"flag"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/lightcl/op-node/op-node/testutil/modelel"
)

// Story is what a transcript is about: a node and its world. All methods are called from one goroutine, in a
// testing/synctest bubble of the story's own.
type Story interface {
	// Begin is the time before a command: what was told is told.
	Begin()
	// Perform carries out a command; an error means that it makes no sense.
	Perform(c Command) error
	// Check looks at what has to hold after every command.
	Check()
	// Tell shows what the command caused; "ok" is nothing.
	Tell() string
}

// PlayTranscripts plays the stories of testdata, one file each, and compares what happened with what is written there.
// With the flag -rewrite it writes what happened. The stories that a defect spoils are named with the defect, see [Open];
// they are not rewritten.
//
// The language of a story is its own, but for what is the same in all of them: see [Engine.Perform].
func PlayTranscripts(t *testing.T, open map[string]string, begin func(t testing.TB) Story) {
	paths, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		t.Run(name, func(t *testing.T) {
			defect, spoilt := open[name]
			if spoilt && rewriting() {
				t.Skipf("defect %s is open: what happens is not what should", defect)
			}
			synctest.Test(t, func(t *testing.T) {
				if spoilt {
					Open(t, defect, func(t testing.TB) { play(t, path, begin(t)) })
				} else {
					play(t, path, begin(t))
				}
			})
		})
		delete(open, name)
	}
	require.Empty(t, open, "no such stories")
}

func play(t testing.TB, path string, s Story) {
	datadriven.RunTestAny(t, path, func(t testing.TB, d *datadriven.TestData) string {
		s.Begin()
		if err := s.Perform(Command{d}); err != nil {
			t.Fatalf("%s: %v", d.Pos, err)
		}
		synctest.Wait()
		s.Check()
		return s.Tell()
	})
}

// rewriting tells whether the library of the transcripts was told to rewrite them.
func rewriting() bool {
	f := flag.Lookup("rewrite")
	return f != nil && f.Value.String() == "true"
}

// Command is a line of a transcript: a verb, words, and words with values.
type Command struct{ *datadriven.TestData }

// Word is a word after the verb; empty if there are not so many.
func (c Command) Word(i int) string {
	if i >= len(c.CmdArgs) {
		return ""
	}
	return c.CmdArgs[i].Key
}

// Words are the words after the verb from one on.
func (c Command) Words(from int) (words []string) {
	for i := from; i < len(c.CmdArgs); i++ {
		words = append(words, c.Word(i))
	}
	return words
}

// Value is the value of a word such as at=14.
func (c Command) Value(key string) (string, bool) {
	arg, ok := c.Arg(key)
	if !ok || len(arg.Vals) != 1 {
		return "", false
	}
	return arg.Vals[0], true
}

// Number is the value of a word that has to be there, a number.
func (c Command) Number(key string) (uint64, error) {
	value, ok := c.Value(key)
	if !ok {
		return 0, fmt.Errorf("%s=… is missing", key)
	}
	return strconv.ParseUint(value, 10, 64)
}

// Duration is the value of a word that has to be there, a duration.
func (c Command) Duration(key string) (time.Duration, error) {
	value, ok := c.Value(key)
	if !ok {
		return 0, fmt.Errorf("%s=… is missing", key)
	}
	return time.ParseDuration(value)
}

// Range are the blocks of a range of names such as 3..7, 3b..7b or 5, looked up one by one.
func Range(find func(name string) (modelel.Block, error), names string) (blocks []modelel.Block, err error) {
	from, to, isRange := strings.Cut(names, "..")
	if !isRange {
		to = from
	}
	suffix := strings.TrimLeft(to, "0123456789")
	first, err := strconv.ParseUint(strings.TrimSuffix(from, suffix), 10, 64)
	if err != nil {
		return nil, err
	}
	last, err := strconv.ParseUint(strings.TrimSuffix(to, suffix), 10, 64)
	if err != nil {
		return nil, err
	}
	for n := first; n <= last; n++ {
		b, err := find(strconv.FormatUint(n, 10) + suffix)
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

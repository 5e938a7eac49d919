package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The same scripts through upstream's controller and ours, each on an engine of its own. Where upstream is right, both
// engines end up with the same heads.
var sameAsUpstream = map[string]string{
	"nothing new":                        "follow 5 5 2",
	"consolidation":                      "follow 8 6 3",
	"gossip, then labels":                "gossip 11 12 13\nfollow 12 11 6",
	"labels one by one":                  "follow 6 5 2\nfollow 6 6 2\nfollow 6 6 6",
	"payloads twice and out of order":    "gossip 12 11 11 12 13 5 10\nfollow 11 11 5",
	"a gap that is filled by gossip":     "gossip 12 13\ngossip 11",
	"a gap that is filled by the engine": "gossip 15 16\ntick\ntick\nfollow 16 15 7",
	"a target ahead":                     "follow 14 13 6\ntick\ngossip 15 16",
	"no gossip at all":                   "follow 20 18 15\ntick\nfollow 21 19 16\ntick\nfollow 22 20 17",
	"reorg":                              "follow 9b 8b 6",
	"reorg with a longer branch":         "follow 14b 12b 6",
	"reorg there and back":               "follow 9b 8b 6\ntick\nfollow 11 8 6",
	"payload of another branch":          "gossip 11b",
	"payload of another branch, waiting": "gossip 11b\ntick",
	"engine restarts":                    "follow 10 9 8\nrestart\ngossip 11",
	"engine loses unsafe blocks":         "follow 8 8 6\nlose 9\ngossip 11\nfollow 9 9 6",
	"a source that is behind":            "follow 8 8 2\nfollow 6 6 2",
	"cross-safe goes back":               "follow 8 8 2\nfollow 8 6 2",
	"cross-safe is paused, then resumed": "gossip 11 12\nfollow 7 5 2\nfollow 9 5 2\nfollow 12 12 5",
}

// differences are what upstream does otherwise, and why ours is right. A script in this table that does not differ any
// more fails the test.
var differences = map[string]struct {
	script       string
	cold         bool // upstream has not read the engine's labels before the first status
	theirs, ours string
	why          string
}{
	"start": {"follow 5 5 2\ngossip 11b", true, "latest=11b safe=5 finalized=2", "latest=10 safe=5 finalized=2",
		"The first status after a start comes before upstream has read the heads: its unsafe head goes back to local-safe, and then a payload of any branch looks like one behind a gap."},
	"engine restarts, and safe stays": {"restart\nfollow 6 5 2", false, "latest=10 safe=2 finalized=2", "latest=10 safe=5 finalized=2",
		"A restarted engine has forgotten its safe label; upstream takes the update that would restore it for a repetition and leaves it out (spec T7)."},
	"a block that nobody has": {"follow ? 5 2", false, "latest=10 safe=2 finalized=2", "latest=10 safe=5 finalized=2",
		"Upstream gives up its head for the claim; the SYNCING answer makes it reset, and safe falls back to finalized. Ours moves nothing before the engine has the block."},
	"safe of another branch": {"follow 9 8b 2", false, "latest=10 safe=2 finalized=2", "latest=10 safe=5 finalized=2",
		"Upstream sends the labels unseen; -38002 makes it reset, and safe falls back to finalized. Spec V7 refuses the status."},
	"finalized of another branch": {"follow 9 8 3f", false, "latest=10 safe=2 finalized=2", "latest=10 safe=5 finalized=2",
		"As for safe."},
	"a branch below finality": {"follow 12f 11f 3f", false, "latest=12f safe=11f finalized=3f", "latest=10 safe=5 finalized=2",
		"Upstream re-finalizes across its own finalized block. Spec I3: a human has to decide."},
	"a branch below finality, finalized agrees": {"follow 9f 8f 2", false, "latest=9f safe=2 finalized=2", "latest=10 safe=5 finalized=2",
		"Upstream leaves its finalized block with its head and stays there, though the engine refuses the labels. Ours goes back."},
	"gossip of the new branch while the engine fetches it": {"follow 9b 8b 6\ngossip 10b 11b", false, "latest=9b safe=8b finalized=6", "latest=11b safe=8b finalized=6",
		"Upstream's reset drops the payloads as old numbers; ours keeps them until the branch is adopted (spec T17b)."},
	"engine loses safe blocks": {"follow 8 8 6\nlose 7\ngossip 11\ngossip 12", false, "latest=11 safe=6 finalized=6", "latest=12 safe=8 finalized=6",
		"Upstream's reset walks back to finalized while the engine fetches what it lost, and the labels do not come back with the next status."},
}

func TestSameAsUpstream(t *testing.T) {
	for name, script := range sameAsUpstream {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, play(newTheirs(true), script), play(newOurs(), script))
		})
	}
}

func TestDifferencesFromUpstream(t *testing.T) {
	for name, c := range differences {
		t.Run(name, func(t *testing.T) {
			require.NotEmpty(t, c.why)
			require.NotEqual(t, c.theirs, c.ours, "not a difference")
			require.Equal(t, c.theirs, play(newTheirs(!c.cold), c.script), "upstream")
			require.Equal(t, c.ours, play(newOurs(), c.script), "ours")
		})
	}
}

// TestRandomScriptsAgainstUpstream plays what an honest world makes: payloads of the main chain in any order, statuses
// that only go up.
func TestRandomScriptsAgainstUpstream(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var script []string
		tip := 10
		labels := []int{2, 5, 5} // finalized, safe, local-safe
		for range rapid.IntRange(1, 12).Draw(t, "commands") {
			switch rapid.IntRange(0, 4).Draw(t, "command") {
			case 0:
				script = append(script, "tick")
			case 1, 2:
				n := rapid.IntRange(max(0, tip-2), tip+1).Draw(t, "payload")
				tip = max(tip, n)
				script = append(script, fmt.Sprintf("gossip %d", n))
			case 3, 4:
				labels[2] = rapid.IntRange(labels[2], max(labels[2], tip)+3).Draw(t, "local-safe")
				labels[1] = rapid.IntRange(labels[1], labels[2]).Draw(t, "safe")
				labels[0] = rapid.IntRange(labels[0], labels[1]).Draw(t, "finalized")
				script = append(script, fmt.Sprintf("follow %d %d %d", labels[2], labels[1], labels[0]))
			}
		}
		text := strings.Join(script, "\n")
		theirs, ours := play(newTheirs(true), text), play(newOurs(), text)
		if theirs != ours {
			t.Fatalf("theirs %s\nours   %s\nafter\n%s", theirs, ours, text)
		}
	})
}

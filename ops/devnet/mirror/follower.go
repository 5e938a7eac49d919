package mirror

import (
	"fmt"
	"time"
)

// lagLimit is how many lags are kept for the summary.
const lagLimit = 4096

// follower is what one follower was seen to show.
type follower struct {
	name     string
	last     Heads
	observed bool
	lastAt   time.Duration
	disorder string

	// open are the blocks shown that the source has not been seen to show.
	open []sighting
	// mirrored and first say whether and when a label first agreed with the source.
	mirrored [labels]bool
	first    [labels]time.Duration
	lags     [labels][]time.Duration
}

// sighting is a label's first naming of a block.
type sighting struct {
	label Label
	ref   Ref
	at    time.Duration
}

// observe takes a status and returns what must never be shown.
func (f *follower) observe(at time.Duration, heads Heads) (wrong []string) {
	for _, l := range Labels() {
		was, is := f.last[l], heads[l]
		switch {
		case is == was:
			continue
		case !is.Known():
			wrong = append(wrong, fmt.Sprintf("%s went from %s to unknown", l, was))
			heads[l] = was // so that it is said once
			continue
		case was.Known() && is.Number < was.Number:
			wrong = append(wrong, fmt.Sprintf("%s went back from %s to %s", l, was, is))
		case was.Known() && is.Number == was.Number:
			wrong = append(wrong, fmt.Sprintf("%s changed its block from %s to %s", l, was, is))
		}
		f.open = append(f.open, sighting{label: l, ref: is, at: at})
	}
	what, disordered := heads.disorder()
	if disordered && f.disorder == "" {
		wrong = append(wrong, "labels out of order: "+what)
	}
	f.disorder = what
	f.last, f.lastAt, f.observed = heads, at, true
	return wrong
}

// resolve compares the open sightings with what the source has shown by now.
func (f *follower) resolve(at time.Duration, source *sourceHistory, grace time.Duration) (firsts []First, wrong []string) {
	open := f.open[:0]
	for _, s := range f.open {
		switch {
		case source.agrees(s.label, s.ref):
			f.lag(s, source)
			if !f.mirrored[s.label] && s.ref.Number > 0 { // everybody has genesis
				f.mirrored[s.label], f.first[s.label] = true, s.at
				firsts = append(firsts, First{Follower: f.name, Label: s.label, Ref: s.ref, At: s.at})
			}
		case at-s.at < grace:
			open = append(open, s)
		case source.contradicts(s.label, s.ref):
			wrong = append(wrong, fmt.Sprintf("%s %s is not the source's block of that height", s.label, s.ref))
		case !source.reached(s.label, s.ref.Number):
			wrong = append(wrong, fmt.Sprintf("%s %s, which the source does not show after %s", s.label, s.ref, grace))
		default: // a height at which the source was never looked at
		}
	}
	f.open = open
	return firsts, wrong
}

// lag notes how late the follower was, if the source was seen to show exactly this block.
func (f *follower) lag(s sighting, source *sourceHistory) {
	at, ok := source.shown[s.label][s.ref.Number][s.ref.Hash]
	if !ok || s.ref.Number == 0 {
		return
	}
	all := f.lags[s.label]
	if len(all) == lagLimit {
		all = append(all[:0], all[1:]...)
	}
	f.lags[s.label] = append(all, max(0, s.at-at))
}

// missing says what keeps the follower from mirroring the source.
func (f *follower) missing(at time.Duration, source *sourceHistory, rules Rules) (out []string) {
	if !f.observed {
		return []string{f.name + ": shows nothing"}
	}
	if silence := at - f.lastAt; silence > rules.Silent {
		out = append(out, fmt.Sprintf("%s: no answer for %s", f.name, silence.Round(time.Millisecond)))
	}
	for _, l := range Labels() {
		ref := f.last[l]
		if !f.mirrored[l] {
			out = append(out, fmt.Sprintf("%s: %s not mirrored (shows %s)", f.name, l, ref))
			continue
		}
		passed, behind := source.passedAt(l, ref.Number)
		if behind && at-passed > rules.Stale {
			out = append(out, fmt.Sprintf("%s: %s stays at %s, the source went on %s ago", f.name, l, ref, (at-passed).Round(time.Millisecond)))
		}
	}
	return out
}

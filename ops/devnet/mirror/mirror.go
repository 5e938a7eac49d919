// Package mirror judges whether followers show what their source shows.
//
// It is fed with observations, each with the time it was made, and decides nothing by itself: it reads no clock and
// starts nothing. Times are durations since an instant the caller chooses; they must not go back.
package mirror

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Rules are the allowances of a judgement.
type Rules struct {
	// Settle is how long everything must have been mirrored without a break.
	Settle time.Duration
	// Grace is how long a follower may show a block before the source is seen to: the two are not looked at at the
	// same instant.
	Grace time.Duration
	// Stale is how long the source may be ahead with a label before the follower counts as no longer mirroring it.
	Stale time.Duration
	// Silent is how long a follower may go without being observed.
	Silent time.Duration
}

// DefaultRules fit a devnet whose L1 makes a block every few seconds.
func DefaultRules() Rules {
	return Rules{Settle: 10 * time.Second, Grace: 5 * time.Second, Stale: 8 * time.Second, Silent: 3 * time.Second}
}

// Violation is something a follower must never show.
type Violation struct {
	At       time.Duration
	Follower string
	// What says it in words, with the labels and blocks in question.
	What string
}

// String is the violation in one line.
func (v Violation) String() string {
	return fmt.Sprintf("%s at %s: %s", v.Follower, v.At.Round(time.Millisecond), v.What)
}

// First is when a follower first mirrored a label.
type First struct {
	Follower string
	Label    Label
	Ref      Ref
	At       time.Duration
}

// Judge keeps what was observed. It is not safe for concurrent use.
type Judge struct {
	rules     Rules
	source    *sourceHistory
	order     []string
	followers map[string]*follower
	// settledSince is when everything last began to be mirrored; negative while it is not.
	settledSince time.Duration
	violations   []Violation
}

// New returns a judge of the named followers.
func New(rules Rules, followers ...string) *Judge {
	j := &Judge{rules: rules, source: newSourceHistory(), order: followers, followers: make(map[string]*follower), settledSince: unsettled}
	for _, name := range followers {
		j.followers[name] = &follower{name: name}
	}
	return j
}

const unsettled = time.Duration(-1 << 62)

// Source takes what the source shows.
func (j *Judge) Source(at time.Duration, heads Heads) []First {
	j.source.observe(at, heads)
	return j.settle(at)
}

// L1 takes the head of L1, so that a current_l1 can be recognised the source went through unseen.
func (j *Judge) L1(at time.Duration, head Ref) {
	if head.Known() {
		j.source.block(chainL1, head)
	}
	_ = j.settle(at)
}

// Follower takes what a follower shows, and returns which labels it mirrored for the first time. Names the judge
// was not told of are ignored.
func (j *Judge) Follower(at time.Duration, name string, heads Heads) []First {
	f := j.followers[name]
	if f == nil {
		return nil
	}
	for _, what := range f.observe(at, heads) {
		j.violations = append(j.violations, Violation{At: at, Follower: name, What: what})
	}
	return j.settle(at)
}

// Restarted tells the judge that a follower is a new process: what it shows may begin anywhere again.
func (j *Judge) Restarted(name string) {
	if f := j.followers[name]; f != nil {
		f.last, f.observed = Heads{}, false
	}
}

// settle compares what is open and keeps track of since when all is well.
func (j *Judge) settle(at time.Duration) []First {
	var firsts []First
	for _, name := range j.order {
		f := j.followers[name]
		mirrored, wrong := f.resolve(at, j.source, j.rules.Grace)
		firsts = append(firsts, mirrored...)
		for _, what := range wrong {
			j.violations = append(j.violations, Violation{At: at, Follower: name, What: what})
		}
	}
	if len(j.missing(at)) > 0 {
		j.settledSince = unsettled
	} else if j.settledSince == unsettled {
		j.settledSince = at
	}
	return firsts
}

// Verdict is the state of a judgement.
type Verdict struct {
	// Passed is true once everything was mirrored and stayed so for Rules.Settle, without a violation.
	Passed bool
	// Missing says what has not been mirrored, or no longer is, a line each.
	Missing []string
	// Settled is for how long nothing has been missing.
	Settled time.Duration
	// Violations are all there were, in order of time.
	Violations []Violation
}

// Failed reports whether no later observation can make the verdict a pass.
func (v Verdict) Failed() bool { return len(v.Violations) > 0 }

// Verdict judges what was observed up to now.
func (j *Judge) Verdict(at time.Duration) Verdict {
	_ = j.settle(at)
	v := Verdict{Missing: j.missing(at), Violations: slices.Clone(j.violations)}
	if j.settledSince != unsettled {
		v.Settled = at - j.settledSince
	}
	v.Passed = len(v.Missing) == 0 && len(v.Violations) == 0 && v.Settled >= j.rules.Settle && !j.open()
	return v
}

// open reports whether a follower shows a block that the source has yet to show.
func (j *Judge) open() bool {
	for _, f := range j.followers {
		if len(f.open) > 0 {
			return true
		}
	}
	return false
}

func (j *Judge) missing(at time.Duration) []string {
	if len(j.order) == 0 {
		return []string{"no follower to judge"}
	}
	var out []string
	for _, name := range j.order {
		out = append(out, j.followers[name].missing(at, j.source, j.rules)...)
	}
	return out
}

// Lags summarise how late a follower showed what the source showed.
type Lags struct {
	Count             int
	Last, Median, Max time.Duration
}

// Lag is how late a follower was with a label: from the source's first showing of a block to the follower's.
func (j *Judge) Lag(name string, l Label) Lags {
	f := j.followers[name]
	if f == nil || len(f.lags[l]) == 0 {
		return Lags{}
	}
	all := f.lags[l]
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, cmp.Compare[time.Duration])
	return Lags{
		Count: len(all), Last: all[len(all)-1],
		Median: sorted[len(sorted)/2], Max: sorted[len(sorted)-1],
	}
}

// Mirrored is when a follower first mirrored a label.
func (j *Judge) Mirrored(name string, l Label) (time.Duration, bool) {
	f := j.followers[name]
	if f == nil || !f.mirrored[l] {
		return 0, false
	}
	return f.first[l], true
}

package driver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lightcl/op-node/op-node/rollup/follow"
	"github.com/lightcl/op-node/op-service/sources"
)

const (
	// introduceInterval is how often a source is asked again whom it follows.
	introduceInterval = 30 * time.Second
	// doubtInterval is how often one is asked that does not fit.
	doubtInterval = 10 * time.Second
	// lineageMemory is how long what a source said of its path counts while it does not say it again: a balancer may put
	// nodes of several kinds behind one URL.
	lineageMemory = 2 * time.Minute
)

// unfitError says why a source that answers must not be followed.
type unfitError struct {
	reason follow.Reason
	text   string
}

func (e *unfitError) Error() string { return e.text }

// introduction finds out who a source is (spec D1 to D4). It belongs to the goroutine that asks the source.
type introduction struct {
	source Source
	// id is that of this node, identity its chain, and room how many ids a source may name.
	id       string
	identity sources.Identity
	room     int
	warn     func(msg string, ctx ...any)

	askedAt    time.Time
	identified bool
	otherChain bool
	// lineage is the last that the source said, at a time, or why it was refused. cycleAt is when this node was in it last.
	lineage   sources.Lineage
	refused   error
	lineageAt time.Time
	cycleAt   time.Time
}

// check asks the source if it is time to, and fails with an unfitError if it must not be followed. Only the status is
// required of a source: what it does not tell of itself, for whatever reason, is not held against it. It tells how many
// requests it took.
func (i *introduction) check(ctx context.Context, now time.Time) (requests int, err error) {
	interval := introduceInterval
	if i.verdict(now) != nil {
		interval = doubtInterval
	}
	if i.askedAt.IsZero() || now.Sub(i.askedAt) >= interval {
		requests = i.ask(ctx, now)
	}
	return requests, i.verdict(now)
}

func (i *introduction) ask(ctx context.Context, now time.Time) (requests int) {
	first := i.askedAt.IsZero()
	i.askedAt = now
	if !i.identified || i.otherChain {
		requests++
		identity, err := i.source.Identity(ctx)
		switch {
		case err == nil:
			i.identified, i.otherChain = true, identity != i.identity
		case first:
			i.warn("Source does not tell its chain, which is judged by its heads alone", "source", i.source.Name(), "err", err)
		}
	}
	if i.lineageAt.Equal(now) {
		return requests // it came with the answer
	}
	requests++
	if lineage, err := i.source.Lineage(ctx); err == nil || errors.Is(err, sources.ErrMalformed) {
		i.hear(now, lineage, err)
	}
	return requests
}

// hear takes in a path, or the error of one that is no path.
func (i *introduction) hear(now time.Time, lineage sources.Lineage, err error) {
	ids := lineage.IDs()
	if err == nil && len(ids) > i.room {
		err = fmt.Errorf("it follows through %d nodes, and there is room for %d", len(ids), i.room)
	}
	i.lineage, i.refused, i.lineageAt = lineage, err, now
	if slices.Contains(ids, i.id) {
		i.cycleAt = now
	}
}

// verdict says whether the source must not be followed. It forgets what was said too long ago.
func (i *introduction) verdict(now time.Time) error {
	if now.Sub(i.lineageAt) >= lineageMemory {
		i.lineage, i.refused = sources.Lineage{}, nil
	}
	switch {
	case i.otherChain:
		return &unfitError{follow.WrongChain, "source is on another chain"}
	case !i.cycleAt.IsZero() && now.Sub(i.cycleAt) < lineageMemory:
		return &unfitError{follow.Cycle, "source follows this node"}
	case i.refused != nil: // what it hides may be a cycle
		return &unfitError{follow.Malformed, "the path of the source is refused: " + i.refused.Error()}
	default:
		return nil
	}
}

// room is how many ids each source of a node may name, so that the node's own path, with the id of the node and those of
// all sources that count at once, is one that its followers do not refuse, and no source can crowd out another.
func room(quorum, sourceCount int) int {
	if quorum == 1 {
		sourceCount = 1
	}
	return (sources.MaxPath - 1) / sourceCount
}

// pathThrough is the path of a node that rests on these sources, each id once.
func pathThrough(id string, list []candidate) []string {
	path, seen := []string{id}, map[string]bool{id: true}
	for _, c := range list {
		for _, id := range c.lineage.IDs() {
			if !seen[id] {
				seen[id] = true
				path = append(path, id)
			}
		}
	}
	return path
}

// supporters are the sources that the labels rest on: the followed one or, with a quorum, all that are accepted.
func (v *verdicts) supporters(quorum int) (list []candidate) {
	for rank, c := range v.candidates {
		if c.judged && c.reason == follow.None && (quorum > 1 || rank == v.followed) {
			list = append(list, c)
		}
	}
	return list
}

package sources

import (
	"context"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxPath is how many ids a path has at most (spec D2).
	MaxPath = 64
	// maxIDBytes is how long an id is at most.
	maxIDBytes = 64
)

// Lineage is who a source is and whom it follows.
type Lineage struct {
	// ID is the random id that the node took at its start.
	ID string `json:"id"`
	// Path are the ids of the nodes that it follows, directly and through others, its own included.
	Path []string `json:"path"`
}

// IDs are all ids of a lineage, each once: the node's own and those of its path.
func (l Lineage) IDs() (ids []string) {
	seen := map[string]bool{"": true}
	for _, id := range append([]string{l.ID}, l.Path...) {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}

// Lineage asks a source whom it follows. A source that does not serve the method, as any that derives, gives
// ErrMethodMissing. A lineage that is larger than allowed, or has an id that is not fit to be shown, is refused whole with
// ErrMalformed: cut short, it could hide a cycle.
func (c *FollowClient) Lineage(ctx context.Context) (Lineage, error) {
	return ask(ctx, c, "follow_status", decodeLineage)
}

func decodeLineage(data []byte) (Lineage, error) {
	var lineage *Lineage
	if err := decode(data, &lineage); err != nil {
		return Lineage{}, err
	}
	switch {
	case lineage == nil:
		return Lineage{}, errNull
	case lineage.ID == "":
		return Lineage{}, errors.New("no id")
	case len(lineage.Path) > MaxPath:
		return Lineage{}, fmt.Errorf("a path of %d nodes, and %d is the most", len(lineage.Path), MaxPath)
	}
	for _, id := range append([]string{lineage.ID}, lineage.Path...) {
		if err := checkID(id); err != nil {
			return Lineage{}, err
		}
	}
	return *lineage, nil
}

func checkID(id string) error {
	if len(id) > maxIDBytes {
		return fmt.Errorf("an id of %d bytes, and %d is the most", len(id), maxIDBytes)
	}
	for _, r := range id {
		if r == utf8.RuneError || r == ' ' || !unicode.IsPrint(r) {
			return fmt.Errorf("an id with the character %U", r)
		}
	}
	return nil
}

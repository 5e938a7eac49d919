package sources

import (
	"context"
	"errors"
	"fmt"
)

// maxLineage bounds how many nodes a source may name.
const maxLineage = 1000

// Lineage is who a source is and whom it follows.
type Lineage struct {
	// ID is the random id that the node took at its start.
	ID string `json:"id"`
	// Path are the ids of the nodes that it follows, directly and through others, its own included.
	Path []string `json:"path"`
}

// Lineage asks a source whom it follows. A source that does not serve the method, as any that derives, gives
// ErrMethodMissing.
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
	case len(lineage.Path) > maxLineage:
		return Lineage{}, fmt.Errorf("a path of %d nodes", len(lineage.Path))
	}
	return *lineage, nil
}

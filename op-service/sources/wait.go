package sources

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/lightcl/op-node/op-node/rollup/follow"
)

// Update is what a source says after a wait.
type Update struct {
	// Version names the content for the next wait. What it means is up to the source.
	Version string
	Status  follow.Status
	// Lineage is who the source is and whom it follows; LineageErr says why it is refused, as Lineage does.
	Lineage    Lineage
	LineageErr error
}

// StatusAfter asks for the sync status once it is another than the one of a version, or after a wait (spec W2). The answer to the
// empty version comes at once. The timeout of the client does not count the wait. A source that does not serve the method gives
// ErrMethodMissing.
func (c *FollowClient) StatusAfter(ctx context.Context, version string, wait time.Duration) (Update, error) {
	patient := *c
	patient.timeout += wait
	return ask(ctx, &patient, "follow_statusAfter", decodeUpdate, version, wait.Milliseconds())
}

func decodeUpdate(data []byte) (Update, error) {
	var wire *struct {
		Version string         `json:"version"`
		Status  jsontext.Value `json:"status"`
	}
	if err := decode(data, &wire); err != nil {
		return Update{}, err
	}
	if wire == nil {
		return Update{}, errNull
	}
	if wire.Version == "" {
		return Update{}, errors.New("no version")
	}
	if err := checkID(wire.Version); err != nil {
		return Update{}, fmt.Errorf("version: %w", err)
	}
	if wire.Status == nil {
		return Update{}, errors.New("status is missing")
	}
	status, err := decodeStatus(wire.Status)
	if err != nil {
		return Update{}, fmt.Errorf("status: %w", err)
	}
	u := Update{Version: wire.Version, Status: status}
	if u.Lineage, err = decodeLineage(data); err != nil {
		u.LineageErr = failed("follow_statusAfter", err, ErrMalformed)
	}
	return u, nil
}

package sources

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/lightcl/op-node/op-service/secret"
)

// parseURL checks the URL of a source. The error shows the URL as given, but for what may be secret in it.
func parseURL(raw string) (*url.URL, error) {
	if raw == "" {
		return nil, errors.New("the URL of the source is empty")
	}
	shown := secret.Shown(raw)
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("the URL of the source cannot be parsed: %s", shown) // the error has parts of the URL
	}
	switch u.Scheme {
	case "http", "https", "ws", "wss":
	case "":
		return nil, fmt.Errorf("the URL of the source has no scheme: %s, want http, https, ws or wss", shown)
	default:
		return nil, fmt.Errorf("the URL of the source has another scheme: %s, want http, https, ws or wss", shown)
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("the URL of the source has no host: %s", shown)
	}
	return u, nil
}

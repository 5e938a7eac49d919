package sources

import (
	"errors"
	"fmt"
	"net/url"
)

// parseURL checks the URL of a source. The error shows the URL as given, but for what may be secret in it.
func parseURL(raw string) (*url.URL, error) {
	if raw == "" {
		return nil, errors.New("the URL of the source is empty")
	}
	u, err := url.Parse(raw)
	if err != nil {
		var withAddress *url.Error
		if errors.As(err, &withAddress) {
			err = withAddress.Err
		}
		return nil, fmt.Errorf("the URL of the source cannot be parsed: %w", err)
	}
	switch u.Scheme {
	case "http", "https", "ws", "wss":
	case "":
		return nil, fmt.Errorf("the URL of the source has no scheme (%s), want http, https, ws or wss", redact(u))
	default:
		return nil, fmt.Errorf("the URL of the source has the scheme %q (%s), want http, https, ws or wss", u.Scheme, redact(u))
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("the URL of the source has no host (%s)", redact(u))
	}
	return u, nil
}

// redact keeps of a URL what is no secret: scheme, host and port. Providers put tokens in the user info, the path and
// the query alike, so of these it only shows that there are some.
func redact(u *url.URL) string {
	const hidden = "***"
	if u.Opaque != "" {
		return u.Scheme + ":" + hidden
	}
	name := u.Host
	if u.Scheme != "" {
		name = u.Scheme + "://" + name
	}
	if (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" {
		name += "/" + hidden
	}
	return name
}

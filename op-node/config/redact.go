package config

import (
	"net/url"
	"strings"
)

// RedactURL returns what of a URL can be shown: scheme, host and port. User info, path and query are where providers put keys. A
// value that is not a URL of a host, such as the path of an IPC socket, is shown as it is unless it might contain a password.
func RedactURL(raw string) string {
	u, err := url.Parse(raw)
	switch {
	case err == nil && u.Host != "":
		shown := u.Scheme + "://" + u.Host
		if len(u.Path) > 1 || u.RawQuery != "" {
			shown += "/…"
		}
		return shown
	case strings.Contains(raw, "@"):
		return "(not shown)"
	default:
		return raw
	}
}

// String returns the sources as they can be shown.
func (f Follow) String() string {
	shown := make([]string, 0, len(f.Sources))
	for _, source := range f.Sources {
		shown = append(shown, RedactURL(source))
	}
	return strings.Join(shown, ",")
}

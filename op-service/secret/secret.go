// Package secret keeps what providers and operators put into endpoints, such as keys in the path of a URL, out of everything
// that is shown: names of endpoints, errors of libraries, lines of logs.
package secret

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// hidden stands where something is not shown.
const hidden = "***"

// notShown stands for an endpoint of which nothing is shown.
const notShown = "(not shown)"

// Shown returns what of an endpoint can be shown. Of a URL these are scheme, host and port, and the last segment of the path
// if it is a number, as the chain ids of a node of many chains are: user info, path, query and fragment are where keys are. A
// name of a file is shown if it is that of an IPC socket. Of anything else nothing is, unless it is too short for a key:
// who mistypes a URL must not find it in the log.
func Shown(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err == nil && u.Host != "" {
		return shownURL(u)
	}
	switch {
	case strings.ContainsAny(endpoint, "@?#"):
		return notShown
	case strings.HasSuffix(endpoint, ".ipc"):
		return endpoint
	case len(endpoint) < 16 && !strings.Contains(endpoint, "/"):
		return endpoint
	default:
		return notShown
	}
}

func shownURL(u *url.URL) string {
	name := u.Host
	if u.Scheme != "" {
		name = u.Scheme + "://" + name
	}
	path, last := strings.TrimSuffix(u.Path, "/"), ""
	if at := strings.LastIndex(path, "/"); at >= 0 {
		if _, err := strconv.ParseUint(path[at+1:], 10, 64); err == nil {
			path, last = path[:at], path[at:]
		}
	}
	if path != "" || u.RawQuery != "" || u.Fragment != "" {
		name += "/" + hidden
	}
	return name + last
}

// Names returns a name for each endpoint of a list: what of it can be shown and, where several would have the same name, a
// number that tells them apart. The names depend on the list alone.
func Names(endpoints []string) []string {
	names, count := make([]string, len(endpoints)), make(map[string]int)
	for i, endpoint := range endpoints {
		names[i] = Shown(endpoint)
		count[names[i]]++
		if n := count[names[i]]; n > 1 {
			names[i] += "#" + strconv.Itoa(n)
		}
	}
	return names
}

// shortest is how long a part of a URL or a header is at least to be hidden wherever it appears, in bytes. Replacing shorter
// ones would leave nothing to read.
const shortest = 6

// looksRandom tells whether a text may have been made by chance: it is long and not just a word.
func looksRandom(text string) bool {
	return len(text) >= 8 && strings.ContainsFunc(text, func(r rune) bool { return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' })
}

// OfURL returns the parts of an endpoint that may be secret, in the forms in which they may appear.
func OfURL(endpoint string) []string {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		if Shown(endpoint) == endpoint {
			return nil
		}
		parts := []string{endpoint}
		for part := range strings.FieldsFuncSeq(endpoint, func(r rune) bool { return strings.ContainsRune("/@?&=#: ", r) }) {
			if looksRandom(part) {
				parts = append(parts, part)
			}
		}
		return parts
	}
	var parts []string
	if u.User != nil {
		password, _ := u.User.Password()
		name := u.User.Username()
		parts = append(parts, u.User.String(), password, url.PathEscape(password), base64.StdEncoding.EncodeToString([]byte(name+":"+password)))
		if password == "" || looksRandom(name) {
			parts = append(parts, name, base64.StdEncoding.EncodeToString([]byte(u.User.String())))
		}
	}
	for _, path := range []string{u.Path, u.EscapedPath()} {
		parts = append(parts, strings.TrimSuffix(path, "/"))
		for segment := range strings.SplitSeq(path, "/") {
			if looksRandom(segment) {
				parts = append(parts, segment)
			}
		}
	}
	parts = append(parts, u.RawQuery, u.Fragment)
	for _, values := range u.Query() {
		for _, value := range values {
			if looksRandom(value) {
				parts = append(parts, value, url.QueryEscape(value))
			}
		}
	}
	return slices.DeleteFunc(parts, func(part string) bool {
		_, err := strconv.ParseUint(strings.Trim(part, "/"), 10, 64)
		return part == "" || err == nil // a chain id
	})
}

// OfHeader returns the values of HTTP headers, whole and without a word such as Bearer in front.
func OfHeader(header http.Header) []string {
	var parts []string
	for _, values := range header {
		for _, value := range values {
			parts = append(parts, value)
			if _, rest, ok := strings.Cut(value, " "); ok {
				parts = append(parts, rest)
			}
		}
	}
	return parts
}

package sources

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/gorilla/websocket"
)

// Every failed call wraps exactly one of ErrFetch and ErrMalformed.
var (
	// ErrFetch means that the source gave no answer: unreachable, timed out, refused by HTTP status or by a JSON-RPC error.
	ErrFetch = errors.New("source did not answer")
	// ErrMalformed means that the source answered with something that is not what was asked for.
	ErrMalformed = errors.New("source sent a malformed answer")
	// ErrMethodMissing means that the source does not serve the method. It comes wrapped together with ErrFetch.
	ErrMethodMissing = errors.New("method not served")
	// ErrArguments means that the source serves the method, and not with these arguments. It comes wrapped together with
	// ErrFetch.
	ErrArguments = errors.New("arguments not taken")
	// ErrNotFound means that the source has no such block or record. It comes wrapped together with ErrFetch.
	ErrNotFound = errors.New("not found")

	errTooLarge = errors.New("the answer is larger than allowed")
)

// Error codes of JSON-RPC.
const (
	methodNotFound = -32601
	invalidParams  = -32602
)

// maxErrorText is how much of what a source says goes into an error, in bytes.
const maxErrorText = 200

// callError says why a call failed: in one short line, without the URL, and without anything that steers a terminal.
type callError struct {
	text  string
	kinds []error
}

func (e *callError) Error() string   { return e.text }
func (e *callError) Unwrap() []error { return e.kinds }

// failed makes the error of a call. Of what stopped it, a context that ended can be told from the rest.
func failed(method string, cause error, kinds ...error) error {
	for _, ended := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(cause, ended) {
			kinds = append(kinds, ended)
		}
	}
	return &callError{text: fmt.Sprintf("%s: %s: %s", kinds[0], method, clip(cause.Error())), kinds: kinds}
}

// classify turns what a transport returned into one of our errors.
func classify(method string, err error) error {
	var status *statusError
	if withAddress := new(url.Error); errors.As(err, &withAddress) {
		return failed(method, withAddress.Err, ErrFetch)
	}
	switch {
	case errors.As(err, &status):
		return failed(method, status, ErrFetch)
	case errors.Is(err, errTooLarge), errors.Is(err, websocket.ErrReadLimit):
		return failed(method, errTooLarge, ErrMalformed)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return failed(method, errCutOff, ErrMalformed)
	case errors.Is(err, ErrMalformed):
		return failed(method, errors.New(strings.TrimPrefix(err.Error(), ErrMalformed.Error()+": ")), ErrMalformed)
	default:
		return failed(method, err, ErrFetch)
	}
}

// refusal makes an error of a JSON-RPC error.
func refusal(method string, a answer) error {
	text := fmt.Errorf("error %d: %s", a.err.Code, a.err.Message)
	switch {
	case a.err.Code == methodNotFound:
		return failed(method, fmt.Errorf("%w (%w)", ErrMethodMissing, text), ErrFetch, ErrMethodMissing)
	case a.err.Code == invalidParams:
		return failed(method, fmt.Errorf("%w (%w)", ErrArguments, text), ErrFetch, ErrArguments)
	case strings.Contains(a.err.Message, "not found"): // as upstream's own client tells it
		return failed(method, fmt.Errorf("%w (%w)", ErrNotFound, text), ErrFetch, ErrNotFound)
	default:
		return failed(method, text, ErrFetch)
	}
}

// statusError is an HTTP status that is no success, with the start of the page that came with it.
type statusError struct {
	code int
	page []byte
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("HTTP status %d %s", e.code, http.StatusText(e.code))
	if e.code >= 300 && e.code < 400 {
		return text + ": redirects are not followed, give the final URL"
	}
	if page := clip(string(e.page)); page != "" {
		text += ": " + page
	}
	return text
}

// clip makes foreign text fit for a log line: one line, short, and without characters that are not shown as themselves,
// such as controls, C1 and bidirectional ones included.
func clip(text string) string {
	if len(text) > maxErrorText {
		text = text[:maxErrorText] + "..."
	}
	text = strings.ToValidUTF8(text, "?")
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }), " ")
}

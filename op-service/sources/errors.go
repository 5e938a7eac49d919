package sources

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/ethereum/go-ethereum/rpc"
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
	// ErrNotFound means that the source has no such block or record. It comes wrapped together with ErrFetch.
	ErrNotFound = errors.New("not found")

	errTooLarge = errors.New("the answer is larger than allowed")
)

// methodNotFound is the JSON-RPC error code of a method that the server does not have.
const methodNotFound = -32601

// maxErrorText is how much of what a source says goes into an error, in bytes.
const maxErrorText = 200

// classify turns what the RPC client returned into one of our errors, and strips the URL and excess text from it.
func classify(method string, err error) error {
	var (
		reply       rpc.Error
		status      rpc.HTTPError
		syntax      *json.SyntaxError
		wrongType   *json.UnmarshalTypeError
		withAddress *url.Error
	)
	switch {
	case errors.As(err, &reply):
		text := fmt.Sprintf("error %d: %s", reply.ErrorCode(), clip(reply.Error()))
		if reply.ErrorCode() == methodNotFound {
			return fmt.Errorf("%w: %s: %w (%s)", ErrFetch, method, ErrMethodMissing, text)
		}
		if strings.Contains(reply.Error(), "not found") { // as upstream's own client tells it
			return fmt.Errorf("%w: %s: %w (%s)", ErrFetch, method, ErrNotFound, text)
		}
		return fmt.Errorf("%w: %s: %s", ErrFetch, method, text)
	case errors.As(err, &status):
		return fmt.Errorf("%w: %s: %s", ErrFetch, method, describeStatus(status))
	case errors.Is(err, errTooLarge), errors.Is(err, websocket.ErrReadLimit):
		return fmt.Errorf("%w: %s: %w", ErrMalformed, method, errTooLarge)
	case errors.As(err, &withAddress):
		return fmt.Errorf("%w: %s: %w", ErrFetch, method, withAddress.Err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %s: the answer is empty or cut off", ErrMalformed, method)
	case errors.Is(err, rpc.ErrNoResult), errors.As(err, &syntax), errors.As(err, &wrongType):
		return fmt.Errorf("%w: %s: %s", ErrMalformed, method, clip(err.Error()))
	default:
		return fmt.Errorf("%w: %s: %w", ErrFetch, method, err)
	}
}

func describeStatus(e rpc.HTTPError) string {
	text := fmt.Sprintf("HTTP status %d %s", e.StatusCode, http.StatusText(e.StatusCode))
	if e.StatusCode >= 300 && e.StatusCode < 400 {
		return text + ": redirects are not followed, give the final URL"
	}
	if body := clip(string(e.Body)); body != "" {
		text += ": " + body
	}
	return text
}

// clip makes foreign text fit for a log line: one line, printable, short.
func clip(text string) string {
	if len(text) > maxErrorText {
		text = text[:maxErrorText] + "..."
	}
	text = strings.ToValidUTF8(text, "?")
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
}

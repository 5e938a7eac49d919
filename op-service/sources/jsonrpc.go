package sources

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ethereum/go-ethereum/rpc"
	strict "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// decode reads foreign JSON: names of fields are exact, none comes twice anywhere, text is UTF-8, and nothing follows.
func decode(data []byte, into any) error {
	err := strict.Unmarshal(data, into)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errCutOff
	default:
		return errors.New(clip(strings.TrimPrefix(strings.TrimPrefix(err.Error(), "jsontext: "), "json: ")))
	}
}

// call is a request of JSON-RPC. It implements rpc.RecordedMsg.
type call struct {
	id     uint64
	method string
	params []any
}

func (c call) encode() ([]byte, error) {
	return json.Marshal(struct {
		Version string `json:"jsonrpc"`
		ID      uint64 `json:"id"`
		Method  string `json:"method"`
		Params  []any  `json:"params"`
	}{"2.0", c.id, c.method, append([]any{}, c.params...)})
}

// answer is what comes back. It implements rpc.RecordedMsg.
type answer struct {
	call
	result jsontext.Value
	err    *rpc.JsonError
}

// wireAnswer is a message of the other side. Method is there to tell a request or a notification, which no source has to
// send, from an answer.
type wireAnswer struct {
	ID     jsontext.Value `json:"id"`
	Method jsontext.Value `json:"method"`
	Result jsontext.Value `json:"result"`
	Error  *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

var (
	errNotAsked = errors.New("a request or a message that was not asked for")
	errNoResult = errors.New("neither result nor error")
	errCutOff   = errors.New("the answer is empty or cut off")
	errNull     = errors.New("the result is null")
)

// decodeAnswer reads a message that has to be an answer, with the id that it is for.
func decodeAnswer(data []byte) (id string, a answer, err error) {
	var wire *wireAnswer
	if err := decode(data, &wire); err != nil {
		return "", answer{}, err
	}
	switch {
	case wire == nil:
		return "", answer{}, errNoResult
	case wire.Method != nil:
		return "", answer{}, errNotAsked
	case wire.Error != nil:
		a.err = &rpc.JsonError{Code: wire.Error.Code, Message: wire.Error.Message}
	case wire.Result == nil:
		return "", answer{}, errNoResult
	}
	a.result = wire.Result
	return string(bytes.TrimSpace(wire.ID)), a, nil
}

// MsgIsNotification implements rpc.RecordedMsg, as the other methods do.
func (c call) MsgIsNotification() bool    { return false }
func (c call) MsgIsResponse() bool        { return false }
func (c call) MsgID() json.RawMessage     { return fmt.Append(nil, c.id) }
func (c call) MsgMethod() string          { return c.method }
func (c call) MsgError() *rpc.JsonError   { return nil }
func (c call) MsgResult() json.RawMessage { return nil }
func (c call) MsgParams() json.RawMessage {
	params, _ := json.Marshal(c.params) // as encode has done already
	return params
}

// MsgIsResponse implements rpc.RecordedMsg, as the other methods do.
func (a answer) MsgIsResponse() bool        { return true }
func (a answer) MsgError() *rpc.JsonError   { return a.err }
func (a answer) MsgResult() json.RawMessage { return json.RawMessage(a.result) }

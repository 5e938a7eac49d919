package modelel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// Method is one of the calls of [Engine], by the short name it has in a [Log].
type Method string

// The methods of [Engine].
const (
	FCU        Method = "FCU"
	NewPayload Method = "newPayload"
	GetPayload Method = "getPayload"
	ByLabel    Method = "byLabel"
	ByHash     Method = "byHash"
	ByNumber   Method = "byNumber"
)

// Call is a call to an engine and its answer.
type Call struct {
	Method Method
	State  eth.ForkchoiceState // of an FCU
	Attr   bool                // an FCU that asked for a block
	Block  common.Hash         // the block of a newPayload, or the one that was returned
	Err    error               // that was returned

	args, answer string
}

// String shows the call in one line, such as "FCU head=15 safe=10 fin=5 → VALID".
func (c Call) String() string {
	if c.Err != nil {
		return fmt.Sprintf("%s %s → %s", c.Method, c.args, describe(c.Err))
	}
	return fmt.Sprintf("%s %s → %s", c.Method, c.args, c.answer)
}

// Log is calls to an engine in the order they were answered. It is safe for concurrent use.
type Log struct {
	names func(common.Hash) string

	mu    sync.Mutex
	calls []Call
}

func newLog(names func(common.Hash) string) *Log { return &Log{names: names} }

// Calls returns what was recorded, of all methods or of those given.
func (l *Log) Calls(methods ...Method) []Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Call
	for _, c := range l.calls {
		if matches(methods, c.Method) {
			out = append(out, c)
		}
	}
	return out
}

// Count returns how many calls were recorded, of all methods or of those given.
func (l *Log) Count(methods ...Method) int { return len(l.Calls(methods...)) }

// Take returns what was recorded and starts afresh.
func (l *Log) Take() []Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls := l.calls
	l.calls = nil
	return calls
}

// String shows the calls, a line each.
func (l *Log) String() string { return Lines(l.Calls()) }

// Lines shows calls, a line each.
func Lines(calls []Call) string {
	var b strings.Builder
	for _, c := range calls {
		b.WriteString(c.String())
		b.WriteByte('\n')
	}
	return b.String()
}

func matches(methods []Method, m Method) bool {
	for _, want := range methods {
		if want == m {
			return true
		}
	}
	return len(methods) == 0
}

func (l *Log) add(c Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, c)
}

func (l *Log) forkchoice(state eth.ForkchoiceState, attr *eth.PayloadAttributes, res *eth.ForkchoiceUpdatedResult, err error) {
	args := fmt.Sprintf("head=%s safe=%s fin=%s",
		l.names(state.HeadBlockHash), l.names(state.SafeBlockHash), l.names(state.FinalizedBlockHash))
	if attr != nil {
		args += fmt.Sprintf(" build@%d", attr.Timestamp)
	}
	answer := "nil"
	if res != nil {
		answer = l.status(&res.PayloadStatus)
	}
	l.add(Call{Method: FCU, State: state, Attr: attr != nil, Err: err, args: args, answer: answer})
}

func (l *Log) newPayload(payload *eth.ExecutionPayload, res *eth.PayloadStatusV1, err error) {
	l.add(Call{Method: NewPayload, Block: payload.BlockHash, Err: err, args: l.names(payload.BlockHash), answer: l.status(res)})
}

func (l *Log) getPayload(info eth.PayloadInfo, res *eth.ExecutionPayloadEnvelope, err error) {
	c := Call{Method: GetPayload, Err: err, args: fmt.Sprintf("@%d", info.Timestamp), answer: "nil"}
	if res != nil && res.ExecutionPayload != nil {
		c.Block = res.ExecutionPayload.BlockHash
		c.answer = l.names(c.Block)
	}
	l.add(c)
}

func (l *Log) lookup(method Method, args string, ref eth.L2BlockRef, err error) {
	l.add(Call{Method: method, Block: ref.Hash, Err: err, args: args, answer: l.names(ref.Hash)})
}

func (l *Log) status(s *eth.PayloadStatusV1) string {
	switch {
	case s == nil:
		return "nil"
	case s.Status == "":
		return "empty"
	case s.Status == eth.ExecutionInvalid && s.LatestValidHash != nil:
		return fmt.Sprintf("%s after %s", s.Status, l.names(*s.LatestValidHash))
	default:
		return string(s.Status)
	}
}

// describe puts an error into words that do not depend on where it was wrapped.
func describe(err error) string {
	var coded rpc.Error
	switch {
	case errors.Is(err, ethereum.NotFound):
		return "not found"
	case errors.As(err, &coded):
		return fmt.Sprintf("error %d", coded.ErrorCode())
	case errors.Is(err, ErrDropped):
		return "error: " + ErrDropped.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	default:
		return "error: " + err.Error()
	}
}

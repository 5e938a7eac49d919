package rpcserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/rpc"
)

// Reason says which limit a request met. It is the value of a metric's label.
type Reason string

// The reasons.
const (
	// TooLong is a request with more bytes than allowed.
	TooLong Reason = "body"
	// TooMany is a request with more calls than allowed, or with one that has to come alone.
	TooMany Reason = "batch"
	// LongName is a request with a method name longer than any.
	LongName Reason = "name"
	// LongAnswer is a batch that was answered in part, because its answers were too long.
	LongAnswer Reason = "answer"
	// Busy is a request that came while too many others were worked on.
	Busy Reason = "busy"
)

// Reasons are all reasons.
func Reasons() []Reason { return []Reason{TooLong, TooMany, LongName, LongAnswer, Busy} }

const (
	// maxName is longer than the name of any method, in bytes.
	maxName = 256
	// slotWait is how long a request waits for others to end.
	slotWait = time.Second
	// freeBody is how much of a request is read whatever other requests are being read, in bytes. Most have less.
	freeBody = 4 << 10
	// chunk is how much more is read at a time.
	chunk = 64 << 10
	// longBodies is how many requests of the greatest length may be in memory at the same time.
	longBodies = 4
)

// Codes of JSON-RPC errors: of the standard, and of Ethereum's for a limit that was met.
const (
	invalidRequest = -32600
	limitExceeded  = -32005
)

// serveCalls lets a request through to geth if it is within the limits.
func (s *Server) serveCalls(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.ContentLength > int64(s.limits.Body) {
		if r.Method == http.MethodPost {
			s.refused(TooLong)
		}
		s.rpc.ServeHTTP(w, r) // geth says what is wrong without reading on
		return
	}
	long, done, err := s.read(r.Body)
	defer done()
	if err != nil {
		s.refuse(w, s.unread(err), request{})
		return
	}
	places := reservation{s: s}
	defer places.free()
	// How many calls there are is only known once it is parsed, which takes memory too.
	if long.size > freeBody && !places.take(r.Context(), s.share(long.size, s.limits.Body)) {
		s.refuse(w, s.busy(), request{})
		return
	}
	req := scan(long.reader(), s.limits.Batch)
	if refusal := s.judge(req); refusal != nil {
		s.refuse(w, *refusal, req)
		return
	}
	if s.waits(req.method) {
		places.free()
	} else if !places.take(r.Context(), s.share(req.calls, s.limits.Batch)) {
		s.refuse(w, s.busy(), req)
		return
	}
	weight := new(atomic.Int64)
	r = r.WithContext(context.WithValue(r.Context(), weightKey{}, weight))
	r.Body, r.ContentLength = io.NopCloser(long.reader()), int64(long.size)
	s.rpc.ServeHTTP(w, r)
	if req.batch && weight.Load() > int64(s.limits.Answer) {
		s.refused(LongAnswer)
	}
}

// judge tells what is wrong with a request; nil: nothing.
func (s *Server) judge(req request) *refusal {
	switch {
	case req.calls > s.limits.Batch:
		return &refusal{TooMany, http.StatusOK, invalidRequest, fmt.Sprintf("batch too large: the limit is %d calls", s.limits.Batch)}
	case req.longest > maxName:
		return &refusal{LongName, http.StatusOK, invalidRequest, fmt.Sprintf("method name too long: %d bytes, the limit is %d", req.longest, maxName)}
	}
	if req.batch {
		for _, method := range s.waiting {
			if req.methods[method] {
				return &refusal{TooMany, http.StatusOK, invalidRequest, method + " cannot be part of a batch"}
			}
		}
	}
	return nil
}

// share is how many places a request takes of those for requests that are worked on. What is as great as the limit takes half of
// them, for it takes the memory of many.
func (s *Server) share(of, limit int) int64 {
	return int64(max(1, min(of, limit)*(s.limits.Requests/2)/limit))
}

// reservation is what a request has of the places.
type reservation struct {
	s    *Server
	held int64
}

// take makes it that many places, unless it has as many. It waits for them, but not long, and holds none meanwhile.
func (r *reservation) take(ctx context.Context, need int64) bool {
	if r.held >= need {
		return true
	}
	r.free()
	ctx, cancel := context.WithTimeout(ctx, slotWait)
	defer cancel()
	if err := r.s.places.Acquire(ctx, need); err != nil {
		return false
	}
	r.held = need
	return true
}

// free gives all places back.
func (r *reservation) free() {
	r.s.places.Release(r.held)
	r.held = 0
}

// busy is the refusal of a request that found no place.
func (s *Server) busy() refusal {
	return refusal{Busy, http.StatusServiceUnavailable, limitExceeded,
		fmt.Sprintf("too many requests at the same time (limit %d), try again", s.limits.Requests)}
}

var (
	errTooLong = errors.New("too long")
	errBusy    = errors.New("too many long requests")
)

// body is a request in memory, in the pieces in which it was read.
type body struct {
	pieces [][]byte
	size   int
}

func (b body) reader() io.Reader {
	readers := make([]io.Reader, len(b.pieces))
	for i, piece := range b.pieces {
		readers[i] = bytes.NewReader(piece)
	}
	return io.MultiReader(readers...)
}

// read reads a request into memory. What goes beyond its first bytes comes out of a budget that all requests share, so that
// clients that send much, or slowly, fill no memory. done gives it back, and is never nil.
func (s *Server) read(from io.Reader) (b body, done func(), err error) {
	var taken int64
	done = func() { s.bodies.Add(-taken) }
	for length := freeBody; ; length = chunk {
		if length == chunk {
			taken += chunk
			if s.bodies.Add(chunk) > longBodies*int64(s.limits.Body+chunk) {
				return body{}, done, errBusy
			}
		}
		piece := make([]byte, length)
		n, err := io.ReadFull(from, piece)
		b.pieces, b.size = append(b.pieces, piece[:n]), b.size+n
		switch {
		case b.size > s.limits.Body:
			return body{}, done, errTooLong
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return b, done, nil
		case err != nil:
			return body{}, done, err
		}
	}
}

// request is what the guard has to know of a request.
type request struct {
	batch   bool
	calls   int             // counted up to one more than allowed
	method  string          // of a request that is no batch
	methods map[string]bool // of a batch
	longest int             // bytes of the longest name of a method
	id      json.RawMessage // of the first call that has one
}

// scan finds out what a request asks for. What is no JSON counts as one call: geth says what is wrong with it.
func scan(text io.Reader, limit int) request {
	req := request{methods: make(map[string]bool)}
	begin := bufio.NewReader(text)
	for {
		first, err := begin.ReadByte()
		if err != nil {
			return req
		}
		if strings.IndexByte(" \t\r\n", first) < 0 {
			req.batch = first == '['
			_ = begin.UnreadByte()
			break
		}
	}
	in := json.NewDecoder(begin)
	if req.batch {
		if _, err := in.Token(); err != nil {
			return req
		}
	}
	for req.calls <= limit && in.More() {
		var call struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
		}
		var wrongType *json.UnmarshalTypeError
		if err := in.Decode(&call); err != nil && !errors.As(err, &wrongType) {
			break
		}
		req.calls++
		if req.longest = max(req.longest, len(call.Method)); req.id == nil {
			req.id = call.ID
		}
		if !req.batch {
			req.method = call.Method
			break
		}
		if len(call.Method) <= maxName {
			req.methods[call.Method] = true
		}
	}
	return req
}

// refusal is the answer to a request that is not served.
type refusal struct {
	reason Reason
	status int // of HTTP
	code   int // of JSON-RPC
	text   string
}

// unread says what is wrong with a request that could not be read.
func (s *Server) unread(err error) refusal {
	switch {
	case errors.Is(err, errTooLong):
		return refusal{TooLong, http.StatusRequestEntityTooLarge, invalidRequest,
			fmt.Sprintf("request too long: the limit is %d bytes", s.limits.Body)}
	case errors.Is(err, errBusy):
		return refusal{Busy, http.StatusServiceUnavailable, limitExceeded, "too many long requests at the same time, try again"}
	default:
		return refusal{"", http.StatusBadRequest, invalidRequest, "the request could not be read"}
	}
}

// refuse answers in the form that the client expects: a batch gets a batch, with the id of its first call.
func (s *Server) refuse(w http.ResponseWriter, why refusal, req request) {
	if why.reason != "" {
		s.refused(why.reason)
	}
	answer := struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Error   any             `json:"error"`
	}{Version: "2.0", ID: req.id, Error: struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}{why.code, why.text}}
	w.Header().Set("Content-Type", "application/json")
	if why.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(why.status)
	if req.batch {
		_ = json.NewEncoder(w).Encode([]any{answer})
	} else {
		_ = json.NewEncoder(w).Encode(answer)
	}
}

// weightKey is where a request's context has the bytes of its results so far.
type weightKey struct{}

// weighing is a recorder that adds up how long the results of a request are.
type weighing struct{ rpc.Recorder }

// RecordIncoming implements rpc.Recorder.
func (r weighing) RecordIncoming(ctx context.Context, msg rpc.RecordedMsg) rpc.RecordDone {
	done := r.Recorder.RecordIncoming(ctx, msg)
	weight, ok := ctx.Value(weightKey{}).(*atomic.Int64)
	if msg.MsgIsNotification() {
		return done // it gets no answer
	}
	return func(ctx context.Context, in, out rpc.RecordedMsg) {
		if ok && out.MsgError() == nil {
			weight.Add(int64(len(out.MsgResult())))
		}
		if done != nil {
			done(ctx, in, out)
		}
	}
}

package testutil

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Open runs a test of a defect that is known and not mended yet: the body shows what is right, and so fails. While it
// does, Open logs what it said and lets the test pass. Once it passes, Open fails: the defect is mended, and whoever
// mended it takes Open away, so that the body is a test like any other. What else is excused for the sake of the defect
// has the comment "open" with its name, as in "open A1".
//
// The body runs in a goroutine of its own, which a fatal failure ends; it may be in a testing/synctest bubble. It must not
// skip.
func Open(t testing.TB, defect string, body func(t testing.TB)) {
	t.Helper()
	r := &recording{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				r.Errorf("panic: %v", p)
			}
		}()
		body(r)
	}()
	<-done
	switch said, failed := r.result(); {
	case r.skipped:
		t.Errorf("the test of defect %s skips: it shows nothing", defect)
	case failed:
		t.Logf("defect %s is open:\n%s", defect, said)
	default:
		t.Errorf("defect %s is mended: remove Open, and what has the comment \"open %s\"", defect, defect)
	}
}

// recording is a test whose failures are kept to itself.
type recording struct {
	testing.TB

	mu      sync.Mutex
	lines   []string
	failed  bool
	skipped bool
}

func (r *recording) result() (said string, failed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n"), r.failed
}

func (r *recording) say(fail bool, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = r.failed || fail
	if text = strings.TrimSpace(text); text != "" {
		r.lines = append(r.lines, text)
	}
}

// Failed implements testing.TB, as do the methods below.
func (r *recording) Failed() bool {
	_, failed := r.result()
	return failed
}

func (r *recording) Log(args ...any)                   { r.say(false, fmt.Sprintln(args...)) }
func (r *recording) Logf(format string, args ...any)   { r.say(false, fmt.Sprintf(format, args...)) }
func (r *recording) Fail()                             { r.say(true, "") }
func (r *recording) Error(args ...any)                 { r.say(true, fmt.Sprintln(args...)) }
func (r *recording) Errorf(format string, args ...any) { r.say(true, fmt.Sprintf(format, args...)) }

func (r *recording) FailNow() {
	r.Fail()
	runtime.Goexit()
}

func (r *recording) Fatal(args ...any) {
	r.Error(args...)
	runtime.Goexit()
}

func (r *recording) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recording) SkipNow() {
	r.mu.Lock()
	r.skipped = true
	r.mu.Unlock()
	runtime.Goexit()
}

func (r *recording) Skip(...any)          { r.SkipNow() }
func (r *recording) Skipf(string, ...any) { r.SkipNow() }
func (r *recording) Skipped() bool        { return r.skipped }

package child

import (
	"bytes"
	"fmt"
	"os"
	"sync"
)

const (
	tailLines = 60
	// maxLine cuts a line that never ends.
	maxLine = 64 << 10
)

// output splits what a child prints into lines. It is written to by one goroutine and read by any.
type output struct {
	file   *os.File
	onLine func(string)
	line   []byte // the unfinished line

	mu   sync.Mutex
	last []string
}

func newOutput(path string, onLine func(string)) (*output, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	if onLine == nil {
		onLine = func(string) {}
	}
	return &output{file: file, onLine: onLine}, nil
}

// Write implements io.Writer. It takes everything: a full disk must not stop the child.
func (o *output) Write(p []byte) (int, error) {
	_, _ = o.file.Write(p)
	for rest := p; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			o.line = append(o.line, rest...)
			if len(o.line) >= maxLine {
				o.flush()
			}
			break
		}
		o.line = append(o.line, rest[:i]...)
		o.flush()
		rest = rest[i+1:]
	}
	return len(p), nil
}

// flush hands over the line read so far.
func (o *output) flush() {
	line := string(bytes.TrimSuffix(o.line, []byte("\r")))
	o.line = o.line[:0]
	o.mu.Lock()
	if len(o.last) == tailLines {
		o.last = append(o.last[:0], o.last[1:]...)
	}
	o.last = append(o.last, line)
	o.mu.Unlock()
	o.onLine(line)
}

func (o *output) close() error {
	if len(o.line) > 0 {
		o.flush()
	}
	return o.file.Close()
}

func (o *output) tail() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.last...)
}

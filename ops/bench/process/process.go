// Package process tells what a process uses, its own or another one.
package process

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"runtime/metrics"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of processor time in /proc; Linux has it at a hundredth of a second on all common machines.
const tick = 10 * time.Millisecond

// CPU is the processor time that a process has used.
func CPU(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in brackets, may contain anything; the two times are the 12th and 13th field after it.
	_, rest, ok := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0, fmt.Errorf("process %d: stat is not understood", pid)
	}
	var sum time.Duration
	for _, field := range fields[11:13] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("process %d: %w", pid, err)
		}
		sum += time.Duration(ticks) * tick
	}
	return sum, nil
}

// Memory is the resident memory of a process in bytes: all of it, and the part that is not pages of files such as the
// program itself.
func Memory(pid int) (resident, anonymous uint64, err error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 || fields[2] != "kB" {
			continue
		}
		kb, err := strconv.ParseUint(fields[1], 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("process %d: %w", pid, err)
		}
		switch fields[0] {
		case "VmRSS:":
			resident = kb << 10
		case "RssAnon:":
			anonymous = kb << 10
		}
	}
	if resident == 0 {
		return 0, 0, fmt.Errorf("process %d has no memory", pid)
	}
	return resident, anonymous, nil
}

// Usage is what a Go process has used up to a moment.
type Usage struct {
	CPU time.Duration
	// Objects and Bytes are what was allocated on the heap.
	Objects, Bytes uint64
}

// Minus is the usage since an earlier moment.
func (u Usage) Minus(before Usage) Usage {
	return Usage{CPU: u.CPU - before.CPU, Objects: u.Objects - before.Objects, Bytes: u.Bytes - before.Bytes}
}

// Own is the usage of this process.
func Own() Usage {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // cannot fail with these arguments
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	return Usage{
		CPU:     time.Duration(r.Utime.Nano() + r.Stime.Nano()),
		Objects: samples[0].Value.Uint64(), Bytes: samples[1].Value.Uint64(),
	}
}

var (
	mallocs = regexp.MustCompile(`(?m)^go_memstats_mallocs_total (\S+)$`)
	alloced = regexp.MustCompile(`(?m)^go_memstats_alloc_bytes_total (\S+)$`)
)

// Other is the usage of another process; its metrics server, which serves the Go collector's, is asked once.
func Other(ctx context.Context, pid int, metricsURL string) (Usage, error) {
	cpu, err := CPU(pid)
	if err != nil {
		return Usage{}, err
	}
	text, err := get(ctx, metricsURL)
	if err != nil {
		return Usage{}, err
	}
	u := Usage{CPU: cpu}
	for pattern, into := range map[*regexp.Regexp]*uint64{mallocs: &u.Objects, alloced: &u.Bytes} {
		found := pattern.FindStringSubmatch(text)
		if found == nil {
			return Usage{}, fmt.Errorf("%s: no %s", metricsURL, pattern)
		}
		value, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			return Usage{}, fmt.Errorf("%s: %w", metricsURL, err)
		}
		*into = uint64(value)
	}
	return u, nil
}

func get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var b strings.Builder
	if _, err := bufio.NewReader(resp.Body).WriteTo(&b); err != nil {
		return "", fmt.Errorf("%s: %w", url, err)
	}
	return b.String(), nil
}

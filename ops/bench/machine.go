package main

import (
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"github.com/lightcl/op-node/ops/bench/report"
)

// machine describes where this runs, as far as the system tells.
func machine() report.Machine {
	m := report.Machine{CPUs: runtime.NumCPU(), Model: runtime.GOARCH, OS: runtime.GOOS, Go: runtime.Version(), Load: "unknown"}
	if found := match("/proc/cpuinfo", `(?m)^model name\s*:\s*(.+)$`); found != "" {
		m.Model = found
	}
	if kb, err := strconv.Atoi(match("/proc/meminfo", `(?m)^MemTotal:\s*(\d+) kB`)); err == nil {
		m.MemoryMB = kb >> 10
	}
	if load := match("/proc/loadavg", `^(\S+)`); load != "" {
		m.Load = load
	}
	if version := match("/proc/version", `^(\S+ version \S+)`); version != "" {
		m.OS = strings.Replace(version, " version ", " ", 1)
	}
	return m
}

func match(path, pattern string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	if found := regexp.MustCompile(pattern).FindSubmatch(text); found != nil {
		return string(found[1])
	}
	return ""
}

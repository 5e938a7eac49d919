package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lightcl/op-node/ops/patches/apply"
	"github.com/lightcl/op-node/ops/patches/series"
	"github.com/lightcl/op-node/ops/patches/tree"
)

// everything is what is tested with and without the series.
var everything = []string{"./op-node/...", "./op-supernode/...", "./op-service/event/...", "./op-service/sources/..."}

// devstack uses what the series touches, and cannot run here: it is vetted.
const devstack = "./op-devstack/sysgo"

// maxVetLines is how much of what vet says is shown.
const maxVetLines = 30

// vet checks that packages and their tests compile, and more.
func vet(ctx context.Context, t *tree.Tree, packages []string) error {
	out, err := t.Go(ctx, append([]string{"vet"}, packages...)...)
	if err != nil {
		lines := strings.SplitAfter(out, "\n")
		return fmt.Errorf("go vet: %w\n%s", err, strings.Join(lines[:min(len(lines), maxVetLines)], ""))
	}
	return nil
}

// outcome is how a run of tests ended.
type outcome struct {
	passed, skipped int
	// failed are the failed tests, "package Test" each, and "package" for what did not compile or ended early.
	failed []string
	// said is what the failed ones printed.
	said map[string]string
}

func (o outcome) String() string {
	text := fmt.Sprintf("%d tests passed, %d failed, %d skipped", o.passed, len(o.failed), o.skipped)
	return strings.Join(append([]string{text}, o.failed...), "\n    failed: ")
}

// event is a line of go test -json.
type event struct{ Action, Package, ImportPath, Test, Output, FailedBuild string }

// test runs tests. That some fail is no error.
func test(ctx context.Context, t *tree.Tree, args ...string) (outcome, error) {
	o := outcome{said: make(map[string]string)}
	text, err := t.Go(ctx, append([]string{"test", "-json"}, args...)...)
	failed := make(map[string]bool)
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			return o, fmt.Errorf("go test: %s", lines.Text())
		}
		name := cmp.Or(e.Package, e.ImportPath) // how packages that do not compile are named
		name, _, _ = strings.Cut(name, " ")
		name = strings.TrimPrefix(name, "github.com/ethereum-optimism/optimism/")
		top, _, sub := strings.Cut(e.Test, "/")
		id := strings.TrimSpace(name + " " + top)
		switch {
		case e.Action == "output" || e.Action == "build-output":
			o.said[id] += e.Output
		case e.Action == "fail" || e.Action == "build-fail":
			failed[id] = true
		case sub || e.Test == "":
		case e.Action == "pass":
			o.passed++
		case e.Action == "skip":
			o.skipped++
		}
	}
	if err := lines.Err(); err != nil {
		return o, err
	}
	// A package fails with its tests: it is named where none of them is.
	for id := range failed {
		if pkg, _, isTest := strings.Cut(id, " "); !isTest {
			if slices.ContainsFunc(slices.Collect(maps.Keys(failed)), func(other string) bool { return strings.HasPrefix(other, pkg+" ") }) {
				delete(failed, id)
			}
		}
	}
	o.failed = slices.Sorted(maps.Keys(failed))
	if err != nil && len(o.failed) == 0 {
		return o, fmt.Errorf("go test: %w\n%s", err, text)
	}
	return o, ctx.Err()
}

// known reads the written list of the tests that fail without the series.
func known(file string) ([]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			all = append(all, line)
		}
	}
	return all, nil
}

// positions vets and tests what each patch touches, with the patches up to it.
func (r *run) positions(ctx context.Context, commits []apply.Commit) error {
	for _, c := range commits {
		if err := r.tree.Checkout(ctx, c.Hash); err != nil {
			return err
		}
		packages := c.Packages()
		if err := vet(ctx, r.tree, packages); err != nil {
			return fmt.Errorf("%s: %w", c.File, err)
		}
		packages = slices.DeleteFunc(packages, func(p string) bool { return p == devstack })
		o, err := test(ctx, r.tree, packages...)
		if err != nil {
			return fmt.Errorf("%s: %w", c.File, err)
		}
		if err := r.unknown(o); err != nil {
			return fmt.Errorf("%s: %w", c.File, err)
		}
		for _, pkg := range packages {
			if o.passed == 0 {
				return fmt.Errorf("%s: no test of %s ran", c.File, pkg)
			}
		}
		r.say("%s: %d tests of %s pass", c.File, o.passed, strings.Join(packages, " "))
	}
	return nil
}

// unknown is the error for failures that the list does not have.
func (r *run) unknown(o outcome) error {
	list, err := known(filepath.Join(r.dir, "known-failures.txt"))
	if err != nil {
		return err
	}
	var all []error
	for _, id := range o.failed {
		if !slices.Contains(list, id) {
			all = append(all, fmt.Errorf("%s fails, and not without the series:\n%s", id, o.said[id]))
		}
	}
	return errors.Join(all...)
}

// compare tests everything without the series and with it.
func (r *run) compare(ctx context.Context, commits []apply.Commit) error {
	for _, at := range []struct{ name, commit string }{{"without the series", tree.Base}, {"with the series", commits[len(commits)-1].Hash}} {
		if err := r.tree.Checkout(ctx, at.commit); err != nil {
			return err
		}
		o, err := test(ctx, r.tree, everything...)
		if err != nil {
			return err
		}
		r.say("%s, %s: %s", strings.Join(everything, " "), at.name, o)
		if err := r.unknown(o); err != nil {
			return err
		}
	}
	return vet(ctx, r.tree, append(slices.Clone(everything), devstack))
}

// prove shows that each new test fails without its patch, and passes with it.
func (r *run) prove(ctx context.Context, commits []apply.Commit) error {
	for _, c := range commits {
		var files []string
		for _, f := range c.Files() {
			if f.Test() {
				files = append(files, f.Path)
			}
		}
		for _, test := range c.Tests() {
			if err := r.proveOne(ctx, c, files, test); err != nil {
				return fmt.Errorf("%s, %s: %w", c.File, test.Name, err)
			}
		}
	}
	return nil
}

func (r *run) proveOne(ctx context.Context, c apply.Commit, files []string, one series.Test) error {
	if err := r.tree.Checkout(ctx, c.Parent); err != nil {
		return err
	}
	if _, err := r.tree.Git(ctx, append([]string{"checkout", "--quiet", c.Hash, "--"}, files...)...); err != nil {
		return err
	}
	args := []string{"-race", "-count=1", "-run=^" + one.Name + "$", "./" + one.Package}
	without, err := test(ctx, r.tree, args...)
	if err != nil {
		return err
	}
	if len(without.failed) == 0 {
		return errors.New("it passes without the patch")
	}
	if err := r.tree.Checkout(ctx, c.Hash); err != nil {
		return err
	}
	with, err := test(ctx, r.tree, args...)
	if err != nil {
		return err
	}
	if len(with.failed) > 0 || with.passed != 1 {
		return fmt.Errorf("it does not pass with the patch: %s\n%v", with, with.said)
	}
	r.say("%s: %s without it: %s", c.File, one.Name, reason(without))
	return nil
}

// reason is the line that tells most of a failure.
func reason(o outcome) string {
	var said strings.Builder
	for _, id := range slices.Sorted(maps.Keys(o.said)) {
		said.WriteString(o.said[id])
	}
	var lines []string
	for line := range strings.Lines(said.String()) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	for _, mark := range []string{"Error:", "panic:", "undefined", "cannot use", "unknown field", "not enough arguments", "too many arguments", "WARNING: DATA RACE"} {
		for i, line := range lines {
			if !strings.Contains(line, mark) {
				continue
			}
			if mark == "Error:" || mark == "panic:" { // it goes on below
				line = strings.Join(lines[i:min(i+3, len(lines))], " ")
			}
			return line[:min(len(line), 160)]
		}
	}
	return "it fails"
}

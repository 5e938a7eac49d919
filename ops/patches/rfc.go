package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/lightcl/op-node/ops/patches/tree"
)

const (
	// core is this repository's decision package, and where it goes in upstream's tree.
	core     = "op-node/rollup/follow"
	ours     = "github.com/lightcl/op-node/"
	optimism = "github.com/ethereum-optimism/optimism/"
	// rapid is what the core's tests need and upstream does not have yet.
	rapid = "pgregory.net/rapid"
)

// link is a link of a document that is at another place then.
var link = regexp.MustCompile(`\[([^\]]+)\]\([^)]+\)`)

// rfc puts the core and its rules into upstream's tree on top of the series, tests it there and writes it as a mail. It
// is made anew each time: the core is kept in one place.
func (r *run) rfc(ctx context.Context, tip string) error {
	if err := r.tree.Checkout(ctx, tip); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(r.tree.ModuleDir, core, "*.go"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("%s: no files: %w", core, err)
	}
	put := func(name, text string) error {
		path := filepath.Join(r.tree.Dir, core, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, []byte(text), 0o644)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		text := strings.ReplaceAll(string(data), ours, optimism)
		if strings.HasSuffix(file, "_test.go") && strings.Contains(text, `"path/filepath"`) {
			continue // it compares with a document of this repository
		}
		if err := put(filepath.Base(file), text); err != nil {
			return err
		}
	}
	spec, err := os.ReadFile(filepath.Join(r.tree.ModuleDir, "op-node", "docs", "spec.md"))
	if err != nil {
		return err
	}
	if err := put("spec.md", link.ReplaceAllString(string(spec), "$1")); err != nil {
		return err
	}
	return r.commitRFC(ctx, tip)
}

func (r *run) commitRFC(ctx context.Context, tip string) error {
	version, err := r.tree.OwnVersion(ctx, rapid)
	if err != nil {
		return err
	}
	if out, err := r.tree.Go(ctx, "get", rapid+"@"+version); err != nil {
		return fmt.Errorf("go get %s: %w\n%s", rapid, err, out)
	}
	if err := vet(ctx, r.tree, []string{"./" + core}); err != nil {
		return err
	}
	o, err := test(ctx, r.tree, "./"+core)
	if err != nil {
		return err
	}
	if len(o.failed) > 0 || o.passed == 0 {
		return fmt.Errorf("the core in upstream's tree: %s\n%v", o, o.said)
	}
	cover := filepath.Join(r.tree.ModuleDir, r.dir, "rfc", "cover.txt")
	if _, err := r.tree.Git(ctx, "add", "--", core, "go.mod", "go.sum"); err != nil {
		return err
	}
	if _, err := r.tree.Git(ctx, "commit", "--quiet", "--no-verify", "--file="+cover); err != nil {
		return err
	}
	head, err := r.tree.Git(ctx, "rev-parse", "HEAD")
	if err != nil {
		return err
	}
	if err := mails(ctx, r.tree, tip, strings.TrimSpace(head), filepath.Join(r.out, "rfc")); err != nil {
		return err
	}
	r.say("the core as upstream's %s: %d of its tests pass there; the RFC's mail is in %s", core, o.passed, filepath.Join(r.out, "rfc"))
	return r.tree.Checkout(ctx, tree.Branch)
}

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/lightcl/op-node/ops/patches/apply"
	"github.com/lightcl/op-node/ops/patches/series"
	"github.com/lightcl/op-node/ops/patches/tree"
)

// export makes the patches of a range of commits.
func export(ctx context.Context, t *tree.Tree, from, to string) ([]series.Patch, error) {
	list, err := t.Git(ctx, "rev-list", "--reverse", from+".."+to)
	if err != nil {
		return nil, err
	}
	var all []series.Patch
	for i, hash := range strings.Fields(list) {
		message, err := t.Git(ctx, "show", "--no-patch", "--format=%B", hash)
		if err != nil {
			return nil, err
		}
		p, err := series.ParseMessage(message)
		if err != nil {
			return nil, fmt.Errorf("commit %.12s: %w", hash, err)
		}
		if p.Diff, err = diff(ctx, t, hash+"^", hash); err != nil {
			return nil, err
		}
		if p.Notes[series.NoteTree], err = apply.Rev(ctx, t, hash+"^{tree}"); err != nil {
			return nil, err
		}
		p.File = p.FileName(i + 1)
		all = append(all, p)
	}
	return all, nil
}

// heading is what git finds above a hunk: a line of upstream's.
var heading = regexp.MustCompile(`(?m)^(@@ [^@]* @@).*$`)

// diff is the difference of two commits without a line of context.
func diff(ctx context.Context, t *tree.Tree, from, to string) (string, error) {
	text, err := t.Git(ctx, "diff", "--unified=0", "--no-color", "--no-ext-diff", "--no-renames", "--diff-algorithm=histogram",
		"--src-prefix=a/", "--dst-prefix=b/", from, to)
	return heading.ReplaceAllString(text, "$1"), err
}

// save writes the commits of the series' branch into the folder of the patches.
func save(ctx context.Context, t *tree.Tree, dir string) ([]series.Patch, error) {
	if changed, err := t.Git(ctx, "status", "--porcelain", "--untracked-files=no"); err != nil {
		return nil, err
	} else if changed != "" {
		return nil, fmt.Errorf("there are edits in %s that no commit has:\n%s", t.Dir, changed)
	}
	all, err := export(ctx, t, tree.Base, tree.Branch)
	if err != nil {
		return nil, err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.patch"))
	if err != nil {
		return nil, err
	}
	for _, file := range old {
		if err := os.Remove(file); err != nil {
			return nil, err
		}
	}
	for i, p := range all {
		if err := os.WriteFile(filepath.Join(dir, p.File), []byte(p.Text(i+1, len(all))), 0o644); err != nil {
			return nil, err
		}
	}
	_, err = t.Git(ctx, "update-ref", apply.Last, tree.Branch)
	return all, err
}

// mails writes the series as git am takes it, with context, for readers.
func mails(ctx context.Context, t *tree.Tree, from, to, dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(abs); err != nil {
		return err
	}
	_, err = t.Git(ctx, "format-patch", "--quiet", "--zero-commit", "--no-signature", "--unified=12", "--output-directory="+abs, from+".."+to)
	return err
}

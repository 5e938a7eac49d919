// Package apply makes commits of the series in the copy of upstream's sources.
package apply

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/lightcl/op-node/ops/patches/series"
	"github.com/lightcl/op-node/ops/patches/tree"
)

// Last is the ref of what the series' branch was made last. Where the branch is elsewhere, somebody works on it.
const Last = "refs/patches/applied"

// Commit is a patch that has been applied.
type Commit struct {
	series.Patch
	// Hash and Parent are those of the commit.
	Hash, Parent string
}

// Series makes a commit of each patch, each on top of the one before, and the series' branch of the last, which it checks
// out. A patch that does not lead to the tree that it names is an error, and so are edits in the copy that were not saved.
func Series(ctx context.Context, t *tree.Tree, all []series.Patch) ([]Commit, error) {
	base, err := Rev(ctx, t, tree.Base)
	if err != nil {
		return nil, err
	}
	if err := unsaved(ctx, t); err != nil {
		return nil, err
	}
	index := []string{"GIT_INDEX_FILE=" + filepath.Join(t.Dir, ".git", "patches.index")}
	if _, err := t.GitInput(ctx, nil, index, "read-tree", base); err != nil {
		return nil, err
	}
	var commits []Commit
	parent := base
	for _, p := range all {
		if _, err := t.GitInput(ctx, []byte(p.Diff), index, "apply", "--cached", "--unidiff-zero", "--whitespace=nowarn", "-"); err != nil {
			return nil, fmt.Errorf("%s: %w", p.File, err)
		}
		hash, err := t.GitInput(ctx, nil, index, "write-tree")
		if err != nil {
			return nil, err
		}
		hash = strings.TrimSpace(hash)
		if want := p.Notes[series.NoteTree]; hash != want {
			return nil, fmt.Errorf("%s leads to the tree %s, not to %s: it was applied in the wrong place", p.File, hash, want)
		}
		made, err := t.GitInput(ctx, []byte(p.Message()), nil, "commit-tree", hash, "-p", parent)
		if err != nil {
			return nil, err
		}
		c := Commit{p, strings.TrimSpace(made), parent}
		commits, parent = append(commits, c), c.Hash
	}
	for _, ref := range []string{tree.Branch, Last} {
		if _, err := t.Git(ctx, "update-ref", ref, parent); err != nil {
			return nil, err
		}
	}
	return commits, t.Checkout(ctx, parent)
}

// rev returns the hash that a ref has.
func Rev(ctx context.Context, t *tree.Tree, ref string) (string, error) {
	out, err := t.Git(ctx, "rev-parse", "--verify", "--quiet", ref)
	return strings.TrimSpace(out), err
}

// unsaved is the error for edits of the copy that the patches do not have yet.
func unsaved(ctx context.Context, t *tree.Tree) error {
	changed, err := t.Git(ctx, "status", "--porcelain", "--untracked-files=no")
	if err != nil {
		return err
	}
	branch, err := Rev(ctx, t, tree.Branch)
	if err != nil {
		branch = "" // the copy is new
	}
	last, err := Rev(ctx, t, Last)
	if err != nil {
		last = ""
	}
	if branch == last && changed == "" {
		return nil
	}
	return fmt.Errorf("the copy of upstream in %s has been edited: make patches-save exports its branch series, or give the edits up with "+
		"git checkout --force -B series %s there", t.Dir, Last)
}

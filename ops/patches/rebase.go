package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/lightcl/op-node/ops/patches/apply"
	"github.com/lightcl/op-node/ops/patches/series"
	"github.com/lightcl/op-node/ops/patches/tree"
)

// rebased is the branch that a rebase leaves.
const rebased = "refs/heads/rebased"

// onto applies commits to the sources in dir. A patch that does not apply is named with the files that it collides in, and
// left out; those after it are tried without it.
func (r *run) onto(ctx context.Context, commits []apply.Commit, dir string) error {
	base, err := r.importTree(ctx, dir)
	if err != nil {
		return err
	}
	if err := r.tree.Checkout(ctx, base); err != nil {
		return err
	}
	var done []series.Patch
	var work []string
	for _, c := range commits {
		_, err := r.tree.Git(ctx, "cherry-pick", "--allow-empty", c.Hash)
		if err == nil {
			r.say("%s: applies", c.File)
			done = append(done, c.Patch)
			continue
		}
		files, _ := r.tree.Git(ctx, "diff", "--name-only", "--diff-filter=U")
		if files == "" {
			return err // no collision, but something that is broken
		}
		r.say("%s: needs work in %s", c.File, strings.Join(strings.Fields(files), ", "))
		work = append(work, c.File)
		if _, err := r.tree.Git(ctx, "cherry-pick", "--abort"); err != nil {
			return err
		}
	}
	if _, err := r.tree.Git(ctx, "update-ref", rebased, "HEAD"); err != nil {
		return err
	}
	r.say("the branch rebased in %s has %d of %d patches", r.tree.Dir, len(done), len(commits))
	var problems []error
	if len(work) > 0 {
		problems = append(problems, fmt.Errorf("work is needed on %s", strings.Join(work, ", ")))
	}
	if len(done) > 0 {
		if err := r.tree.PinBundle(ctx); err != nil {
			return err
		}
		if err := vet(ctx, r.tree, series.Packages(done)); err != nil {
			problems = append(problems, fmt.Errorf("what applies does not vet: %w", err))
		} else {
			r.say("what applies vets")
		}
	}
	return errors.Join(problems...)
}

// importTree makes a commit of the sources in dir.
func (r *run) importTree(ctx context.Context, dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	env := []string{"GIT_INDEX_FILE=" + filepath.Join(r.tree.Dir, ".git", "rebase.index"), "GIT_WORK_TREE=" + abs}
	if _, err := r.tree.GitInput(ctx, nil, env, "read-tree", tree.Base); err != nil {
		return "", err
	}
	if _, err := r.tree.GitInput(ctx, nil, env, "-C", abs, "add", "--all", "."); err != nil {
		return "", fmt.Errorf("read %s: %w", dir, err)
	}
	hash, err := r.tree.GitInput(ctx, nil, env, "write-tree")
	if err != nil {
		return "", err
	}
	made, err := r.tree.Git(ctx, "commit-tree", strings.TrimSpace(hash), "-m", "upstream of "+filepath.Base(abs))
	return strings.TrimSpace(made), err
}

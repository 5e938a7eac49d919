package tree

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
)

const (
	bundle    = "op-core/superchain/superchain-configs.zip"
	bundleSum = bundle + ".sha256"
)

// The keys that op-geth's bundle has and upstream's strict decoder does not know.
var unknownKeys = regexp.MustCompile(`(?m)^\s*(superchain_level|protocol_versions_addr)\s*=.*\n`)

// addBundle adds the bundle of known chains, which upstream's program embeds and the published module lacks: op-geth's, one
// of the same format. It becomes no part of a commit.
func (t *Tree) addBundle(ctx context.Context) error {
	dir, err := goCommand(ctx, t.ModuleDir, "list", "-m", "-f", "{{.Dir}}", geth)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(dir, "superchain", path.Base(bundle)))
	if err != nil {
		return err
	}
	if data, err = strip(data); err != nil {
		return fmt.Errorf("bundle of known chains: %w", err)
	}
	if err := os.WriteFile(filepath.Join(t.Dir, ".git", "info", "exclude"), []byte(bundle+"\n"), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(t.Dir, bundle), data, 0o644)
}

// PinBundle puts the bundle's checksum, which upstream's program compares at start, where the commits have that of
// upstream's own bundle.
func (t *Tree) PinBundle(ctx context.Context) error {
	data, err := os.ReadFile(filepath.Join(t.Dir, bundle))
	if err != nil {
		return err
	}
	sum := fmt.Appendf(nil, "%x  %s\n", sha256.Sum256(data), path.Base(bundle))
	if err := os.WriteFile(filepath.Join(t.Dir, bundleSum), sum, 0o644); err != nil {
		return err
	}
	_, err = t.Git(ctx, "update-index", "--skip-worktree", bundleSum)
	return err
}

// strip takes the unknown keys out of a bundle.
func strip(data []byte) ([]byte, error) {
	in, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	out := zip.NewWriter(&buf)
	for _, file := range in.File {
		if path.Ext(file.Name) != ".toml" {
			if err := out.Copy(file); err != nil {
				return nil, err
			}
			continue
		}
		text, err := read(file)
		if err != nil {
			return nil, err
		}
		w, err := out.Create(file.Name)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(unknownKeys.ReplaceAll(text, nil)); err != nil {
			return nil, err
		}
	}
	err = out.Close()
	return buf.Bytes(), err
}

func read(file *zip.File) ([]byte, error) {
	r, err := file.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

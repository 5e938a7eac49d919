package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/lightcl/op-node/ops/release/debian"
	"github.com/lightcl/op-node/ops/release/image"
)

// archives writes op-node_VERSION_OS_ARCH.tar.gz for each platform: the program, the license and the changelog.
func (r release) archives(ctx context.Context) error {
	for _, p := range r.platforms(every) {
		program, err := r.program(ctx, p)
		if err != nil {
			return err
		}
		base := fmt.Sprintf("op-node_%s_%s", r.version, p)
		var packed bytes.Buffer
		err = pack(&packed, r.time, base, []entry{
			{"op-node", program, 0o755},
			{"LICENSE", filepath.Join(r.root, "LICENSE"), 0o644},
			{"CHANGELOG.md", filepath.Join(r.root, "CHANGELOG.md"), 0o644},
			{"op-node.service", filepath.Join(r.root, "ops/systemd/op-node.service"), 0o644},
			{"op-node.env", filepath.Join(r.root, "ops/systemd/op-node.env"), 0o644},
		})
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(r.out, base+".tar.gz"), packed.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// entry is a file to pack.
type entry struct {
	name, file string
	mode       int64
}

// pack writes a tar.gz with one folder. Nothing of this machine is in it, so that equal files make equal archives.
func pack(to io.Writer, at time.Time, folder string, entries []entry) error {
	zipped, err := gzip.NewWriterLevel(to, gzip.BestCompression)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(zipped)
	for _, e := range entries {
		content, err := os.ReadFile(e.file)
		if err != nil {
			return err
		}
		err = archive.WriteHeader(&tar.Header{
			Name: folder + "/" + e.name, Mode: e.mode, Size: int64(len(content)), ModTime: at, Format: tar.FormatPAX, Typeflag: tar.TypeReg,
		})
		if err != nil {
			return err
		}
		if _, err := archive.Write(content); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), zipped.Close())
}

// image writes the image as an OCI layout with all architectures, and each as a tarball for `docker load`.
func (r release) image(ctx context.Context) error {
	folder := filepath.Join(r.out, "image")
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range r.platforms(linux) {
		built, err := r.imageFor(ctx, p, "op-node", "./op-node/cmd")
		if err != nil {
			return err
		}
		digest, err := built.Digest()
		if err != nil {
			return err
		}
		fmt.Printf("image linux/%s %s\n", p.arch, digest)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: built, Descriptor: v1.Descriptor{
			MediaType: types.OCIManifestSchema1, Platform: &v1.Platform{OS: p.os, Architecture: p.arch},
		}})
		if err := r.loadable(built, "op-node", p); err != nil {
			return err
		}
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	fmt.Println("image", digest)
	_, err = layout.Write(folder, index)
	return err
}

// devnet writes the image of the demonstration for this machine: op-node and the devnet around it, as a tarball for
// `docker load`. It is no part of a release.
func (r release) devnet(ctx context.Context) error {
	p := platform{"linux", runtime.GOARCH}
	built, err := r.imageFor(ctx, p, "devnet", "./ops/devnet", "op-node", "./op-node/cmd")
	if err != nil {
		return err
	}
	return r.loadable(built, "op-node-devnet", p)
}

// loadable writes an image as a tarball that docker loads under a name and the version.
func (r release) loadable(built v1.Image, called string, p platform) error {
	tag, err := name.NewTag(called + ":" + r.tag())
	if err != nil {
		return fmt.Errorf("--version: %w", err)
	}
	return tarball.WriteToFile(filepath.Join(r.out, fmt.Sprintf("%s-image_%s_%s.tar", called, r.version, p)), tag, built)
}

// tag is the version as a tag of an image, which may not have a plus.
func (r release) tag() string { return strings.ReplaceAll(r.version, "+", "-") }

// imageFor makes an image of programs, given by name and package one after the other; the first is its command.
func (r release) imageFor(ctx context.Context, p platform, programs ...string) (v1.Image, error) {
	built := make(map[string][]byte)
	for i := 0; i < len(programs); i += 2 {
		file, err := r.build(ctx, p, programs[i], programs[i+1])
		if err != nil {
			return nil, err
		}
		if built[programs[i]], err = os.ReadFile(file); err != nil {
			return nil, err
		}
	}
	packages, err := debian.Locked(p.arch)
	if err != nil {
		return nil, err
	}
	source := debian.Source{Mirror: r.mirror, Cache: filepath.Join(r.root, "cache", "debian")}
	var debs [][]byte
	for _, pkg := range packages {
		deb, err := source.Get(ctx, pkg)
		if err != nil {
			return nil, err
		}
		debs = append(debs, deb)
	}
	return image.New(image.Build{
		Architecture: p.arch, Programs: built, Command: programs[0], Version: "v" + r.version, Commit: r.commit, Time: r.time, Home: home,
	}, debs)
}

// sbom writes what the program for linux/amd64 is built from. The other platforms are built from the same modules.
func (r release) sbom(ctx context.Context) error {
	p := r.platforms(linux)[0]
	program, err := r.program(ctx, p)
	if err != nil {
		return err
	}
	out, err := r.goTool(ctx, "cyclonedx-gomod", "bin", "-json", "-noserial", "-notimestamp", "-licenses", "-std",
		"-version", "v"+r.version, program)
	if err != nil {
		return fmt.Errorf("cyclonedx-gomod: %w", err)
	}
	return os.WriteFile(filepath.Join(r.out, fmt.Sprintf("op-node_%s.cdx.json", r.version)), out, 0o644)
}

// sums writes SHA256SUMS of the files next to it, in the form that `sha256sum -c` reads.
func (r release) sums() error {
	files, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	var lines []string
	for _, f := range files {
		if f.IsDir() || f.Name() == "SHA256SUMS" {
			continue
		}
		content, err := os.ReadFile(filepath.Join(r.out, f.Name()))
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("%x  %s\n", sha256.Sum256(content), f.Name()))
	}
	slices.Sort(lines)
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(strings.Join(lines, "")), 0o644)
}

// output is what a program for this machine prints.
func output(ctx context.Context, program string, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return nil, fmt.Errorf("op-node %s: %w", strings.Join(args, " "), err)
	}
	return out, nil
}

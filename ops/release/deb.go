package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // makes nfpm.Get know it
	"github.com/goreleaser/nfpm/v2/files"
)

// debs writes a Debian package for each architecture of linux: program, unit, its settings, man page and completions.
func (r release) debs(ctx context.Context) error {
	shared, err := r.documents(ctx)
	if err != nil {
		return err
	}
	for _, p := range r.platforms(linux) {
		program, err := r.program(ctx, p)
		if err != nil {
			return err
		}
		if err := r.deb(p, program, shared); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

// documents has the program say what it knows of itself: the man page and the completions, as files of a package.
func (r release) documents(ctx context.Context) (files.Contents, error) {
	program, err := r.program(ctx, platform{runtime.GOOS, runtime.GOARCH})
	if err != nil {
		return nil, err
	}
	var contents files.Contents
	for _, d := range []struct {
		args []string
		to   string
	}{
		{[]string{"doc", "man"}, "/usr/share/man/man1/op-node.1"},
		{[]string{"completion", "bash"}, "/usr/share/bash-completion/completions/op-node"},
		{[]string{"completion", "zsh"}, "/usr/share/zsh/vendor-completions/_op-node"},
		{[]string{"completion", "fish"}, "/usr/share/fish/vendor_completions.d/op-node.fish"},
	} {
		text, err := output(ctx, program, d.args...)
		if err != nil {
			return nil, err
		}
		file := filepath.Join(r.out, "build", filepath.Base(d.to))
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return nil, err
		}
		contents = append(contents, r.content(file, d.to, 0o644))
	}
	return contents, nil
}

func (r release) content(from, to string, mode os.FileMode) *files.Content {
	return &files.Content{Source: from, Destination: to, FileInfo: &files.ContentFileInfo{Mode: mode, MTime: r.time, Owner: "root", Group: "root"}}
}

func (r release) deb(p platform, program string, shared files.Contents) error {
	here := filepath.Join(r.root, "ops", "systemd")
	settings := r.content(filepath.Join(here, "op-node.env"), "/etc/default/op-node", 0o640)
	settings.Type = files.TypeConfigNoReplace
	contents := append(files.Contents{
		r.content(program, "/usr/bin/op-node", 0o755),
		r.content(filepath.Join(here, "op-node.service"), "/usr/lib/systemd/system/op-node.service", 0o644),
		r.content(filepath.Join(r.root, "LICENSE"), "/usr/share/doc/op-node/copyright", 0o644),
		r.content(filepath.Join(r.root, "CHANGELOG.md"), "/usr/share/doc/op-node/CHANGELOG.md", 0o644),
		settings,
	}, shared...)
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: "op-node", Arch: p.arch, Platform: p.os, Version: r.version, VersionSchema: "semver", MTime: r.time,
		Maintainer: "op-node maintainers", Homepage: home, License: "MIT", Section: "net", Priority: "optional",
		Description: "Rollup node of the OP Stack\n Derives the chain from L1, or follows nodes that do.",
		Overridables: nfpm.Overridables{
			Recommends: []string{"ca-certificates"},
			Contents:   contents,
			Scripts: nfpm.Scripts{
				PostInstall: filepath.Join(here, "postinst"), PreRemove: filepath.Join(here, "prerm"), PostRemove: filepath.Join(here, "postrm"),
			},
		},
	})
	packager, err := nfpm.Get("deb")
	if err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(r.out, packager.ConventionalFileName(info)))
	if err != nil {
		return err
	}
	if err := packager.Package(info, out); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// Package image makes the container image of op-node, by the contract of upstream's: no entrypoint, the command op-node
// found through PATH, user 0, a shell, wget and certificates, and nothing declared that could surprise: no port, no
// volume, no health check.
package image

import (
	"archive/tar"
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"path"
	"sort"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/lightcl/op-node/ops/release/debian"
)

// What the image declares.
const (
	searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	bundle     = "etc/ssl/certs/ca-certificates.crt"
	programs   = "usr/local/bin/"
	busybox    = "bin/busybox"
)

// applets are the commands that busybox has a link for: all that the recorded version knows.
//
//go:embed applets.txt
var applets string

// Applets lists them.
func Applets() []string { return strings.Fields(applets) }

// Build is what an image is made of.
type Build struct {
	// Architecture is that of the programs: amd64 or arm64.
	Architecture string
	// Programs are the programs by name, linked without cgo, and Command is the one that a container runs.
	Programs map[string][]byte
	Command  string
	// Version and Commit name the source; Time is the commit's, and that of all files.
	Version, Commit string
	Time            time.Time
	// Home is the page of the project.
	Home string
}

// New makes the image of a build on Debian packages: busybox-static and ca-certificates. Equal arguments make equal images.
func New(build Build, debs [][]byte) (v1.Image, error) {
	base, err := baseFiles(debs)
	if err != nil {
		return nil, err
	}
	lower, err := layer(base, build.Time)
	if err != nil {
		return nil, err
	}
	var own []file
	for name, content := range build.Programs {
		own = append(own, file{name: programs + name, mode: 0o755, content: content})
	}
	upper, err := layer(own, build.Time)
	if err != nil {
		return nil, err
	}
	created := v1.Time{Time: build.Time.UTC()}
	image := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	image = mutate.ConfigMediaType(image, types.OCIConfigJSON)
	image, err = mutate.Append(image,
		mutate.Addendum{Layer: lower, MediaType: types.OCILayer, History: v1.History{Created: created, CreatedBy: "busybox-static, ca-certificates"}},
		mutate.Addendum{Layer: upper, MediaType: types.OCILayer, History: v1.History{Created: created, CreatedBy: build.Command}})
	if err != nil {
		return nil, fmt.Errorf("layers: %w", err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", build.Architecture, created
	config.Config = v1.Config{
		Cmd: []string{build.Command},
		Env: []string{"PATH=" + searchPath, "SSL_CERT_FILE=/" + bundle},
		Labels: map[string]string{
			"org.opencontainers.image.title":       build.Command,
			"org.opencontainers.image.description": "Rollup node of the OP Stack, with a mode that follows other nodes",
			"org.opencontainers.image.licenses":    "MIT",
			"org.opencontainers.image.source":      build.Home,
			"org.opencontainers.image.version":     build.Version,
			"org.opencontainers.image.revision":    build.Commit,
			"org.opencontainers.image.created":     build.Time.UTC().Format(time.RFC3339),
		},
	}
	return mutate.ConfigFile(image, config)
}

// file is one entry of a layer: a folder if its name ends in a slash, a link if it has a target.
type file struct {
	name    string
	mode    int64
	content []byte
	target  string
}

// baseFiles are what the program stands on.
func baseFiles(debs [][]byte) ([]file, error) {
	files := []file{
		{name: "etc/passwd", mode: 0o644, content: []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")},
		{name: "etc/group", mode: 0o644, content: []byte("root:x:0:\nnogroup:x:65534:\n")},
		{name: "root/", mode: 0o700},
		{name: "tmp/", mode: 0o1777},
	}
	var shell []byte
	certificates := make(map[string][]byte)
	for _, deb := range debs {
		err := debian.Files(deb, func(name string, content []byte) error {
			switch {
			case name == busybox || name == "usr/"+busybox:
				shell = content
			case strings.HasPrefix(name, "usr/share/ca-certificates/") && path.Ext(name) == ".crt":
				certificates[name] = content
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(shell) == 0 || len(certificates) == 0 {
		return nil, fmt.Errorf("the packages hold %d bytes of busybox and %d certificates: some is missing", len(shell), len(certificates))
	}
	files = append(files, file{name: busybox, mode: 0o755, content: shell}, file{name: bundle, mode: 0o644, content: join(certificates)})
	for _, applet := range Applets() {
		files = append(files, file{name: "bin/" + applet, mode: 0o777, target: "busybox"})
	}
	return files, nil
}

// join is one bundle of all certificates, in the order of their names, each ending in a newline.
func join(certificates map[string][]byte) []byte {
	names := make([]string, 0, len(certificates))
	for name := range certificates {
		names = append(names, name)
	}
	sort.Strings(names)
	var all bytes.Buffer
	for _, name := range names {
		all.Write(bytes.TrimRight(certificates[name], "\n"))
		all.WriteByte('\n')
	}
	return all.Bytes()
}

// layer packs files, sorted, with the folders above them, all of user 0 and of one time.
func layer(files []file, at time.Time) (v1.Layer, error) {
	var packed bytes.Buffer
	out := tar.NewWriter(&packed)
	for _, f := range withFolders(files) {
		header := &tar.Header{Name: f.name, Mode: f.mode, ModTime: at, Size: int64(len(f.content)), Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		switch {
		case strings.HasSuffix(f.name, "/"):
			header.Typeflag = tar.TypeDir
		case f.target != "":
			header.Typeflag, header.Linkname = tar.TypeSymlink, f.target
		}
		if err := out.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		if _, err := out.Write(f.content); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	if err := out.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
}

func withFolders(files []file) []file {
	have := make(map[string]bool)
	for _, f := range files {
		have[f.name] = true
	}
	all := files
	for _, f := range files {
		for dir := path.Dir(strings.TrimSuffix(f.name, "/")); dir != "."; dir = path.Dir(dir) {
			if name := dir + "/"; !have[name] {
				have[name] = true
				all = append(all, file{name: name, mode: 0o755})
			}
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].name < all[j].name })
	return all
}

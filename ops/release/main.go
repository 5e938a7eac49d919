// Command release makes what is given away of op-node: archives for each platform, the container image, Debian packages, a
// list of what is inside (SBOM), and checksums. One commit makes the same bytes wherever it is built.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lightcl/op-node/ops/release/debian"
)

const usage = `usage: release [flags] WHAT...
  archives   tar.gz for linux/amd64, linux/arm64 and darwin/arm64
  image      the container image as an OCI layout, and for each architecture as a tarball that docker loads
  deb        Debian packages for amd64 and arm64
  sbom       what the program is built from, in CycloneDX's form
  sums       SHA256SUMS of what is there
  all        all of that
  devnet     the image of the demonstration in ops/compose, for this machine
  lock       record the newest versions of the Debian packages in the image
flags:`

// home is the page of the project, for labels and packages.
const home = "https://github.com/lightcl/op-node"

// platform is what a program is built for.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "_" + p.arch }

var (
	linux = []platform{{"linux", "amd64"}, {"linux", "arm64"}}
	every = append(linux[:2:2], platform{"darwin", "arm64"})
)

// inImage are the Debian packages that the image takes files from.
var inImage = []string{"busybox-static", "ca-certificates"}

// release is one run: where things are, and what is released.
type release struct {
	root, out string
	mirror    string
	version   string // without a leading v
	commit    string
	time      time.Time
	// only restricts the platforms to that of this machine.
	only string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var r release
	var version, date string
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.StringVar(&r.root, "root", ".", "the `FOLDER` of the checkout")
	flags.StringVar(&r.out, "out", "bin/release", "the `FOLDER` to write to, relative to the checkout")
	flags.StringVar(&version, "version", "", "the version; by default that of the newest tag")
	flags.StringVar(&r.commit, "commit", "", "the commit; by default the one that is checked out")
	flags.StringVar(&date, "date", "", "the time of the commit in seconds since 1970")
	flags.StringVar(&r.only, "arch", "", "one `ARCHITECTURE` of linux alone, such as amd64")
	flags.Usage = func() { fmt.Fprintln(flags.Output(), usage); flags.PrintDefaults() }
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		flags.Usage()
		return errors.New("say what to make")
	}
	seconds, err := strconv.ParseInt(date, 10, 64)
	if err != nil {
		return fmt.Errorf("--date=%q: give the time of the commit in seconds since 1970: %w", date, err)
	}
	r.time, r.version = time.Unix(seconds, 0).UTC(), strings.TrimPrefix(version, "v")
	if r.version == "" || r.commit == "" {
		return errors.New("--version and --commit are needed: what is released says what it was built from")
	}
	if r.root, err = filepath.Abs(r.root); err != nil {
		return err
	}
	if !filepath.IsAbs(r.out) {
		r.out = filepath.Join(r.root, r.out)
	}
	if r.mirror = os.Getenv("DEBIAN_MIRROR"); r.mirror == "" {
		r.mirror = debian.MachineMirror(ctx)
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	for _, what := range flags.Args() {
		if err := r.make(ctx, what); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

func (r release) make(ctx context.Context, what string) error {
	switch what {
	case "archives":
		return r.archives(ctx)
	case "image":
		return r.image(ctx)
	case "devnet":
		return r.devnet(ctx)
	case "deb":
		return r.debs(ctx)
	case "sbom":
		return r.sbom(ctx)
	case "sums":
		return r.sums()
	case "lock":
		return r.lock(ctx)
	case "all":
		for _, part := range []string{"archives", "image", "deb", "sbom", "sums"} {
			if err := r.make(ctx, part); err != nil {
				return fmt.Errorf("%s: %w", part, err)
			}
		}
		return nil
	default:
		return errors.New("unknown; see --help")
	}
}

// platforms are those of a list that were asked for.
func (r release) platforms(list []platform) []platform {
	if r.only == "" {
		return list
	}
	return []platform{{"linux", r.only}}
}

// program builds op-node for a platform, without cgo and without paths of this machine, and returns where it is. What was
// built before is taken from the compiler's cache.
func (r release) program(ctx context.Context, p platform) (string, error) {
	return r.build(ctx, p, "op-node", "./op-node/cmd")
}

func (r release) build(ctx context.Context, p platform, name, pkg string) (string, error) {
	file := filepath.Join(r.out, "build", p.String(), name)
	stamp := fmt.Sprintf("-s -w -buildid= -X main.GitCommit=%s -X main.GitDate=%d -X github.com/ethereum-optimism/optimism/op-node/version.Version=v%s -X github.com/ethereum-optimism/optimism/op-node/version.Meta=",
		r.commit, r.time.Unix(), r.version)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", stamp, "-o", file, pkg)
	cmd.Dir = r.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.os, "GOARCH="+p.arch, "GOFLAGS=-mod=readonly")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s for %s: %w\n%s", name, p, err, out)
	}
	return file, nil
}

// goTool runs a tool of this module on a path of the checkout and returns what it prints.
func (r release) goTool(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"tool", name}, args...)...)
	cmd.Dir = filepath.Join(r.root, "ops", "release")
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.time.Unix()))
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, said.Bytes())
	}
	return out, nil
}

// lock writes the lock file anew.
func (r release) lock(ctx context.Context) error {
	if r.mirror == "" {
		return errors.New("no mirror of Debian's packages is known: set DEBIAN_MIRROR to the URL above debian/ and debian-security/")
	}
	text, err := debian.Refresh(ctx, r.mirror, inImage, []string{"amd64", "arm64"})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.root, "ops/release/debian/lock.json"), text, 0o644)
}

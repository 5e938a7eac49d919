// Package debian reads Debian packages that a lock file names by version and SHA-256.
package debian

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/blakesmith/ar"
	"github.com/ulikunitz/xz"
)

// Package is one package of the lock file.
type Package struct {
	Name         string `json:"package"`
	Version      string `json:"version"`
	Architecture string `json:"architecture"`
	// Archive is the archive that the package is part of, as a folder of the mirror: debian or debian-security.
	Archive string `json:"archive"`
	// Path is where the package is below Archive, and SHA256 what it has to be, in hex.
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
}

//go:embed lock.json
var lock []byte

// Locked are the packages of the lock file that an architecture needs. An architecture without any is an error.
func Locked(architecture string) ([]Package, error) {
	var all, fit []Package
	if err := json.Unmarshal(lock, &all); err != nil {
		return nil, fmt.Errorf("debian/lock.json: %w", err)
	}
	own := false
	for _, p := range all {
		if p.Architecture == architecture || p.Architecture == "all" {
			fit, own = append(fit, p), own || p.Architecture == architecture
		}
	}
	if !own {
		return nil, fmt.Errorf("debian/lock.json has no package for %s", architecture)
	}
	return fit, nil
}

// maxSize bounds a package, and what is unpacked of it.
const maxSize = 64 << 20

// Source gets packages from a mirror, and keeps them in a folder.
type Source struct {
	// Mirror is the URL above the archives. Cache is the folder; it is made if it is missing.
	Mirror, Cache string
}

// Get returns the bytes of a package, which are those that the lock file names: from the cache, else from the mirror.
func (s Source) Get(ctx context.Context, p Package) ([]byte, error) {
	file := filepath.Join(s.Cache, p.SHA256+".deb")
	if data, err := os.ReadFile(file); err == nil && p.check(data) == nil {
		return data, nil
	}
	data, err := s.download(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("%s %s (%s): %w", p.Name, p.Version, p.Architecture, err)
	}
	if err := os.MkdirAll(s.Cache, 0o755); err != nil {
		return nil, err
	}
	return data, os.WriteFile(file, data, 0o644)
}

func (s Source) download(ctx context.Context, p Package) ([]byte, error) {
	if s.Mirror == "" {
		return nil, errors.New("no mirror of Debian's packages is known: set DEBIAN_MIRROR to the URL above debian/ and debian-security/")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(s.Mirror, "/")+"/"+path.Join(p.Archive, p.Path), nil)
	if err != nil {
		return nil, fmt.Errorf("DEBIAN_MIRROR: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotFound {
		return nil, errors.New("the mirror has it no more: set DEBIAN_MIRROR to one that keeps old versions, or record the present ones with `make release-lock`")
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the mirror answers %s", response.Status)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, maxSize))
	if err != nil {
		return nil, err
	}
	return data, p.check(data)
}

func (p Package) check(data []byte) error {
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != p.SHA256 {
		return fmt.Errorf("its SHA-256 is %x, the lock file says %s", sum, p.SHA256)
	}
	return nil
}

// MachineMirror is the mirror that apt on this machine uses; empty where there is no apt.
func MachineMirror(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)").Output()
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(out)) {
		if mirror, ok := strings.CutSuffix(strings.TrimSpace(line), "/debian/"); ok {
			return mirror
		}
	}
	return ""
}

// Files calls visit for every regular file of a package, with its path from the root, without a leading slash.
func Files(deb []byte, visit func(name string, content []byte) error) error {
	archive := ar.NewReader(bytes.NewReader(deb))
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return errors.New("not a Debian package: it has no data archive")
		} else if err != nil {
			return fmt.Errorf("not a Debian package: %w", err)
		}
		name := strings.TrimSuffix(header.Name, "/")
		if !strings.HasPrefix(name, "data.tar") {
			continue
		}
		data, err := decompress(name, archive)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return regular(tar.NewReader(io.LimitReader(data, maxSize)), visit)
	}
}

func decompress(name string, r io.Reader) (io.Reader, error) {
	switch path.Ext(name) {
	case ".xz":
		return xz.NewReader(r)
	case ".gz":
		return gzip.NewReader(r)
	case ".tar":
		return r, nil
	default:
		return nil, fmt.Errorf("unknown compression %s", path.Ext(name))
	}
}

func regular(archive *tar.Reader, visit func(name string, content []byte) error) error {
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			return err
		}
		if err := visit(strings.TrimPrefix(path.Clean(header.Name), "/"), content); err != nil {
			return err
		}
	}
}

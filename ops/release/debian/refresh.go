package debian

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/ulikunitz/xz"
)

// suites are where the newest version of a package is looked for, the later the better.
var suites = []struct{ archive, suite string }{
	{"debian", "bookworm"},
	{"debian-security", "bookworm-security"},
}

// Refresh is a new lock file: the newest versions of the packages on a mirror.
func Refresh(ctx context.Context, mirror string, names, architectures []string) ([]byte, error) {
	var packages []Package
	for _, architecture := range architectures {
		newest := make(map[string]Package)
		for _, s := range suites {
			index, err := packagesOf(ctx, mirror, s.archive, s.suite, architecture)
			if err != nil {
				return nil, fmt.Errorf("index of %s %s: %w", s.suite, architecture, err)
			}
			for _, p := range index {
				newest[p.Name] = p
			}
		}
		for _, name := range names {
			p, ok := newest[name]
			if !ok {
				return nil, fmt.Errorf("the mirror has no %s for %s", name, architecture)
			}
			if p.Architecture != "all" || architecture == architectures[0] {
				packages = append(packages, p)
			}
		}
	}
	text, err := json.MarshalIndent(packages, "", "  ")
	return append(text, '\n'), err
}

func packagesOf(ctx context.Context, mirror, archive, suite, architecture string) ([]Package, error) {
	url := fmt.Sprintf("%s/%s/dists/%s/main/binary-%s/Packages.xz", strings.TrimSuffix(mirror, "/"), archive, suite, architecture)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	index, err := xz.NewReader(bufio.NewReader(response.Body))
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if _, err := text.ReadFrom(index); err != nil {
		return nil, err
	}
	return parseIndex(archive, text.String()), nil
}

// parseIndex reads the paragraphs of a Packages file.
func parseIndex(archive, text string) (packages []Package) {
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		p := Package{Archive: archive}
		for line := range strings.Lines(paragraph) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch key {
			case "Package":
				p.Name = value
			case "Version":
				p.Version = value
			case "Architecture":
				p.Architecture = value
			case "Filename":
				p.Path = value
			case "SHA256":
				p.SHA256 = value
			}
		}
		if p.Name != "" {
			packages = append(packages, p)
		}
	}
	return packages
}

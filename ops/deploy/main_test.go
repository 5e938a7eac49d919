package deploy

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// folder is where `make release` has put its files. Without it the tests that need them are left out, and say so.
var folder = flag.String("release", "", "the `FOLDER` with what make release made, relative to the checkout")

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if *folder == "" && code == 0 {
		fmt.Println("Left out: image, Debian package and compose on an engine, which need -args -release=FOLDER of `make release`.")
	}
	os.Exit(code)
}

// released is the one file of the release that matches.
func released(t *testing.T, pattern string) string {
	t.Helper()
	if *folder == "" {
		t.Skip("needs -args -release=FOLDER")
	}
	found, err := filepath.Glob(filepath.Join(root, *folder, pattern))
	require.NoError(t, err)
	require.Len(t, found, 1, "%s in %s", pattern, *folder)
	file, err := filepath.Abs(found[0])
	require.NoError(t, err)
	return file
}

// do runs a program to its end within two minutes and returns what it printed.
func do(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := try(name, args...)
	require.NoError(t, err, "%s %s\n%s", name, strings.Join(args, " "), out)
	return out
}

func try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	return string(out), err
}

// engine tells whether a Docker engine answers. Where none does, the test says what it did not do.
func engine(t *testing.T, without string) bool {
	t.Helper()
	out, err := try("docker", "version", "--format", "{{.Server.Version}}")
	if err != nil {
		t.Logf("No Docker engine (%s): %s", strings.TrimSpace(out), without)
	}
	return err == nil
}

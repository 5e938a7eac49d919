package deploy

import (
	"archive/tar"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// image is the released image of this machine's architecture, and its name on the engine.
func image(t *testing.T) (file, name string) {
	file = released(t, "op-node-image_*_linux_"+runtime.GOARCH+".tar")
	version, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(file), "op-node-image_"), "_linux_")
	return file, "op-node:" + version
}

// contract is what those who run upstream's image count on; each line is run in a shell of the image.
var contract = []string{
	`op-node --version`,
	`test "$(which op-node)" = /usr/local/bin/op-node`,
	`test "$(id -u)" = 0`,
	`test -s "$SSL_CERT_FILE" && grep -q 'BEGIN CERTIFICATE' "$SSL_CERT_FILE"`,
	`wget --help 2>&1 | grep -q -- --post-data`,
	`test -w / && test -w "$(dirname "$(mktemp)")"`,
	`op-node doc man | grep -q follow.source`,
	// The look-ups of Go's own resolver.
	`test -r /etc/passwd`,
}

// TestImage starts the image for real: on an engine, else unpacked under a root of its own.
func TestImage(t *testing.T) {
	file, name := image(t)
	if !engine(t, "the image is unpacked and run under chroot instead") {
		dir := unpack(t, file)
		for _, line := range contract {
			cmd := exec.Command("chroot", dir, "/bin/sh", "-c", line)
			cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"}
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s\n%s", line, out)
		}
		return
	}
	do(t, "docker", "load", "-i", file)
	for _, line := range contract {
		do(t, "docker", "run", "--rm", "--network=none", name, "sh", "-c", line)
	}
	do(t, "docker", "run", "--rm", "--network=none", name, "op-node", "--version")
	said, err := try("docker", "run", "--rm", "--network=none", name)
	require.Error(t, err)
	require.Contains(t, said, "flag l1 is required", "the command of the image is op-node, which wants its flags")

	var config struct {
		Entrypoint, Cmd       []string
		User                  string
		ExposedPorts, Volumes map[string]any
		Healthcheck           any
		Labels                map[string]string
	}
	require.NoError(t, json.Unmarshal([]byte(do(t, "docker", "inspect", "--format", "{{json .Config}}", name)), &config))
	require.Equal(t, []string{"op-node"}, config.Cmd)
	require.Empty(t, config.Entrypoint)
	require.Empty(t, config.User)
	require.Empty(t, config.ExposedPorts)
	require.Empty(t, config.Volumes)
	require.Nil(t, config.Healthcheck)
	for _, label := range []string{"title", "description", "licenses", "source", "version", "revision", "created"} {
		require.NotEmpty(t, config.Labels["org.opencontainers.image."+label], label)
	}
}

// unpack lays the layers of an image over each other in a folder.
func unpack(t *testing.T, file string) string {
	t.Helper()
	dir, parts := t.TempDir(), t.TempDir()
	do(t, "tar", "-xf", file, "-C", parts)
	text, err := os.ReadFile(filepath.Join(parts, "manifest.json"))
	require.NoError(t, err)
	var manifest []struct{ Layers []string }
	require.NoError(t, json.Unmarshal(text, &manifest))
	for _, layer := range manifest[0].Layers {
		do(t, "tar", "-xf", filepath.Join(parts, layer), "-C", dir)
	}
	return dir
}

// TestDebianPackage installs the package under a root of its own, has systemd look at the unit, and removes it again.
func TestDebianPackage(t *testing.T) {
	deb := released(t, "op-node_*_"+runtime.GOARCH+".deb")
	for _, tool := range []string{"dpkg", "systemd-analyze"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not on this machine: the package was not installed", tool)
		}
	}
	dir := t.TempDir()
	for _, sub := range []string{"var/lib/dpkg/updates", "var/lib/dpkg/info", "etc"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, sub), 0o755))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "var/lib/dpkg/status"), nil, 0o644))
	dpkg := func(args ...string) {
		do(t, "dpkg", append([]string{"--root=" + dir, "--force-script-chrootless", "--force-depends"}, args...)...)
	}
	dpkg("--install", deb)
	files := map[string]os.FileMode{
		"usr/bin/op-node": 0o755, "etc/default/op-node": 0o640, "usr/lib/systemd/system/op-node.service": 0o644,
		"usr/share/man/man1/op-node.1": 0o644, "usr/share/bash-completion/completions/op-node": 0o644,
		"usr/share/zsh/vendor-completions/_op-node": 0o644, "usr/share/fish/vendor_completions.d/op-node.fish": 0o644,
	}
	for name, mode := range files {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), name)
	}
	do(t, filepath.Join(dir, "usr/bin/op-node"), "--version")
	// The unit's own file, with the program that was installed; the targets are those of this machine.
	unit, err := os.ReadFile(filepath.Join(dir, "usr/lib/systemd/system/op-node.service"))
	require.NoError(t, err)
	here := filepath.Join(t.TempDir(), "op-node.service")
	require.NoError(t, os.WriteFile(here, []byte(strings.ReplaceAll(string(unit), "/usr/bin/op-node", filepath.Join(dir, "usr/bin/op-node"))), 0o644))
	do(t, "systemd-analyze", "verify", "--man=no", here)
	do(t, "systemd-analyze", "security", "--offline=true", "--threshold=20", filepath.Join(root, "ops/systemd/op-node.service"))

	require.NoError(t, os.WriteFile(filepath.Join(dir, "etc/default/op-node"), []byte("OP_NODE_NETWORK=mine\n"), 0o640))
	dpkg("--install", deb)
	kept, err := os.ReadFile(filepath.Join(dir, "etc/default/op-node"))
	require.NoError(t, err)
	require.Contains(t, string(kept), "mine", "an upgrade keeps the settings")
	dpkg("--purge", "op-node")
	for name := range files {
		require.NoFileExists(t, filepath.Join(dir, name))
	}
}

// TestArchives: what is in them, and that the checksums are theirs.
func TestArchives(t *testing.T) {
	for _, pattern := range []string{"op-node_*_linux_amd64.tar.gz", "op-node_*_linux_arm64.tar.gz", "op-node_*_darwin_arm64.tar.gz"} {
		out := do(t, "tar", "-tzf", released(t, pattern))
		for _, want := range []string{"/op-node\n", "/LICENSE\n", "/CHANGELOG.md\n"} {
			require.Contains(t, out, want, pattern)
		}
	}
	do(t, "sh", "-c", `cd "$(dirname "$0")" && sha256sum --quiet -c SHA256SUMS`, released(t, "SHA256SUMS"))
	var sbom struct{ Components []any }
	text, err := os.ReadFile(released(t, "op-node_*.cdx.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &sbom))
	require.Greater(t, len(sbom.Components), 100)
}

// TestImageFiles: nothing in the image says when or where it was built but by its commit.
func TestImageFiles(t *testing.T) {
	file, _ := image(t)
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	archive := tar.NewReader(f)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return
		}
		require.NoError(t, err)
		require.Zero(t, header.Uid+header.Gid, header.Name)
	}
}

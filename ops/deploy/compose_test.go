package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/stretchr/testify/require"
)

// composed are the combinations of compose files, with the services that each has.
var composed = map[string][]string{
	"follower.yml":       {"op-node"},
	"demo.yml":           {"devnet", "follower-1", "follower-2"},
	"demo.yml light.yml": {"devnet", "follower-1", "follower-2"},
}

// TestComposeFiles has compose's own loader read the files, strictly.
func TestComposeFiles(t *testing.T) {
	for files, want := range composed {
		var paths []string
		for _, name := range strings.Fields(files) {
			paths = append(paths, filepath.Join(root, "ops/compose", name))
		}
		options, err := cli.NewProjectOptions(paths, cli.WithName("check"),
			cli.WithEnv([]string{"L1_URL=ws://l1", "ENGINE_URL=http://el:8551", "SOURCES=http://s:9545", "JWT_FILE=/jwt"}))
		require.NoError(t, err)
		project, err := options.LoadProject(context.Background())
		require.NoError(t, err, files)
		require.ElementsMatch(t, want, project.ServiceNames(), files)
	}
}

// demo is the demonstration, running.
type demo struct {
	t       *testing.T
	project string
	files   []string
}

// start brings the demonstration up, and takes it down with the test.
func start(t *testing.T, files ...string) demo {
	t.Helper()
	d := demo{t: t, project: fmt.Sprintf("op-node-%d", os.Getpid())}
	for _, name := range files {
		d.files = append(d.files, "-f", filepath.Join(root, "ops/compose", name))
	}
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := d.compose("logs", "--no-color", "--tail=30")
			t.Log(out)
		}
		out, err := d.compose("down", "-v", "-t", "10")
		require.NoError(t, err, out)
	})
	out, err := d.compose("up", "-d")
	require.NoError(t, err, out)
	return d
}

func (d demo) compose(args ...string) (string, error) {
	name, first := "docker-compose", []string{}
	if _, err := exec.LookPath(name); err != nil {
		name, first = "docker", []string{"compose"}
	}
	args = append(append(append(first, "-p", d.project), d.files...), args...)
	return try(name, args...)
}

// docker runs a command of the engine on a service's container.
func (d demo) docker(command, service string, args ...string) string {
	d.t.Helper()
	all := append(append(strings.Fields(command), args...), d.project+"_"+service+"_1")
	return strings.TrimSpace(do(d.t, "docker", all...))
}

// network connects a service with a network, or disconnects it.
func (d demo) network(change, network, service string) {
	d.t.Helper()
	do(d.t, "docker", "network", change, d.project+"_"+network, d.project+"_"+service+"_1")
}

// address is where a service's RPC is published at the moment.
func (d demo) address(service string) string {
	d.t.Helper()
	out, err := try("docker", "port", d.project+"_"+service+"_1", "9545")
	if err != nil {
		return ""
	}
	return "http://" + strings.TrimSpace(strings.Split(out, "\n")[0])
}

var client = http.Client{Timeout: 3 * time.Second}

// ready is what /readyz says.
func (d demo) ready(service string) (status int, why string) {
	response, err := client.Get(d.address(service) + "/readyz")
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

// labels are the numbers of the heads that a node serves.
func (d demo) labels(service string) (safe, finalized uint64) {
	response, err := client.Post(d.address(service), "application/json",
		strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"optimism_syncStatus","params":[]}`))
	if err != nil {
		return 0, 0
	}
	defer response.Body.Close()
	var answer struct {
		Result struct {
			Safe      struct{ Number uint64 } `json:"safe_l2"`
			Finalized struct{ Number uint64 } `json:"finalized_l2"`
		}
	}
	_ = json.NewDecoder(response.Body).Decode(&answer)
	return answer.Result.Safe.Number, answer.Result.Finalized.Number
}

// within waits for a condition.
func (d demo) within(limit time.Duration, what string, done func() bool) {
	d.t.Helper()
	begin := time.Now()
	require.Eventually(d.t, done, limit, 500*time.Millisecond, what)
	d.t.Logf("%s: after %.1f s", what, time.Since(begin).Seconds())
}

// both waits until both followers answer with this status.
func (d demo) both(limit time.Duration, status int, what string) {
	d.t.Helper()
	d.within(limit, what, func() bool {
		one, _ := d.ready("follower-1")
		two, _ := d.ready("follower-2")
		return one == status && two == status
	})
}

// TestCompose tells a story on a real engine: everything comes up; a follower loses its source, and the one that follows
// it stands still as well, but no label goes back; both catch up; a kill and a stop of everything that can be stopped.
func TestCompose(t *testing.T) {
	file, _ := image(t)
	if !engine(t, "the compose files were only loaded: nothing was started, partitioned or killed") {
		return
	}
	do(t, "docker", "load", "-i", file)
	do(t, "docker", "load", "-i", released(t, "op-node-devnet-image_*.tar"))
	d := start(t, "demo.yml")
	d.both(time.Minute, http.StatusOK, "both followers are ready")
	d.within(time.Minute, "finality moves", func() bool { _, finalized := d.labels("follower-2"); return finalized > 0 })
	require.Contains(t, d.health("follower-1"), `"result"`)

	safe, finalized := d.labels("follower-2")
	forward := func(what string) {
		t.Helper()
		d.within(time.Minute, what, func() bool { now, _ := d.labels("follower-2"); return now > safe+5 })
		now, final := d.labels("follower-2")
		require.GreaterOrEqual(t, final, finalized, "finalized went back")
		safe, finalized = now, final
	}

	d.network("disconnect", "sources", "follower-1")
	d.both(time.Minute, http.StatusServiceUnavailable, "neither is ready without the source")
	_, why := d.ready("follower-1")
	require.NotEmpty(t, why)
	t.Log("follower-1: ", why)
	_, why = d.ready("follower-2")
	t.Log("follower-2: ", why)
	held, _ := d.labels("follower-2")
	require.GreaterOrEqual(t, held, safe, "labels hold")
	d.network("connect", "sources", "follower-1")
	d.both(time.Minute, http.StatusOK, "both are ready again")
	forward("labels move again")

	d.docker("kill", "follower-1")
	d.docker("start", "follower-1")
	d.both(time.Minute, http.StatusOK, "ready after kill -9 of the first follower")
	forward("labels move after the kill")

	// The second follower has a source that answers, and no newer L1 block to measure it by.
	d.docker("pause", "devnet")
	d.within(time.Minute, "the first is not ready while L1, source and engines are silent", func() bool {
		status, _ := d.ready("follower-1")
		return status == http.StatusServiceUnavailable
	})
	d.docker("unpause", "devnet")
	d.both(time.Minute, http.StatusOK, "ready once they speak again")
	forward("labels move after the silence")

	d.docker("stop", "follower-2")
	require.Equal(t, "0", d.docker("inspect --format {{.State.ExitCode}}", "follower-2"), "a clean stop")
}

// health is the health check that upstream's documentation gives, run inside of a container.
func (d demo) health(service string) string {
	d.t.Helper()
	return do(d.t, "docker", "exec", d.project+"_"+service+"_1", "wget", "-q", "-O", "-", "--header", "content-type: application/json",
		"--post-data", `{"jsonrpc":"2.0","method":"optimism_version","params":[],"id":1}`, "http://127.0.0.1:9545")
}

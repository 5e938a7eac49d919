// Package deploy checks the files that operators deploy with the tools that they use: kustomize and kubeconform as
// libraries, compose's own loader, systemd-analyze, dpkg and docker where they are installed.
package deploy

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/yannh/kubeconform/pkg/validator"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// root is the checkout.
const root = "../.."

// overlays are the deployments, with the kinds that each has.
var overlays = map[string][]string{
	"base":            {"StatefulSet", "Service", "ConfigMap", "ServiceMonitor", "PodDisruptionBudget", "PrometheusRule"},
	"followers":       {"StatefulSet", "Service", "ConfigMap", "ServiceMonitor", "PodDisruptionBudget", "PrometheusRule"},
	"light-sequencer": {"StatefulSet", "Service", "Service", "ConfigMap", "ServiceMonitor", "PodDisruptionBudget", "PrometheusRule"},
}

func build(t *testing.T, overlay string) resmap.ResMap {
	t.Helper()
	options := krusty.MakeDefaultOptions()
	all, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), filepath.Join(root, "ops/k8s", overlay))
	require.NoError(t, err, overlay)
	return all
}

// TestKubernetesFiles builds each deployment and holds every object against the schema of its kind, strictly.
func TestKubernetesFiles(t *testing.T) {
	check, err := validator.New([]string{filepath.Join(root, "ops/k8s/schemas/{{ .ResourceKind }}{{ .KindSuffix }}.json")},
		validator.Opts{Strict: true, KubernetesVersion: "master"})
	require.NoError(t, err)
	for overlay, want := range overlays {
		var kinds []string
		for _, object := range build(t, overlay).Resources() {
			kinds = append(kinds, object.GetKind())
			text, err := object.AsYAML()
			require.NoError(t, err)
			for _, result := range check.Validate(overlay, io.NopCloser(bytes.NewReader(text))) {
				require.Equal(t, validator.Valid, result.Status, "%s %s: %v", overlay, object.CurId(), result.Err)
			}
		}
		require.ElementsMatch(t, want, kinds, overlay)
	}
	bad := []byte("apiVersion: v1\nkind: Service\nmetadata:\n  name: x\nspec:\n  prots: []\n")
	for _, result := range check.Validate("bad", io.NopCloser(bytes.NewReader(bad))) {
		require.Equal(t, validator.Invalid, result.Status, "a wrong field has to be found")
	}
}

// TestKubernetesReferences: what an object names is there, under the name that the overlay gives it.
func TestKubernetesReferences(t *testing.T) {
	for overlay := range overlays {
		all := build(t, overlay)
		text, err := all.AsYaml()
		require.NoError(t, err)
		for _, object := range all.Resources() {
			if object.GetKind() == "ConfigMap" {
				require.Contains(t, string(text), "name: "+object.GetName(), overlay)
				require.GreaterOrEqual(t, strings.Count(string(text), "name: "+object.GetName()), 2, "%s: nobody uses %s", overlay, object.GetName())
			}
		}
		for _, want := range []string{"/healthz", "/readyz", "terminationGracePeriodSeconds: 300", "- op-node\n"} {
			require.Contains(t, string(text), want, overlay)
		}
	}
}

// TestKubernetesAlerts: the rules that Kubernetes hands to Prometheus are those of ops/prometheus.
func TestKubernetesAlerts(t *testing.T) {
	read := func(name string) (content map[string]any) {
		text, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		require.NoError(t, yaml.Unmarshal(text, &content))
		return content
	}
	rules, object := read("ops/prometheus/alerts.yaml"), read("ops/k8s/base/prometheusrule.yaml")
	require.NotEmpty(t, rules["groups"])
	require.Equal(t, rules, object["spec"])
}

// TestAlerts has Prometheus' own tool check the alert rules and run their tests.
func TestAlerts(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not on this machine: the alert rules were not run")
	}
	dir := filepath.Join(root, "ops/prometheus")
	do(t, tool, "check", "rules", filepath.Join(dir, "alerts.yaml"))
	do(t, tool, "test", "rules", filepath.Join(dir, "alerts_test.yaml"))
}

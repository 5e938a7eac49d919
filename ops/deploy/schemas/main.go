// Command schemas writes the JSON schemas that the Kubernetes files are checked against: of the kinds in use only, made of
// the published description of the API (a Go module), and of the custom resources of the Prometheus operator (another).
//
//	go -C ops/deploy run ./schemas ../k8s/schemas
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// The modules that the schemas are made of.
const (
	kubernetes = "k8s.io/kubernetes@v1.34.2"
	operator   = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
)

// kinds are what the files use, by their name in the description of the API.
var kinds = map[string]string{
	"service-v1":                    "io.k8s.api.core.v1.Service",
	"configmap-v1":                  "io.k8s.api.core.v1.ConfigMap",
	"statefulset-apps-v1":           "io.k8s.api.apps.v1.StatefulSet",
	"poddisruptionbudget-policy-v1": "io.k8s.api.policy.v1.PodDisruptionBudget",
}

// resources are the custom resources in use, by their file in the operator's module.
var resources = map[string]string{
	"servicemonitor-monitoring-v1": "monitoring.coreos.com_servicemonitors.yaml",
	"prometheusrule-monitoring-v1": "monitoring.coreos.com_prometheusrules.yaml",
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: schemas FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "schemas:", err)
		os.Exit(1)
	}
}

func run(folder string) error {
	dir, err := module(kubernetes)
	if err != nil {
		return err
	}
	var api struct {
		Definitions map[string]any `json:"definitions"`
	}
	text, err := os.ReadFile(filepath.Join(dir, "api/openapi-spec/swagger.json"))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &api); err != nil {
		return fmt.Errorf("swagger.json: %w", err)
	}
	for name, kind := range kinds {
		if err := write(folder, name, resolved(api.Definitions, api.Definitions[kind])); err != nil {
			return err
		}
	}
	if dir, err = module(operator); err != nil {
		return err
	}
	for name, file := range resources {
		schema, err := customResource(filepath.Join(dir, "example/prometheus-operator-crd", file))
		if err != nil {
			return err
		}
		if err := write(folder, name, resolved(nil, schema)); err != nil {
			return err
		}
	}
	return nil
}

// module is the folder of a module in the module cache.
func module(version string) (string, error) {
	out, err := exec.Command("go", "mod", "download", "-json", version).Output()
	if err != nil {
		return "", fmt.Errorf("download %s: %w", version, err)
	}
	var m struct{ Dir string }
	return m.Dir, json.Unmarshal(out, &m)
}

// customResource is the schema of the one version that a definition of a custom resource serves.
func customResource(file string) (any, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var definition struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema any `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &definition); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(definition.Spec.Versions) != 1 {
		return nil, fmt.Errorf("%s: %d versions", file, len(definition.Spec.Versions))
	}
	return definition.Spec.Versions[0].Schema.OpenAPIV3Schema, nil
}

// resolved is a schema with every reference written out, without prose, and strict: what it does not know is an error. Of
// a field that takes a number or a text both are allowed.
func resolved(definitions map[string]any, schema any) any {
	switch s := schema.(type) {
	case []any:
		for i := range s {
			s[i] = resolved(definitions, s[i])
		}
		return s
	case map[string]any:
		if ref, ok := s["$ref"].(string); ok {
			return resolved(definitions, definitions[strings.TrimPrefix(ref, "#/definitions/")])
		}
		if s["format"] == "int-or-string" || s["x-kubernetes-int-or-string"] == true {
			return map[string]any{"type": []any{"integer", "string"}}
		}
		out := make(map[string]any)
		for key, value := range s {
			switch {
			case key == "description" || key == "format" || strings.HasPrefix(key, "x-kubernetes"):
			case key == "properties":
				fields := make(map[string]any)
				for name, field := range value.(map[string]any) {
					fields[name] = resolved(definitions, field)
				}
				out[key] = fields
			default:
				out[key] = resolved(definitions, value)
			}
		}
		if _, typed := out["properties"]; typed && out["additionalProperties"] == nil {
			out["additionalProperties"] = false
		}
		return out
	default:
		return schema
	}
}

func write(folder, name string, schema any) error {
	text, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, name+".json"), append(text, '\n'), 0o644)
}

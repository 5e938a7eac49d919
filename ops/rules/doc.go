// Package rules holds what the repository demands of itself, as tests: who may import whom, that everything exported is
// documented, that links in the documents lead somewhere, and that the Makefile and the justfile agree. It has no code of
// its own. `go test ./ops/rules` takes a second and needs no compiler but the one for the test.
package rules

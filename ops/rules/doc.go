// Package rules holds what the repository demands of itself, as tests: who may import whom, that everything exported is
// documented, that links in the documents lead somewhere, that the Makefile and the justfile agree, and that nothing is copied
// from upstream. It has no code of its own. `go test ./ops/rules` takes seconds and needs no compiler but the one for the test.
package rules

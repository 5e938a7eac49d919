// Package testutil holds what the tests of several packages share. The import rules forbid it to production code.
package testutil

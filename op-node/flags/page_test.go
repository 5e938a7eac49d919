package flags

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFlagsPage compares the page that operators read with the flag table.
//
//	go test ./op-node/flags -run TestFlagsPage -update
func TestFlagsPage(t *testing.T) {
	page := filepath.Join("..", "docs", "flags.md")
	want := flagsPage()
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(want), 0o644))
	}
	have, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Equal(t, want, string(have), "%s is out of date, run this test with -update", page)
}

const flagsPageHead = `# Flags

Every flag of the program, by the categories of ` + "`--help`" + `. Where flag and environment variable are both given, the flag counts.
A flag for a list takes its values separated by commas, or is given several times. Times are written like ` + "`1h30m` or `500ms`" + `.

Names, variables and defaults are upstream's. *Follow mode* marks the flags of following; those that are also marked *not upstream's*
are added by this program, and upstream's op-node refuses to start with them. What ` + "`--help`" + ` leaves out, deprecated flags among it, is
accepted and listed [at the end](#hidden-and-deprecated).

This page is generated from [the flag table](../flags/flags.go).
`

// flagsPage renders the flag table: a section for each category of the help, in its order, and one for what the help leaves out.
func flagsPage() string {
	set, rows, hidden := New(), map[string]string{}, ""
	for _, f := range set.Flags {
		facts := describe(set, f)
		row := flagRow(facts, reflect.ValueOf(f).Elem().FieldByName("Usage").String())
		if facts.Hidden {
			hidden += row
			continue
		}
		rows[cmp.Or(facts.Category, "Without a category")] += row
	}
	var b strings.Builder
	b.WriteString(flagsPageHead)
	section := func(title, rows string) {
		fmt.Fprintf(&b, "\n## %s\n\n| flag | variable | default | meaning |\n|---|---|---|---|\n%s", title, rows)
	}
	for _, category := range slices.Sorted(maps.Keys(rows)) { // they start with numbers
		title := category
		if _, name, numbered := strings.Cut(category, ". "); numbered {
			title = name
		}
		section(title, rows[category])
	}
	section("Hidden and deprecated", hidden)
	return b.String()
}

// flagRow is a flag's line in its table.
func flagRow(f flagFacts, usage string) string {
	var marks []string
	if strings.HasPrefix(f.Name, "l2.follow.") {
		marks = append(marks, "*Follow mode.*")
	}
	if slices.Contains(ownFlags(), f.Name) {
		marks = append(marks, "*Not upstream's.*")
	}
	return fmt.Sprintf("| %s | %s | %s | %s |\n", cell(prefixed(append([]string{f.Name}, f.Aliases...))...), cell(f.Env...),
		cell(f.Default), strings.Join(append(marks, escape(usage)), " "))
}

func prefixed(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = "--" + name
	}
	return out
}

// cell shows values as they are typed; empty ones not at all.
func cell(values ...string) string {
	var out []string
	for _, value := range values {
		if value != "" {
			out = append(out, "`"+value+"`")
		}
	}
	return strings.Join(out, ", ")
}

// escape keeps a text within one cell of a table.
func escape(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ").Replace(strings.Join(strings.Fields(text), " "))
}

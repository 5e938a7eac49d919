// Package printable keeps out of logs what steers terminals, viewers and readers: control characters, C1 and bidirectional
// ones included. Such text comes from outside: peers, sources, L1 endpoints, RPC clients.
package printable

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text returns the text with what is not printable spelled out, as in a Go string. Line feeds and tabs stay: every log format
// has its way with them.
func Text(text string) string {
	if fit(text) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if steers(r) {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func fit(text string) bool { return utf8.ValidString(text) && strings.IndexFunc(text, steers) < 0 }

func steers(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' }

// Handler returns a handler that logs as the given one does, with every text made printable.
func Handler(next slog.Handler) slog.Handler { return &handler{next} }

type handler struct{ next slog.Handler }

// Enabled implements slog.Handler.
func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, record slog.Record) error {
	clean := slog.NewRecord(record.Time, record.Level, Text(record.Message), record.PC)
	record.Attrs(func(attr slog.Attr) bool {
		clean.AddAttrs(cleaned(attr))
		return true
	})
	return h.next.Handle(ctx, clean)
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, attr := range attrs {
		clean[i] = cleaned(attr)
	}
	return &handler{h.next.WithAttrs(clean)}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler { return &handler{h.next.WithGroup(name)} }

// Unwrap is what looks for handlers beneath use, such as the change of the log level.
func (h *handler) Unwrap() slog.Handler { return h.next }

// cleaned makes a value printable. One that is so anyway stays what it is, for handlers that know its type.
func cleaned(attr slog.Attr) slog.Attr {
	key, value := Text(attr.Key), attr.Value.Resolve()
	switch value.Kind() {
	case slog.KindString:
		return slog.String(key, Text(value.String()))
	case slog.KindGroup:
		group := slices.Clone(value.Group())
		for i := range group {
			group[i] = cleaned(group[i])
		}
		return slog.Attr{Key: key, Value: slog.GroupValue(group...)}
	case slog.KindAny:
		if text := fmt.Sprintf("%+v", value.Any()); !fit(text) {
			return slog.String(key, Text(text))
		}
	}
	return slog.Attr{Key: key, Value: value}
}

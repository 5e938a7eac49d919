package secret

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// Hider replaces secrets that it knows. The zero value and nil know none. Safe for concurrent use.
type Hider struct {
	secrets  []string // longest first
	replacer *strings.Replacer
}

// New returns a hider of the secrets. Those that are too short to be told from other text are left out.
func New(secrets ...string) *Hider {
	h := new(Hider)
	for _, secret := range secrets {
		if len(secret) >= shortest && !slices.Contains(h.secrets, secret) {
			h.secrets = append(h.secrets, secret)
		}
	}
	slices.SortFunc(h.secrets, func(a, b string) int { return len(b) - len(a) }) // a part must not hide that there was more
	var pairs []string
	for _, secret := range h.secrets {
		replacement := hidden
		if strings.HasPrefix(secret, "/") {
			replacement = "/" + hidden
		}
		pairs = append(pairs, secret, replacement)
	}
	h.replacer = strings.NewReplacer(pairs...)
	return h
}

// found tells whether a text has a secret in it.
func (h *Hider) found(text string) bool {
	return h != nil && slices.ContainsFunc(h.secrets, func(secret string) bool { return strings.Contains(text, secret) })
}

// Text returns the text without secrets.
func (h *Hider) Text(text string) string {
	if !h.found(text) {
		return text
	}
	return h.replacer.Replace(text)
}

// Error returns an error whose text has no secrets: the error itself if it has none anyway. What the error is can still be
// found out with errors.Is and errors.As.
func (h *Hider) Error(err error) error {
	if err == nil || !h.found(err.Error()) {
		return err
	}
	return &hiddenError{text: h.Text(err.Error()), cause: err}
}

type hiddenError struct {
	text  string
	cause error
}

func (e *hiddenError) Error() string { return e.text }
func (e *hiddenError) Unwrap() error { return e.cause }

// Format implements fmt.Formatter, so that no verb shows the cause.
func (e *hiddenError) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(e.text)) }

// Handler returns a handler that logs as the given one does, without secrets.
func (h *Hider) Handler(next slog.Handler) slog.Handler {
	if h == nil || len(h.secrets) == 0 {
		return next
	}
	return &handler{next, h}
}

type handler struct {
	next slog.Handler
	h    *Hider
}

// Enabled implements slog.Handler.
func (l *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return l.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (l *handler) Handle(ctx context.Context, record slog.Record) error {
	clean := slog.NewRecord(record.Time, record.Level, l.h.Text(record.Message), record.PC)
	record.Attrs(func(attr slog.Attr) bool {
		clean.AddAttrs(l.clean(attr))
		return true
	})
	return l.next.Handle(ctx, clean)
}

// WithAttrs implements slog.Handler.
func (l *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, attr := range attrs {
		clean[i] = l.clean(attr)
	}
	return &handler{l.next.WithAttrs(clean), l.h}
}

// WithGroup implements slog.Handler.
func (l *handler) WithGroup(name string) slog.Handler { return &handler{l.next.WithGroup(name), l.h} }

// Unwrap is what looks for handlers beneath use, such as the change of the log level.
func (l *handler) Unwrap() slog.Handler { return l.next }

// clean replaces the secrets in a value. One without secrets stays what it is, for handlers that know its type.
func (l *handler) clean(attr slog.Attr) slog.Attr {
	value := attr.Value.Resolve()
	switch value.Kind() {
	case slog.KindString:
		return slog.String(attr.Key, l.h.Text(value.String()))
	case slog.KindGroup:
		group := slices.Clone(value.Group())
		for i := range group {
			group[i] = l.clean(group[i])
		}
		return slog.Attr{Key: attr.Key, Value: slog.GroupValue(group...)}
	case slog.KindAny:
		if text := fmt.Sprintf("%+v", value.Any()); l.h.found(text) {
			return slog.String(attr.Key, l.h.Text(text))
		}
	}
	return slog.Attr{Key: attr.Key, Value: value}
}

package config

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/lightcl/op-node/op-service/secret"
)

// Secrets are the parts of the options that must not be shown, in the forms in which they may appear in errors of libraries and in
// what endpoints answer.
func (c *Config) Secrets() []string {
	var all []string
	endpoints := []string{c.L1.URL, c.L2.URL, c.Beacon.URL, c.Conductor.URL, c.Signer.Remote.Endpoint, c.AltDA.DAServerURL}
	for _, endpoint := range append(append(endpoints, c.Beacon.Fallbacks...), c.Follow.Sources...) {
		all = append(all, secret.OfURL(endpoint)...)
	}
	all = append(all, secret.OfHeader(c.Beacon.Header)...)
	all = append(all, secret.OfHeader(c.Signer.Remote.Headers)...)
	all = append(all, secret.OfHeader(c.Follow.Headers)...)
	for _, header := range c.Follow.SourceHeaders {
		all = append(all, secret.OfHeader(header)...)
	}
	for _, key := range [][]byte{c.L2.JWTSecret[:], c.RPC.AdminJWTSecret} {
		all = append(all, hex.EncodeToString(key))
	}
	if c.P2P.Identity != nil {
		if raw, err := c.P2P.Identity.Raw(); err == nil {
			all = append(all, hex.EncodeToString(raw))
		}
	}
	return append(all, strings.TrimPrefix(c.Signer.Key, "0x"))
}

// String returns the sources as they can be shown.
func (f Follow) String() string { return strings.Join(secret.Names(f.Sources), ",") }

// notShown is what a struct with secrets is printed as.
func notShown(s fmt.State, name string) { _, _ = io.WriteString(s, "("+name+" is not shown)") }

// Format implements fmt.Formatter: there are secrets in it.
func (Config) Format(s fmt.State, _ rune) { notShown(s, "configuration") }

// Format implements fmt.Formatter: there are secrets in it.
func (L1) Format(s fmt.State, _ rune) { notShown(s, "L1 configuration") }

// Format implements fmt.Formatter: there are secrets in it.
func (L2) Format(s fmt.State, _ rune) { notShown(s, "L2 configuration") }

// Format implements fmt.Formatter: there are secrets in it.
func (Beacon) Format(s fmt.State, _ rune) { notShown(s, "beacon configuration") }

// Format implements fmt.Formatter: there are secrets in it.
func (Conductor) Format(s fmt.State, _ rune) { notShown(s, "conductor configuration") }

// Format implements fmt.Formatter: there are secrets in it.
func (Signer) Format(s fmt.State, _ rune) { notShown(s, "signer configuration") }

// Format implements fmt.Formatter: there are secrets in it.
func (RPC) Format(s fmt.State, _ rune) { notShown(s, "RPC configuration") }

// Format implements fmt.Formatter: the sources can be shown, their headers cannot.
func (f Follow) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, f.String()) }

// MarshalText implements encoding.TextMarshaler, for whoever makes JSON of it.
func (Config) MarshalText() ([]byte, error) { return []byte("(configuration is not shown)"), nil }

// Package poll decides about the requests to one source: when to ask, and how long to wait for the answer. It is pure: it is told
// what happens and when, and reads no clock.
package poll

// Package sources talks to the external consensus nodes that a light node follows.
//
// A source is trusted with nothing. Whatever it does costs bounded memory and time: every call has a timeout, and what
// is read of an answer is limited, over HTTP as over WebSocket, after decompression and including connection set-up. An
// answer is decoded strictly, and what it says is still a claim that package follow has to judge.
//
// Nothing is shown of a source that may be a secret: errors, logs and metrics carry its Name, which has neither user
// info nor path nor query; headers are never shown.
package sources

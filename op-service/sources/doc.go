// Package sources talks to the external consensus nodes that a light node follows.
//
// A source is trusted with nothing. Whatever it does costs bounded memory, time and connections: every call has a
// timeout, and so has every handshake that outlives its call; what is read of an answer is limited, over HTTP as over
// WebSocket, after decompression and including connection set-up. An answer is decoded strictly: names of fields are
// exact, and none comes twice. What it says is still a claim that package follow has to judge.
//
// The JSON-RPC here is a client's and nothing more. A general library lets the other side of a WebSocket ask back, and
// works, answers, counts and logs for it; here a message that is no answer ends its connection.
//
// Nothing is shown of a source that may be a secret: errors, logs and metrics carry its Name, which has neither user
// info nor path nor query; headers are never shown. What a source says is shown in part, on one line, without
// characters that steer a terminal or the direction of reading.
package sources

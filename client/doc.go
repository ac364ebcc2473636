// Package client talks to a Crier server: it publishes, subscribes, and reads
// history. It needs nothing but the standard library, and a WebSocket library
// for [Session].
//
// What it promises:
//
//   - A publish that failed for a reason that may pass (the network, 429, 502,
//     503, 504) is tried again, under an idempotency key that the client makes
//     itself, so that no message is ever stored twice.
//   - A subscription resumes by itself after its last message when its
//     connection breaks or the server restarts. The caller sees every matching
//     message once and in order, or is told of a [Gap].
//   - Nothing that a server sends makes the client hold more memory than its
//     limits say.
//
// What a server refuses comes back as a [*Problem], found with errors.As or
// errors.AsType in whatever error the client returns.
package client

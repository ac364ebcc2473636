// Package e2e has no code of its own, only tests: they run the real binary as
// a user does, over its sockets, flags, signals and files, and know nothing of
// what is inside.
//
//   - crash: kill -9 at random moments under load. Every acknowledged message
//     is there once and in order for every subscriber that resumes.
//   - browser: pages in a real Chromium lose the server and go on when it is
//     back.
//   - engineio, realizehit: the clients of others, from npm, in testdata/node.
//   - life, access: starting, stopping, who may do what, TLS, settings.
//   - disk: full, read-only. slow: a reader of a byte a second.
//
// Every server and browser that a test starts is killed and waited for in its
// cleanup; ports are the kernel's choice. Nothing waits a given time for
// something to have happened: tests wait for events, log lines and answers,
// with a deadline far beyond what a loaded machine takes.
//
// Environment: CRIER_BINARY names a binary to test instead of building one
// (say, with the race detector), CRIER_CRASHES how often the server is
// killed, CRIER_SEED the seed of a run to repeat, CRIER_CHROMIUM the browser,
// CRIER_REDIS a Redis for tests.
package e2e

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
//   - qri, wspubsub: the clients of the ancestors, in other languages; pairs:
//     what enters by any way leaves by every other, with Redis and without.
//     migrate: the pages for
//     those who come from elsewhere, run as they are written.
//   - mongodb: servers on one database, which goes away and comes back.
//   - disk: full, read-only. slow: a reader of a byte a second. rude: peers
//     that do what none should. flood: too many of them. soak: many, for long.
//
// Every server and browser that a test starts is killed and waited for in its
// cleanup; ports are the kernel's choice. Nothing waits a given time for
// something to have happened: tests wait for events, log lines and answers,
// with a deadline far beyond what a loaded machine takes.
//
// Environment: CRIER_BINARY names a binary to test instead of building one
// (say, with the race detector), CRIER_CRASHES how often the server is
// killed, CRIER_SEED the seed of a run to repeat, CRIER_CHROMIUM the browser,
// CRIER_REDIS a Redis for tests, CRIER_POSTGRES a database server's URL,
// CRIER_MONGODB a MongoDB's,
// CRIER_SOAK and CRIER_SOAK_CONNECTIONS how long the soak takes and of how many
// connections it is.
package e2e

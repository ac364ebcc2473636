// Package bench is what crier bench runs: load on a server, and exact counts
// of what came of it. [Publish], [Fanout], [LoadHistory], [Storm] and [Idle]
// are the loads; a [Target] is what gets them: a server, started here or
// given, or the limit beside it (package limit), which [Compare] runs in turns
// with the server.
//
// The invariant: every message carries who sent it, its number and when, so
// that lost, doubled and swapped ones are counted one by one and latency is
// taken from the message itself. The generator is to be light beside what it
// measures: it writes requests that are made beforehand on raw keep-alive
// connections, reads all subscribers by a few goroutines (see crowd) and looks
// only at the bytes that it needs; its own processor time is in every result.
package bench

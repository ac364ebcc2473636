// Package bench is what crier bench runs: load on a server, and exact counts
// of what came of it. [Publish], [Fanout], [Replay] and [Idle] are the four
// loads; a [Target] is the server that gets them, started here or given.
//
// The invariant: every message carries who sent it, its number and when, so
// that lost, doubled and swapped ones are counted one by one and latency is
// taken from the message itself. The generator is to be light beside what it
// measures: it writes requests that are made beforehand on raw keep-alive
// connections and looks only at the bytes of an answer that it needs; its own
// processor time is in every result.
package bench

// Package limit is what a push server is measured against: the least that a
// process on this system can do to move the bytes, and no server. It keeps
// raw descriptors in an array, in one thread, and does one write(2) of one
// ready frame to each; it stores nothing and checks nothing. [Run] is the
// process that crier bench --reference starts beside the server.
//
// It understands just enough of HTTP and WebSocket that the same generator
// can be pointed at it: GET is a subscription to the path, answered with the
// head of a stream; POST is a message (with ?batch a message for each line),
// written to all who listen to the path and then answered by a ready 201; PUT
// is a block of messages, a line each, that a GET with ?times=N gets N times;
// and a WebSocket that asks for a protocol gets a ready answer to each frame.
// It trusts its peer, and listens on the loopback address only.
package limit

import "errors"

// ErrUnsupported: the system has no epoll.
var ErrUnsupported = errors.New("the limit is known for Linux only")

// Config says how the limit writes.
type Config struct {
	// Together puts all messages that wait for a subscriber into one write:
	// those of a batch, and of all publishers that are heard in one turn.
	// Else each message is a write.
	Together bool
}

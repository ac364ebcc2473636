package websocket

import (
	"sync"

	"crier/internal/hub"
	"crier/internal/transport/websocket/frame"
)

// Limits of what waits on a socket.
const (
	maxInFlight = 64       // requests that are not answered
	maxAnswers  = 64 << 10 // bytes of answers to be written, beyond which no request is begun
)

// request is a message that the peer sent, or its close frame.
type request struct {
	op      frame.Op
	data    []byte
	closing frame.Code // not 0: the close frame
}

// queue has the requests of a socket on their way from the reader to the
// worker. A request is in flight until it is released.
type queue struct {
	maxBytes int
	room     hub.Signal // a request was released
	flushed  hub.Signal // answers were written

	mu       sync.Mutex // guards the fields below
	list     []request
	bytes    int // of the requests in list
	inFlight int
	answers  int // bytes of answers that are not written
	running  bool
}

func (q *queue) init(maxBytes int) {
	q.maxBytes, q.room, q.flushed = maxBytes, hub.NewSignal(), hub.NewSignal()
}

// put adds a request if there is room; begin says that no worker runs.
func (q *queue) put(r request) (ok, begin bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.inFlight >= maxInFlight || len(q.list) > 0 && q.bytes+len(r.data) > q.maxBytes {
		return false, false
	}
	q.list = append(q.list, r)
	q.bytes += len(r.data)
	q.inFlight++
	begin = !q.running
	q.running = true
	return true, begin
}

// take removes up to most requests; a close frame comes alone. None: the
// worker is to end, or, if wait, to wait until answers are flushed. unread
// says that nobody waits for answers.
func (q *queue) take(most int, unread bool) (batch []request, wait bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) == 0 {
		q.list = nil
		q.running = false
		return nil, false
	}
	if q.answers > maxAnswers && !unread {
		return nil, true
	}
	n := 0
	for n < min(most, len(q.list)) && q.list[n].closing == 0 {
		q.bytes -= len(q.list[n].data)
		n++
	}
	n = max(n, 1) // the close frame
	batch, q.list = q.list[:n:n], q.list[n:]
	return batch, false
}

// busy reports whether requests are being carried out.
func (q *queue) busy() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.running
}

// release ends n requests, whose answers, if any, were written.
func (q *queue) release(n, answers int) {
	q.mu.Lock()
	q.inFlight -= n
	q.answers -= answers
	q.mu.Unlock()
	q.room.Wake()
	if answers > 0 {
		q.flushed.Wake()
	}
}

// answer counts an answer that waits to be written.
func (q *queue) answer(bytes int) {
	q.mu.Lock()
	q.answers += bytes
	q.mu.Unlock()
}

// submit hands a request to the worker, waiting for room. false: the socket
// has ended meanwhile.
func (c *socket) submit(m mode, r request) bool {
	for {
		ok, begin := c.queue.put(r)
		if begin {
			c.wg.Go(func() { c.work(m) })
		}
		if ok {
			return true
		}
		c.held.Store(true)
		select {
		case <-c.queue.room:
			c.held.Store(false)
		case <-c.gone:
			return false
		}
	}
}

// work carries requests out until there are none. When the server wants the
// socket to end the rest is dropped; when only the peer went it is not.
func (c *socket) work(m mode) {
	for c.life.Err() == nil {
		batch, wait := c.queue.take(m.together(), c.ending())
		switch {
		case wait:
			select {
			case <-c.queue.flushed:
			case <-c.gone:
			}
		case batch == nil:
			return
		case batch[0].closing != 0:
			c.end(answered(batch[0].closing))
			c.queue.release(1, 0)
		case !m.handle(c.ctx, batch):
			return
		}
	}
}

// ending reports whether the end is known.
func (c *socket) ending() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

package limit

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"
)

// conn is a connection that is not one of those who only listen.
type conn struct {
	part   []byte // of a request, as far as it has come
	framed bool   // a WebSocket that publishes
	player *player
}

// player is who gets the block again and again.
type player struct {
	path     string
	encoding encoding
	times    int
	at       int // of the block
}

func (l *loop) event(fd int, events uint32) {
	if c := l.conns[fd]; c != nil && c.player != nil && events&unix.EPOLLOUT != 0 {
		if l.play(fd, c.player); l.conns[fd] == nil && l.places[fd].topic != nil {
			l.rewatch(fd, 0)
		}
		return
	}
	if l.conns[fd] == nil && l.places[fd].topic == nil {
		return // it is gone, by an earlier event
	}
	n, err := unix.Read(fd, l.in)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return
	}
	if err != nil || n == 0 {
		l.close(fd)
		return
	}
	c := l.conns[fd]
	if c == nil {
		return // who listens has nothing to say
	}
	b := l.in[:n]
	if len(c.part) > 0 {
		c.part = append(c.part, b...)
		b = c.part
	}
	rest, err := l.take(fd, c, b)
	switch {
	case err != nil:
		l.close(fd)
	case l.conns[fd] == c:
		c.part = append(c.part[:0], rest...)
	}
}

// take carries out the requests in b and returns what is left of it.
func (l *loop) take(fd int, c *conn, b []byte) (rest []byte, err error) {
	for len(b) > 0 && l.conns[fd] == c {
		if c.framed {
			op, n, err := clientFrame(b)
			if err != nil || n == 0 {
				return b, err
			}
			if b = b[n:]; op == 8 {
				return nil, errRequest // a close frame: the end
			}
			l.write(fd, append(appendFrameHead(l.frame[:0], len(published)), published...))
			continue
		}
		r, n, err := parse(b)
		if err != nil || n == 0 {
			return b, err
		}
		b = b[n:]
		l.serve(fd, c, &r)
	}
	return b, nil
}

func (l *loop) serve(fd int, c *conn, r *request) {
	switch string(r.method) {
	case "POST":
		l.publish(r)
		l.write(fd, []byte(created))
	case "PUT":
		for e := range encodings {
			l.block[e] = nil
			for line := range bytes.Lines(r.body) {
				l.block[e] = e.appendFrame(l.block[e], bytes.TrimSuffix(line, []byte("\n")))
			}
		}
		l.write(fd, []byte(created))
	default:
		l.subscribe(fd, c, r)
	}
}

// publish writes a message to all who listen, or has it written with others.
func (l *loop) publish(r *request) {
	t := l.topics[string(r.path)]
	if t == nil {
		return
	}
	if !bytes.HasPrefix(r.query, []byte("batch")) {
		l.message(t, r.body)
		return
	}
	for line := range bytes.Lines(r.body) {
		l.message(t, bytes.TrimSuffix(line, []byte("\n")))
	}
}

func (l *loop) message(t *topic, m []byte) {
	waits := false
	for e := range encodings {
		if len(t.listeners[e]) == 0 {
			continue
		}
		if l.cfg.Together {
			waits = waits || len(t.together[e]) > 0
			t.together[e] = e.appendFrame(t.together[e], m)
			continue
		}
		l.frame = e.appendFrame(l.frame[:0], m)
		l.each(t, e, l.frame)
	}
	if l.cfg.Together && !waits {
		l.news = append(l.news, t)
	}
}

// each does what is measured: one write to each descriptor.
func (l *loop) each(t *topic, e encoding, frame []byte) {
	list := t.listeners[e]
	for i := len(list) - 1; i >= 0; i-- { // backwards: one that is gone leaves its place to the last
		l.write(int(list[i]), frame)
	}
}

// tell writes what waits.
func (l *loop) tell() {
	for _, t := range l.news {
		for e := range encodings {
			if len(t.together[e]) > 0 {
				l.each(t, e, t.together[e])
				t.together[e] = t.together[e][:0]
			}
		}
	}
	l.news = l.news[:0]
}

// maxStall is how long a descriptor may take nothing, in milliseconds.
const maxStall = 10_000

// write writes all of b, and waits for a peer that does not take it.
func (l *loop) write(fd int, b []byte) {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		switch {
		case errors.Is(err, unix.EAGAIN):
			polled, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, maxStall)
			if polled == 0 && err == nil {
				l.close(fd)
				return
			}
		case errors.Is(err, unix.EINTR):
		case err != nil:
			l.close(fd)
			return
		default:
			b = b[n:]
		}
	}
}

// subscribe makes a connection one that listens.
func (l *loop) subscribe(fd int, c *conn, r *request) {
	l.write(fd, []byte(r.encoding.head()))
	if l.conns[fd] != c {
		return
	}
	if r.protocol {
		c.framed = true
		return
	}
	times := r.times()
	if times == 0 {
		l.enter(fd, string(r.path), r.encoding)
		return
	}
	c.player = &player{path: string(r.path), encoding: r.encoding, times: times}
	if l.play(fd, c.player); l.conns[fd] == c {
		l.rewatch(fd, unix.EPOLLOUT)
	}
}

// rewatch has a descriptor watched for other events beside input.
func (l *loop) rewatch(fd int, events uint32) {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | events, Fd: int32(fd)}
	if unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, fd, &ev) != nil {
		l.close(fd)
	}
}

// enter puts a descriptor into the array; nothing else is kept of it.
func (l *loop) enter(fd int, path string, e encoding) {
	t := l.topics[path]
	if t == nil {
		t = &topic{}
		l.topics[path] = t
	}
	l.conns[fd] = nil
	l.places[fd] = place{topic: t, at: int32(len(t.listeners[e])), encoding: e}
	t.listeners[e] = append(t.listeners[e], int32(fd))
}

// play writes the block as often as the peer takes it now; who has had it
// often enough listens like the others.
func (l *loop) play(fd int, p *player) {
	block := l.block[p.encoding]
	for p.times > 0 && len(block) > 0 {
		n, err := unix.Write(fd, block[p.at:])
		switch {
		case errors.Is(err, unix.EAGAIN):
			return
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			l.close(fd)
			return
		}
		if p.at += n; p.at == len(block) {
			p.at = 0
			p.times--
		}
	}
	l.enter(fd, p.path, p.encoding)
}

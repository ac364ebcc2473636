package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// gathering says how a crowd comes and is heard.
type gathering struct {
	atOnce int    // connections whose request is not answered yet, at most
	loops  int    // goroutines that read, where a few are enough
	over   func() // called after every few messages; may be nil
}

// crowd is many connections that listen. On Linux a few goroutines read all
// of them through epoll, without net/http and without a goroutine for each, so
// that the generator stays light beside what it measures. Other systems, TLS, and
// one who is alone have a goroutine for each.
type crowd struct {
	server  *server
	members []*member
	gathering

	waiting  atomic.Int64  // members whose request is not answered
	open     atomic.Int64  // members that have not ended
	broken   atomic.Int64  // members that ended otherwise than by being content
	answered chan struct{} // closed when none waits, or one was refused
	once     sync.Once     // closes answered
	ended    chan struct{} // closed when none is open
	refusal  atomic.Pointer[error]

	stopping atomic.Bool
	stop     func() // ends the reading
	reading  sync.WaitGroup
}

// gather connects the members and returns once all are answered. The context
// bounds that, not the life of the crowd.
func gather(ctx context.Context, srv *server, members []*member, g gathering) (*crowd, error) {
	g.atOnce, g.loops = max(g.atOnce, 1), max(g.loops, 1)
	if g.over == nil {
		g.over = func() {}
	}
	c := &crowd{server: srv, members: members, gathering: g, answered: make(chan struct{}), ended: make(chan struct{})}
	c.waiting.Store(int64(len(members)))
	c.open.Store(int64(len(members)))
	if len(members) == 0 {
		return nil, errors.New("nobody listens")
	}
	if err := c.start(); err != nil {
		return nil, fmt.Errorf("connect %d subscribers: %w", len(members), err)
	}
	timeout := time.NewTimer(answerTimeout + time.Duration(len(members))*time.Millisecond)
	defer timeout.Stop()
	var err error
	select {
	case <-c.answered:
		if p := c.refusal.Load(); p != nil {
			err = *p
		}
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-timeout.C:
		err = fmt.Errorf("%d are not answered", c.waiting.Load())
	}
	if err != nil {
		c.close()
		return nil, fmt.Errorf("connect %d subscribers: %w", len(members), err)
	}
	return c, nil
}

// heard notes that a member's request was answered.
func (c *crowd) heard() {
	if c.waiting.Add(-1) == 0 {
		c.once.Do(func() { close(c.answered) })
	}
}

// left notes the end of a member.
func (c *crowd) left(m *member, err error) {
	m.err = err
	content := errors.Is(err, errEnough) || m.via == NDJSON && errors.Is(err, io.EOF)
	if !content && !c.stopping.Load() {
		c.broken.Add(1)
		if m.stream == nil {
			c.refusal.CompareAndSwap(nil, &err)
			c.once.Do(func() { close(c.answered) })
		}
	}
	if c.open.Add(-1) == 0 {
		close(c.ended)
	}
}

// close ends all connections and waits for those who read.
func (c *crowd) close() {
	if !c.stopping.Swap(true) {
		c.stop()
	}
	c.reading.Wait()
}

// startEach gives each member a goroutine.
func (c *crowd) startEach() {
	ctx, cancel := context.WithCancel(context.Background())
	c.stop = cancel
	turns := make(chan struct{}, c.atOnce)
	for _, m := range c.members {
		c.reading.Go(func() {
			var once sync.Once
			done := func() { once.Do(func() { <-turns }) }
			select {
			case turns <- struct{}{}:
			case <-ctx.Done():
				c.left(m, net.ErrClosed)
				return
			}
			defer done()
			c.left(m, c.hear(ctx, m, done))
		})
	}
}

// hear reads one connection to its end.
func (c *crowd) hear(ctx context.Context, m *member, answered func()) error {
	conn, err := c.server.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := conn.Write(m.request); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if n > 0 {
			m.at = time.Now()
			ok, reply, err := m.feed(buf[:n])
			if ok {
				answered()
				c.heard()
			}
			if err != nil {
				return err
			}
			if reply != nil {
				if _, err := conn.Write(reply); err != nil {
					return err
				}
			}
			c.over()
			if n == len(buf) && n < readBuffer { // one that is to be fast
				buf = make([]byte, 4*len(buf))
			}
		}
		if errors.Is(err, io.EOF) {
			return m.ended()
		}
		if err != nil {
			return err
		}
	}
}

// readBuffer is for streams that are to be read fast.
const readBuffer = 256 << 10

package server

import (
	"container/list"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// pressed is how long a connection may take for the head of its first
	// request once others wait for its place.
	pressed = time.Second
	// spared is how many descriptors connections leave to the log, the
	// registry and the operator; an eighth of the limit, if that is less.
	spared = 64
	// calm is how long nobody has to be refused until that is over.
	calm = 10 * time.Second
)

// door lets connections in at the public listeners. It bounds those whose
// first request has not come wholly: one more waits a moment, then the oldest
// of them is closed. And it closes at once what comes when descriptors run
// out: left to itself, net/http would let it wait in the dark.
//
// Connections that are past their first head are bounded elsewhere: requests
// under way and listeners by httpapi, idle ones by net/http's time limit.
type door struct {
	most        int           // connections whose first head has not come
	headTimeout time.Duration // what net/http gives a head
	descriptors int           // the limit of open ones; 0: it is not known
	refused     *prometheus.CounterVec
	log         *slog.Logger
	now         func() time.Time
	take        func(net.Conn) bool // serves a connection whose request has come, or reports false; nil: none

	room chan struct{} // capacity 1: a place may be free

	mu    sync.Mutex // guards the fields below
	fresh map[net.Conn]*list.Element
	order list.List // of *newcomer, the oldest first
	shed  int       // connections that were closed for want of descriptors, until it is calm again
	last  time.Time // that one was
}

// newcomer is a connection whose first head has not come.
type newcomer struct {
	conn net.Conn
	came time.Time
}

func newDoor(most int, headTimeout time.Duration, reg prometheus.Registerer, refused *prometheus.CounterVec, log *slog.Logger) *door {
	d := &door{
		most: most, headTimeout: headTimeout, descriptors: descriptorLimit(), refused: refused, log: log, now: time.Now,
		room: make(chan struct{}, 1), fresh: map[net.Conn]*list.Element{},
	}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "crier_handshakes", Help: "Connections to the public API whose first request has not come wholly.",
	}, func() float64 {
		d.mu.Lock()
		defer d.mu.Unlock()
		return float64(len(d.fresh))
	}))
	log.Debug("limit of open files", "descriptors", d.descriptors)
	return d
}

// guard puts the door before a listener.
func (d *door) guard(l net.Listener) net.Listener {
	return &doorway{Listener: l, door: d, closed: make(chan struct{})}
}

// doorway is a listener that is guarded.
type doorway struct {
	net.Listener
	door   *door
	once   sync.Once
	closed chan struct{}
	spare  *os.File // closed to take a connection and close it; of Accept's goroutine
}

// Close implements [net.Listener].
func (w *doorway) Close() error {
	w.once.Do(func() { close(w.closed) })
	return w.Listener.Close()
}

// Accept implements [net.Listener], for one goroutine.
func (w *doorway) Accept() (net.Conn, error) {
	for {
		if w.spare == nil {
			w.spare, _ = os.Open(os.DevNull) // without it one has to wait, see below
		}
		c, err := w.Listener.Accept()
		if err != nil {
			if !exhausted(err) {
				w.drop()
				return nil, err
			}
			if w.spare == nil {
				w.wait(50 * time.Millisecond)
			}
			w.drop()
			continue
		}
		if w.door.scarce(c) {
			w.door.turnAway(c)
			continue
		}
		w.door.letIn()
		if w.door.take != nil && w.door.take(c) {
			continue
		}
		if w.enter(c) {
			return c, nil
		}
	}
}

// drop gives the spare descriptor away.
func (w *doorway) drop() {
	if w.spare != nil {
		_ = w.spare.Close()
		w.spare = nil
	}
}

func (w *doorway) wait(d time.Duration) {
	select {
	case <-w.door.room:
	case <-w.closed:
	case <-time.After(d):
	}
}

// enter finds a place for a connection; it reports false if the listener was
// closed before there was one.
func (w *doorway) enter(c net.Conn) bool {
	for {
		wait := w.door.admit(c)
		if wait == 0 {
			return true
		}
		select {
		case <-w.closed:
			_ = c.Close()
			return false
		default:
			w.wait(wait)
		}
	}
}

// admit gives a connection a place, or says how long to wait for one.
func (d *door) admit(c net.Conn) (wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	if len(d.fresh) >= d.most {
		oldest := d.order.Front().Value.(*newcomer)
		if wait := oldest.came.Add(pressed).Sub(now); wait > 0 {
			return wait
		}
		d.forget(oldest.conn)
		d.refused.WithLabelValues("handshakes").Inc()
		_ = oldest.conn.Close()
	}
	d.fresh[c] = d.order.PushBack(&newcomer{c, now})
	if len(d.fresh) < d.most {
		d.signal() // for another listener that waits
	}
	return 0
}

// letIn notes that there were descriptors for one more.
func (d *door) letIn() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shed > 0 && d.now().Sub(d.last) > calm {
		d.log.Info("connections are let in again", "refused", d.shed)
		d.shed = 0
	}
}

// forget takes a connection off the list. The caller holds mu.
func (d *door) forget(c net.Conn) *newcomer {
	e, ok := d.fresh[c]
	if !ok {
		return nil
	}
	delete(d.fresh, c)
	d.signal()
	return d.order.Remove(e).(*newcomer)
}

func (d *door) signal() {
	select {
	case d.room <- struct{}{}:
	default:
	}
}

// follow is the server's ConnState: whatever comes after StateNew says that
// the first head came, or that it never will.
func (d *door) follow(c net.Conn, s http.ConnState) {
	if s == http.StateNew {
		return
	}
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	// A head that came in part is told as StateActive too, when its time is up.
	if n := d.forget(c); n != nil && s != http.StateHijacked && d.now().Sub(n.came) >= d.headTimeout {
		d.refused.WithLabelValues("slow").Inc()
	}
}

// scarce reports whether only the last descriptors are left beside that of a
// connection. Its own says nothing of that: the wire leaves holes behind.
func (d *door) scarce(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok || d.descriptors == 0 {
		return false
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false // it will fail by itself
	}
	last := d.descriptors - min(spared, d.descriptors/8)
	free := 0
	_ = rc.Control(func(fd uintptr) { free = nextDescriptor(fd) })
	return free < 0 || free >= last
}

// turnAway closes a connection for want of descriptors.
func (d *door) turnAway(c net.Conn) {
	_ = c.Close()
	d.refused.WithLabelValues("descriptors").Inc()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shed == 0 {
		d.log.Warn("too many open files: new connections are closed until others end; raise the limit (ulimit -n, LimitNOFILE=)", "descriptors", d.descriptors)
	}
	d.shed++
	d.last = d.now()
}

// exhausted reports whether the process or the system is out of descriptors.
func exhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

package wire_test

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/transport/transporttest"
	"crier/internal/wire"
)

// adoptInMemory puts a probe on a connection in memory, for bubbles.
func adoptInMemory(t *testing.T, e *wire.Engine, p *probe) (client net.Conn) {
	t.Helper()
	client, server := transporttest.Pair(64 << 10)
	t.Cleanup(func() { _ = client.Close() })
	p.Prepare()
	if err := e.Adopt(server, &p.Socket, p, nil, func(*wire.Worker) {}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return client
}

// inTurn has the probe do something in a turn of its own.
func inTurn(p *probe, do func()) {
	p.mu.Lock()
	p.turn = func(p *probe, _ *wire.Worker) {
		p.turn = nil
		do()
	}
	p.mu.Unlock()
	p.Schedule()
	synctest.Wait()
}

// Turns come when they were asked for, at most a tick late and never early.
func TestAt(t *testing.T) {
	for _, in := range []time.Duration{
		1, time.Millisecond, 99 * time.Millisecond, 100 * time.Millisecond, 101 * time.Millisecond, time.Second,
		51 * time.Second, 51200 * time.Millisecond, 52 * time.Second, 10 * time.Minute, 25 * time.Hour,
	} {
		t.Run(in.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEngine(t, wire.Config{Kernel: transporttest.NewKernel, Loops: 1})
				time.Sleep(33 * time.Millisecond) // between two ticks
				p := newProbe(t)
				adoptInMemory(t, e, p)
				var asked time.Time
				var took time.Duration
				inTurn(p, func() {
					asked = time.Now()
					p.At(in)
					p.turn = func(p *probe, _ *wire.Worker) {
						took = time.Since(asked)
						if !p.TimeCame() || p.TimeCame() {
							t.Error("the time came, once, and it is not said so")
						}
					}
				})
				time.Sleep(2*in + time.Second)
				synctest.Wait()
				if took < in || took > in+200*time.Millisecond {
					t.Errorf("the turn came after %v", took)
				}
				if turns, _, _ := p.told(); turns != 3 { // the first, the one that asked, and this
					t.Errorf("%d turns", turns)
				}
			})
		})
	}
}

// The last At counts, whatever was asked for before.
func TestAtIsMoved(t *testing.T) {
	for name, tt := range map[string]struct {
		asked []time.Duration // one a second
		want  time.Duration   // since the first; 0: never
	}{
		"put off":                  {[]time.Duration{5 * time.Second, 10 * time.Second}, 11 * time.Second},
		"brought forward":          {[]time.Duration{10 * time.Second, time.Second}, 2 * time.Second},
		"put off and forward":      {[]time.Duration{10 * time.Second, time.Hour, 2 * time.Second}, 4 * time.Second},
		"forward and off":          {[]time.Duration{time.Hour, 5 * time.Second, time.Minute}, 62 * time.Second},
		"taken back":               {[]time.Duration{10 * time.Second, 0}, 0},
		"taken back and asked for": {[]time.Duration{10 * time.Second, 0, 8 * time.Second}, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEngine(t, wire.Config{Kernel: transporttest.NewKernel, Loops: 1})
				p := newProbe(t)
				adoptInMemory(t, e, p)
				began := time.Now()
				var came []time.Duration
				for _, in := range tt.asked {
					inTurn(p, func() {
						p.At(in)
						p.turn = func(p *probe, _ *wire.Worker) { came = append(came, time.Since(began)) }
					})
					time.Sleep(time.Second)
				}
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				switch {
				case tt.want == 0 && len(came) > 0:
					t.Errorf("turns came after %v", came)
				case tt.want > 0 && (len(came) != 1 || came[0] < tt.want || came[0] > tt.want+200*time.Millisecond):
					t.Errorf("turns came after %v, want one after %v", came, tt.want)
				}
			})
		})
	}
}

// Sockets that are closed before their time are not called, nor is whoever has
// their place.
func TestAtOfOneThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, wire.Config{Kernel: transporttest.NewKernel, Loops: 1})
		p := newProbe(t)
		client := adoptInMemory(t, e, p)
		inTurn(p, func() { p.At(5 * time.Second) })
		turns, _, _ := p.told()
		_ = client.Close()
		synctest.Wait()
		p.goes()
		successor := newProbe(t)
		adoptInMemory(t, e, successor)
		time.Sleep(time.Minute)
		synctest.Wait()
		now, _, _ := p.told()
		others, _, _ := successor.told()
		if now != turns || others != 1 {
			t.Errorf("%d turns more for the one that is gone, %d for its successor", now-turns, others)
		}
	})
}

// Work that may block is done by so many at a time; its sockets are not
// called meanwhile, all others are.
func TestAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers, sockets, steps = 3, 10, 4
		e := newEngine(t, wire.Config{Kernel: transporttest.NewKernel, Loops: 2, Workers: workers})
		var now, most, done atomic.Int64
		var probes []*probe
		for range sockets {
			p := newProbe(t)
			client := adoptInMemory(t, e, p)
			probes = append(probes, p)
			left := steps
			inTurn(p, func() {
				p.Away(func(*wire.Worker) bool {
					if n := now.Add(1); n > most.Load() {
						most.Store(n)
					}
					time.Sleep(time.Second)
					now.Add(-1)
					if left--; left == 0 {
						done.Add(1)
					}
					return left > 0
				})
			})
			if _, err := client.Write([]byte("meanwhile")); err != nil {
				t.Fatal(err)
			}
			p.Schedule()
			p.Schedule()
		}
		other := newProbe(t)
		client := adoptInMemory(t, e, other)
		_, _ = client.Write([]byte("heard at once"))
		synctest.Wait()
		other.hears("heard at once")
		for i, p := range probes {
			if turns, heard, _ := p.told(); heard > 0 || turns != 2 {
				t.Errorf("socket %d was called while it was away", i)
			}
		}
		time.Sleep(sockets * steps * time.Second / workers)
		time.Sleep(time.Minute)
		synctest.Wait()
		if most.Load() != workers || done.Load() != sockets {
			t.Errorf("%d at a time, %d done; want %d, %d", most.Load(), done.Load(), workers, sockets)
		}
		for _, p := range probes {
			p.hears("meanwhile")
			if turns, _, _ := p.told(); turns < 3 {
				t.Error("no turn came when the work was done")
			}
		}
	})
}

// scripted is a kernel whose events a test makes. It takes any connection, and
// reads nothing of it.
type scripted struct {
	events  chan wire.Event
	closed  chan struct{}
	adopted func() // while a connection is being adopted; nil: nothing
	refuses error  // to watch

	mu      sync.Mutex
	last    int
	watched []uint64
	ended   []int
}

func newScripted() *scripted {
	return &scripted{events: make(chan wire.Event, 100), closed: make(chan struct{})}
}

func (k *scripted) make() (wire.Kernel, error) { return k, nil }

func (k *scripted) Adopt(nc net.Conn) (int, error) {
	if k.adopted != nil {
		k.adopted()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last++
	return k.last, nc.Close()
}

func (k *scripted) Watch(_ int, data uint64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.watched = append(k.watched, data)
	return k.refuses
}

func (k *scripted) Wait(events []wire.Event) (int, error) {
	select {
	case events[0] = <-k.events:
		return 1, nil
	case <-k.closed:
		return 0, wire.ErrClosed
	}
}

func (k *scripted) Read(fd int, p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, gone := range k.ended {
		if gone == fd {
			return 0, fmt.Errorf("descriptor %d is closed", fd)
		}
	}
	return copy(p, fmt.Sprint(fd)), nil
}

func (k *scripted) Write(int, []byte) (int, error) { return 0, wire.ErrAgain }
func (k *scripted) CloseWrite(int) error           { return nil }

func (k *scripted) CloseFD(fd int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = append(k.ended, fd)
}

func (k *scripted) Release(fd int) (net.Conn, error) {
	k.CloseFD(fd)
	return nil, wire.ErrUnsupported
}

func (k *scripted) Close() error {
	close(k.closed)
	return nil
}

func pipe(t *testing.T) net.Conn {
	a, b := net.Pipe()
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a
}

// An event that was on its way when its socket was closed does not reach the
// socket that has the place now.
func TestGenerations(t *testing.T) {
	k := newScripted()
	e := newEngine(t, wire.Config{Kernel: k.make, Loops: 1})
	var probes []*probe
	for i := range 3 {
		p := newProbe(t)
		p.data = func(p *probe, _ []byte) { p.Hold() }
		p.Prepare()
		if err := e.Adopt(pipe(t), &p.Socket, p, nil, func(*wire.Worker) {}); err != nil {
			t.Fatal(err)
		}
		p.until("its first turn", func() bool { return p.turns == 1 })
		probes = append(probes, p)
		if i < 2 {
			p.mu.Lock()
			p.turn = func(p *probe, _ *wire.Worker) { p.Close() }
			p.mu.Unlock()
			p.Schedule()
			p.until("closed", func() bool { return p.turns == 2 })
		}
	}
	if a, b := uint32(k.watched[0]), uint32(k.watched[2]); a != b {
		t.Fatalf("the third has the place %d, not that of the first, %d: nothing is tested", b, a)
	}
	for _, data := range append(k.watched[:2:2], 1<<40, 7, 1<<32-1) {
		k.events <- wire.Event{Data: data, Readable: true, Writable: true}
	}
	k.events <- wire.Event{Data: k.watched[2], Readable: true}
	probes[2].hears("3")
	_, first, _ := probes[0].told()
	_, second, _ := probes[1].told()
	if turns, _, _ := probes[2].told(); first+second > 0 || turns != 1 {
		t.Error("events reached others than whom they were for")
	}
}

// An engine that is closed while it adopts, and one whose kernel cannot watch,
// tell the handler that the connection is gone.
func TestAdoptedTooLate(t *testing.T) {
	t.Run("closed meanwhile", func(t *testing.T) {
		k := newScripted()
		e := newEngine(t, wire.Config{Kernel: k.make, Loops: 1})
		var closing sync.WaitGroup
		k.adopted = func() {
			closing.Go(func() { _ = e.Close() })
			<-k.closed
		}
		p := newProbe(t)
		p.Prepare()
		if err := e.Adopt(pipe(t), &p.Socket, p, nil, func(*wire.Worker) { t.Error("start was called") }); err != nil {
			t.Fatal(err)
		}
		closing.Wait()
		if p.gone != 1 || e.Open() != 0 || len(k.ended) != 1 {
			t.Errorf("told %d times, %d open, %d descriptors closed; want 1, 0, 1", p.gone, e.Open(), len(k.ended))
		}
	})
	for name, leave := range map[string]bool{"not watched": false, "not watched, and work is away": true} {
		t.Run(name, func(t *testing.T) {
			k := newScripted()
			k.refuses = errors.New("no more watches")
			e := newEngine(t, wire.Config{Kernel: k.make, Loops: 1})
			p := newProbe(t)
			release := make(chan struct{})
			if leave {
				p.turn = func(p *probe, _ *wire.Worker) {
					p.Away(func(*wire.Worker) bool {
						<-release
						if _, _, gone := p.told(); gone != 0 {
							t.Error("it was told while work was away")
						}
						return false
					})
				}
			}
			p.Prepare()
			if err := e.Adopt(pipe(t), &p.Socket, p, nil, func(*wire.Worker) {}); err != nil {
				t.Fatal(err)
			}
			close(release)
			p.until("it is gone", func() bool { return p.gone > 0 })
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			if p.gone != 1 || p.turns != 1 || e.Open() != 0 || len(k.ended) != 1 {
				t.Errorf("told %d times, %d turns, %d open, %d descriptors closed; want 1, 1, 0, 1", p.gone, p.turns, e.Open(), len(k.ended))
			}
		})
	}
}

// The first turn is given before the kernel watches, and before Adopt returns;
// a socket that it closed is not watched.
func TestFirstTurn(t *testing.T) {
	k := newScripted()
	e := newEngine(t, wire.Config{Kernel: k.make, Loops: 1})
	p := newProbe(t)
	var order []string
	p.turn = func(p *probe, _ *wire.Worker) {
		order = append(order, "turn")
		if len(k.watched) > 0 {
			t.Error("it was watched before its first turn")
		}
		p.Close()
	}
	p.Prepare()
	if err := e.Adopt(pipe(t), &p.Socket, p, nil, func(*wire.Worker) { order = append(order, "start") }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(order, []string{"start", "turn"}) || len(k.watched) != 0 || e.Open() != 0 {
		t.Errorf("%v, %d watched, %d open; want start, then a turn, none watched, none open", order, len(k.watched), e.Open())
	}
}

// An engine whose loops cannot all be made leaves none.
func TestNewFails(t *testing.T) {
	var made []*scripted
	_, err := wire.New(wire.Config{Loops: 3, Kernel: func() (wire.Kernel, error) {
		if len(made) == 2 {
			return nil, errors.New("no more")
		}
		made = append(made, newScripted())
		return made[len(made)-1], nil
	}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, k := range made {
		<-k.closed
	}
}

// counting is a kernel that counts what is open in it.
type counting struct {
	wire.Kernel
	open *atomic.Int64
}

func (k counting) Adopt(nc net.Conn) (int, error) {
	k.open.Add(1)
	return k.Kernel.Adopt(nc)
}

func (k counting) CloseFD(fd int) {
	k.open.Add(-1)
	k.Kernel.CloseFD(fd)
}

// Few sockets whose peers talk are on one loop, and places that are free again
// are taken; many are spread, and so are all others.
func TestTalkersTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open [3]atomic.Int64
		made := 0
		e := newEngine(t, wire.Config{Loops: len(open), Kernel: func() (wire.Kernel, error) {
			k, err := transporttest.NewKernel()
			made++
			return counting{k, &open[made-1]}, err
		}})
		spread := func() (n [3]int64) {
			for i := range open {
				n[i] = open[i].Load()
			}
			return n
		}
		var clients []net.Conn
		adopt := func(n int, talks bool) {
			for range n {
				p := newProbe(t)
				if talks {
					p.Talks()
				}
				clients = append(clients, adoptInMemory(t, e, p))
			}
		}
		const few = wire.FewTalkers
		adopt(few, true)
		if got := spread(); got != [3]int64{few, 0, 0} {
			t.Fatalf("few are spread as %v", got)
		}
		adopt(2*few+6, true)
		if got := spread(); got != [3]int64{few + 2, few + 2, few + 2} {
			t.Fatalf("many are spread as %v", got)
		}
		for _, c := range clients[:few] { // those of the first loop
			_ = c.Close()
		}
		synctest.Wait()
		adopt(few-2, true)
		if got := spread(); got != [3]int64{few, few + 2, few + 2} {
			t.Fatalf("after the first have gone they are spread as %v", got)
		}
		adopt(30, false)
		if got := spread(); got != [3]int64{few + 10, few + 12, few + 12} {
			t.Fatalf("with others they are spread as %v", got)
		}
	})
}

package wire_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"

	"crier/internal/wire"
)

// The tests of this file are of the real kernel, on loopback.

// What came with the handshake is heard first, after start, and the net.Conn
// is done with.
func TestAdopted(t *testing.T) {
	leavesNothing(t)
	e := newEngine(t, wire.Config{})
	client, server := connect(t)
	send(t, client, "later")
	p := newProbe(t)
	p.data = echo
	p.Prepare()
	p.Schedule() // does nothing yet
	err := e.Adopt(server, &p.Socket, p, []byte("first "), func(*wire.Worker) {
		if _, err := p.Write([]byte("hello ")); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	receive(t, client, "hello first later")
	p.until("a turn", func() bool { return p.turns > 0 })
	if _, err := server.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the net.Conn still writes: %v", err)
	}
	if e.Open() != 1 {
		t.Errorf("%d are open", e.Open())
	}
	send(t, client, "!")
	p.hears("first later!")
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	p.goes()
	if _, err := io.Copy(io.Discard, client); err != nil {
		t.Errorf("the end: %v", err)
	}
	p.Schedule() // after Close, no harm
	if e.Open() != 0 {
		t.Errorf("%d are open after the end", e.Open())
	}
}

func TestNotAdopted(t *testing.T) {
	leavesNothing(t)
	e := newEngine(t, wire.Config{})
	called := func(*wire.Worker) { t.Error("start was called") }
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	p := newProbe(t)
	p.Prepare()
	if err := e.Adopt(a, &p.Socket, p, nil, called); !errors.Is(err, wire.ErrUnsupported) {
		t.Errorf("a pipe: %v", err)
	}
	client, server := connect(t)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.Adopt(server, &p.Socket, p, nil, called); !errors.Is(err, wire.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	send(t, server, "still mine")
	receive(t, client, "still mine")
	if p.gone+p.turns > 0 {
		t.Error("the handler was called")
	}
	// What was never adopted is like what was closed: no descriptor is 0.
	p.Close()
	p.CloseWrite()
	p.Schedule()
	p.At(1)
	if _, err := p.Write([]byte("x")); !errors.Is(err, wire.ErrClosed) {
		t.Errorf("a write to what was never adopted: %v", err)
	}
}

// What a socket does not take at once goes on when it does, and nothing is
// lost, doubled or swapped.
func TestWritesGoOn(t *testing.T) {
	leavesNothing(t)
	e := newEngine(t, wire.Config{})
	const size = 8 << 20
	all := make([]byte, size)
	for i := range all {
		all[i] = byte(i >> 8 * 31)
	}
	p := newProbe(t)
	at, waits := 0, 0
	p.turn = func(p *probe, _ *wire.Worker) {
		n, err := p.Write(all[at:])
		if err != nil {
			t.Error(err)
		}
		if at += n; at < size {
			waits++
			if !p.Full() {
				t.Error("not all was taken, and it is not full")
			}
		} else if p.Full() {
			t.Error("all was taken, and it is full")
		}
	}
	client := adopt(t, e, p, "")
	got := make([]byte, size)
	if _, err := io.ReadFull(client, got[:1]); err != nil { // a byte, then all
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, got[1:]); err != nil || !bytes.Equal(got, all) {
		t.Fatalf("what came is not what was written: %v", err)
	}
	if p.until("all is written", func() bool { return at == size }); waits == 0 {
		t.Error("it was never full: nothing was tested")
	}
}

// While a socket is held its peer is not heard, so that the peer waits; then
// nothing of what it said is missing.
func TestHold(t *testing.T) {
	leavesNothing(t)
	e := newEngine(t, wire.Config{})
	p := newProbe(t)
	resume := false
	p.data = func(p *probe, _ []byte) { p.Hold() }
	p.turn = func(p *probe, _ *wire.Worker) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if resume {
			p.data = nil
			p.Resume()
		}
	}
	client := adopt(t, e, p, "")
	said := strings.Repeat("0123456789abcdef", 1<<19) // 8 MiB: more than sockets hold
	done := make(chan error, 1)
	go func() {
		_, err := io.WriteString(client, said)
		done <- errors.Join(err, client.CloseWrite())
	}()
	p.until("something is heard", func() bool { return len(p.heard) > 0 })
	other := newProbe(t)
	other.data = echo
	second := adopt(t, e, other, "")
	send(t, second, "others are heard")
	receive(t, second, "others are heard")
	select {
	case err := <-done:
		t.Fatalf("all was taken of a peer that is held: %v", err)
	default:
	}
	p.mu.Lock()
	if n := len(p.heard); n > 16<<10 {
		t.Errorf("%d bytes were heard while it was held", n)
	}
	resume = true
	p.mu.Unlock()
	p.Schedule()
	p.goes()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if string(p.heard) != said {
		t.Errorf("heard %d bytes, want %d, or others", len(p.heard), len(said))
	}
}

// One that never stops talking does not keep the others of its loop waiting.
func TestFloodIsFair(t *testing.T) {
	leavesNothing(t)
	e := newEngine(t, wire.Config{Loops: 1})
	flooding := newProbe(t)
	flooding.data = func(p *probe, _ []byte) {
		p.mu.Lock()
		p.heard = nil
		p.mu.Unlock()
	}
	flood := adopt(t, e, flooding, "")
	var flooder sync.WaitGroup
	flooder.Go(func() {
		junk := make([]byte, 1<<20)
		for {
			if _, err := flood.Write(junk); err != nil {
				return
			}
		}
	})
	p := newProbe(t)
	p.data = echo
	client := adopt(t, e, p, "")
	for range 100 {
		send(t, client, "x")
		receive(t, client, "x")
	}
	_ = flood.Close()
	flooder.Wait()
	flooding.goes()
}

// However a peer goes, the socket is closed, once, and its descriptor given
// back.
func TestPeersThatGo(t *testing.T) {
	leavesNothing(t)
	e := newEngine(t, wire.Config{})
	for name, leave := range map[string]func(c *net.TCPConn) error{
		"closes":      (*net.TCPConn).Close,
		"half-closes": (*net.TCPConn).CloseWrite,
		"resets": func(c *net.TCPConn) error {
			return errors.Join(c.SetLinger(0), c.Close())
		},
		"resets with data on the way": func(c *net.TCPConn) error {
			_, err := c.Write(make([]byte, 100_000))
			return errors.Join(err, c.SetLinger(0), c.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				p := newProbe(t)
				client := adopt(t, e, p, "")
				if err := leave(client); err != nil {
					t.Fatal(err)
				}
				p.goes()
			}
		})
	}
	if n := e.Open(); n != 0 {
		t.Errorf("%d are open", n)
	}
}

// A write to a peer that has reset says so, and is no signal.
func TestWriteToNobody(t *testing.T) {
	e := newEngine(t, wire.Config{})
	p := newProbe(t)
	failed := make(chan error, 1)
	p.data = func(p *probe, _ []byte) { p.Hold() } // it hears nothing of the end
	p.turn = func(p *probe, _ *wire.Worker) {
		if _, err := p.Write([]byte("x")); err != nil {
			select {
			case failed <- err:
			default:
			}
		}
	}
	client := adopt(t, e, p, "held")
	if err := errors.Join(client.SetLinger(0), client.Close()); err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case err := <-failed:
			if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the error is %v", err)
			}
			return
		default:
			p.Schedule()
		}
	}
}

// Close in the middle of everything: each handler is told once, and nothing
// is left.
func TestCloseWhileBusy(t *testing.T) {
	leavesNothing(t)
	e := newEngine(t, wire.Config{Loops: 2, Workers: 2})
	junk := make([]byte, 64<<10)
	var probes []*probe
	var busy sync.WaitGroup
	stop := make(chan struct{})
	for i := range 40 {
		p := newProbe(t)
		p.data = func(p *probe, _ []byte) {
			p.mu.Lock()
			p.heard = nil
			p.mu.Unlock()
		}
		p.turn = func(p *probe, _ *wire.Worker) {
			_, _ = p.Write(junk)
			if i%4 == 0 {
				p.Away(func(*wire.Worker) bool {
					_, _ = p.Write(junk)
					return i%8 == 0 && e.Context().Err() == nil
				})
			}
			p.At(1)
		}
		client := adopt(t, e, p, "x")
		probes = append(probes, p)
		busy.Go(func() {
			for _, err := client.Write(junk); err == nil; _, err = client.Write(junk) {
			}
		})
		busy.Go(func() { _, _ = io.Copy(io.Discard, client) })
	}
	busy.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				for _, p := range probes {
					p.Schedule()
				}
			}
		}
	})
	for _, p := range probes {
		p.until("it is busy", func() bool { return p.turns > 3 || p.turns > 0 && e.Open() == len(probes) })
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if e.Open() != 0 {
		t.Errorf("%d are open after Close", e.Open())
	}
	close(stop)
	busy.Wait()
	for i, p := range probes {
		if p.gone != 1 {
			t.Errorf("socket %d was told %d times that it is gone", i, p.gone)
		}
	}
}

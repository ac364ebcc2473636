package wire_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"crier/internal/wire"
)

// release has a probe give its connection back, with what it was told so far.
func release(t *testing.T, p *probe) net.Conn {
	t.Helper()
	back := make(chan net.Conn, 1)
	p.mu.Lock()
	p.turn = func(p *probe, _ *wire.Worker) {
		p.mu.Lock()
		heard := p.heard
		p.turn = nil
		p.mu.Unlock()
		nc, err := p.Release(heard)
		if err != nil {
			t.Error(err)
		}
		back <- nc
	}
	p.mu.Unlock()
	p.Schedule()
	return <-back
}

// A connection that was given back is read from where the handler began, by
// whoever has it; and it can come again.
func TestRelease(t *testing.T) {
	leavesNothing(t)
	e := newEngine(t, wire.Config{})
	p := newProbe(t)
	client := adopt(t, e, p, "")
	send(t, client, "one")
	p.hears("one")
	nc := release(t, p)
	if e.Open() != 0 {
		t.Errorf("%d sockets are open", e.Open())
	}
	if _, err := p.Release(nil); !errors.Is(err, wire.ErrClosed) {
		t.Errorf("released twice: %v", err)
	}
	send(t, client, "two")
	receive(t, nc, "onetwo")
	if _, err := nc.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	receive(t, client, "answer")

	again := newProbe(t)
	again.Prepare()
	if err := e.Adopt(nc, &again.Socket, again, []byte("before"), func(*wire.Worker) {}); err != nil {
		t.Fatal(err)
	}
	send(t, client, "after")
	again.hears("beforeafter")
	if turns, heard, _ := p.told(); heard != 3 {
		t.Errorf("the first handler was called: %d turns, %d bytes", turns, heard)
	}
	// What was read of it and not used comes with it, also inside another
	// connection.
	nc = release(t, again)
	last := newProbe(t)
	last.Prepare()
	if err := e.Adopt(struct{ *wire.Released }{nc.(*wire.Released)}, &last.Socket, last, nil, func(*wire.Worker) {}); err != nil {
		t.Fatal(err)
	}
	last.hears("beforeafter")
	_ = client.Close()
	last.goes()
}

// What is sent, in whatever pieces, and then the end, is all heard: a read that
// takes less than there is room for is not taken for the end.
func TestReadsAll(t *testing.T) {
	leavesNothing(t)
	e := newEngine(t, wire.Config{})
	for i := range 200 {
		p := newProbe(t)
		client := adopt(t, e, p, "")
		want := ""
		for j := range i % 7 {
			part := fmt.Sprintf("part %d of %d;", j, i)
			want += part
			send(t, client, part)
		}
		if i%2 == 0 {
			_ = client.Close()
		} else if err := client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		p.goes()
		p.hears(want)
		if i%2 == 1 {
			if _, err := io.ReadAll(client); err != nil {
				t.Fatal(err)
			}
		}
	}
}

package websocket_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"crier/internal/message"
	"crier/internal/transport"
	"crier/internal/transport/transporttest"
	"crier/internal/transport/websocket"
)

func TestScenariosRaw(t *testing.T) { transporttest.Run(t, driver{}) }

func TestScenariosRawWire(t *testing.T) { transporttest.Run(t, driver{wire: true}) }

func TestScenariosSession(t *testing.T) { transporttest.Run(t, driver{protocol: websocket.Protocol}) }

func TestScenariosSessionWire(t *testing.T) {
	transporttest.Run(t, driver{protocol: websocket.Protocol, wire: true})
}

// driver drives either mode with another library's frames.
type driver struct {
	protocol string
	wire     bool
}

func (d driver) Traits() transporttest.Traits {
	session := d.protocol != ""
	return transporttest.Traits{
		Name: "websocket", Wire: d.wire, IDs: session, Whole: session, Types: session, Gaps: session, Places: session,
		Goodbyes: true, Heartbeat: 30 * time.Second, Stall: 5 * time.Minute,
	}
}

func (d driver) Handler(e *transporttest.Env) transporttest.Handler {
	s := websocket.New(websocket.Config{Hub: e.Hub, Wire: e.Wire, Metrics: e.Metrics})
	return func(w http.ResponseWriter, r *http.Request, l transport.Listen) error {
		h, err := websocket.Check(r)
		if err != nil {
			return err
		}
		if h.Protocol == "" {
			return s.ServeRaw(w, r, h, l, nil)
		}
		return s.ServeSession(w, r, h, l.Conn, &l, nil)
	}
}

// ahead is how many messages a client reads before they are asked for, so
// that it answers pings meanwhile.
const ahead = 16

func (d driver) Listen(e *transporttest.Env, o transporttest.Options) (transporttest.Listener, error) {
	l := &listener{session: d.protocol != "", envelope: o.Envelope}
	l.changed = sync.NewCond(&l.mu)
	dialer := ws.Dialer{NetDial: func(context.Context, string, string) (net.Conn, error) { return e.Dial(o) }}
	if l.session {
		dialer.Protocols = []string{d.protocol}
	}
	nc, r, hs, err := dialer.Dial(context.Background(), strings.Replace(e.URL(o), "http", "ws", 1))
	if err != nil {
		return nil, err
	}
	if hs.Protocol != d.protocol {
		return nil, fmt.Errorf("the subprotocol is %q", hs.Protocol)
	}
	if r == nil {
		r = bufio.NewReader(nc)
	}
	l.nc = nc
	l.reading.Go(func() { l.read(r) })
	return l, nil
}

type listener struct {
	session, envelope bool
	nc                net.Conn
	reading           sync.WaitGroup

	mu       sync.Mutex // guards the fields below
	changed  *sync.Cond
	events   []transporttest.Event
	messages int // in events
	ended    bool
	err      error
}

func (l *listener) put(ev transporttest.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ev.Kind == transporttest.Message && l.messages >= ahead && !l.ended {
		l.changed.Wait()
	}
	if ev.Kind == transporttest.Message {
		l.messages++
	}
	l.events = append(l.events, ev)
	l.changed.Broadcast()
}

func (l *listener) read(r *bufio.Reader) {
	for {
		h, err := ws.ReadHeader(r)
		payload := make([]byte, h.Length)
		if err == nil {
			_, err = io.ReadFull(r, payload)
		}
		if err != nil {
			l.put(transporttest.Event{Kind: transporttest.End})
			return
		}
		var ev transporttest.Event
		switch h.OpCode {
		case ws.OpPing:
			_ = ws.WriteFrame(l.nc, ws.MaskFrame(ws.NewPongFrame(payload)))
			ev.Kind = transporttest.Heartbeat
		case ws.OpClose:
			_ = ws.WriteFrame(l.nc, ws.MaskFrame(ws.NewCloseFrame(payload[:2])))
			l.put(transporttest.Event{Kind: transporttest.End, Reason: reasons[int(payload[0])<<8|int(payload[1])]})
			return
		default:
			ev, err = l.event(h.OpCode, payload)
		}
		if err != nil {
			l.mu.Lock()
			l.err = err
			l.changed.Broadcast()
			l.mu.Unlock()
			return
		}
		l.put(ev)
	}
}

var reasons = map[int]string{
	1012: "draining", 4001: "gap", 4002: "credential", 4003: "kicked", 4004: "domain",
}

func (l *listener) event(op ws.OpCode, data []byte) (transporttest.Event, error) {
	if !l.session {
		ev := transporttest.Event{Kind: transporttest.Message, Message: message.Message{Data: data, Binary: op == ws.OpBinary}}
		var err error
		if l.envelope {
			ev.Message, err = transporttest.DecodeEnvelope(data)
		}
		return ev, err
	}
	var f struct {
		Type, Sub, Ref string
		Topics         []string
		Cursor         message.ID
		Message, Gap   json.RawMessage
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return transporttest.Event{}, err
	}
	if f.Sub != "1" {
		return transporttest.Event{}, fmt.Errorf("frame of another subscription: %s", data)
	}
	switch f.Type {
	case "subscribed", "cursor":
		return transporttest.Event{Kind: transporttest.Heartbeat, Cursor: f.Cursor}, nil
	case "message":
		m, err := transporttest.DecodeEnvelope(f.Message)
		return transporttest.Event{Kind: transporttest.Message, Message: m, Cursor: m.ID}, err
	case "gap":
		g, err := transporttest.DecodeGap(f.Gap)
		return transporttest.Event{Kind: transporttest.Gap, Gap: g, Cursor: g.Resumed}, err
	}
	return transporttest.Event{}, fmt.Errorf("unknown frame %s", data)
}

func (l *listener) Next() (transporttest.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.events) == 0 && l.err == nil && !l.ended {
		l.changed.Wait()
	}
	switch {
	case len(l.events) > 0:
		ev := l.events[0]
		l.events = l.events[1:]
		if ev.Kind == transporttest.Message {
			l.messages--
			l.changed.Broadcast()
		}
		return ev, nil
	case l.err != nil:
		return transporttest.Event{}, l.err
	}
	return transporttest.Event{Kind: transporttest.End}, nil
}

func (l *listener) Close() {
	l.mu.Lock()
	l.ended = true
	l.changed.Broadcast()
	l.mu.Unlock()
	_ = l.nc.Close()
	l.reading.Wait()
}

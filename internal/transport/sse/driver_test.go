package sse_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"crier/internal/message"
	"crier/internal/transport/sse"
	"crier/internal/transport/transporttest"
)

func TestScenarios(t *testing.T)      { transporttest.Run(t, driver{}) }
func TestScenariosHTTP2(t *testing.T) { transporttest.Run(t, driver{http2: true}) }
func TestScenariosWire(t *testing.T)  { transporttest.Run(t, driver{wire: true}) }

type driver struct{ http2, wire bool }

func (d driver) Traits() transporttest.Traits {
	return transporttest.Traits{
		Name: "sse", HTTP2: d.http2, Wire: d.wire, IDs: true, Types: true, Gaps: true, Goodbyes: true,
		Heartbeat: 15 * time.Second, Places: true, Stall: 5 * time.Minute,
		Text: strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace,
	}
}

func (driver) Handler(e *transporttest.Env) transporttest.Handler {
	return sse.New(sse.Config{Hub: e.Hub, Wire: e.Wire, Metrics: e.Metrics}).Serve
}

func (driver) Listen(e *transporttest.Env, o transporttest.Options) (transporttest.Listener, error) {
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.URL(o), nil)
	if err != nil {
		cancel()
		return nil, err
	}
	resp, err := e.Client(o).Do(req)
	if err != nil {
		cancel()
		return nil, err
	}
	l := &listener{stop: cancel, body: resp.Body, source: transporttest.NewEventSource(resp.Body), envelope: o.Envelope}
	if err := l.begin(resp); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// listener is an EventSource that looks closely.
type listener struct {
	stop     func()
	body     io.Closer
	source   *transporttest.EventSource
	envelope bool
	reason   string // that a goodbye gave
}

// begin checks the preamble.
func (l *listener) begin(resp *http.Response) error {
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != "text/event-stream" {
		return fmt.Errorf("status %d, %s", resp.StatusCode, got)
	}
	b, err := l.source.Next()
	if err != nil {
		return err
	}
	if b.Retry == "" || len(b.Comments) == 0 || b.Dispatched || b.HasID {
		return fmt.Errorf("it begins with %+v, not with retry and a comment", b)
	}
	return nil
}

func (l *listener) Close() {
	l.stop()
	_ = l.body.Close()
}

func (l *listener) Next() (transporttest.Event, error) {
	b, err := l.source.Next()
	if err != nil {
		return transporttest.Event{Kind: transporttest.End, Reason: l.reason}, nil
	}
	if l.reason != "" {
		return transporttest.Event{}, fmt.Errorf("after the goodbye came %+v", b)
	}
	ev, err := l.event(b)
	if err != nil {
		return ev, err
	}
	if b.HasID {
		if ev.Cursor, err = message.ParseID(b.ID); err != nil {
			return ev, err
		}
	}
	if l.reason != "" {
		return l.Next()
	}
	return ev, nil
}

func (l *listener) event(b transporttest.Block) (ev transporttest.Event, err error) {
	if !b.Dispatched {
		if b.Retry != "" {
			return ev, errors.New("a second preamble")
		}
		ev.Kind = transporttest.Heartbeat
		return ev, nil
	}
	switch b.Event {
	case "crier-gap":
		ev.Kind = transporttest.Gap
		ev.Gap, err = transporttest.DecodeGap([]byte(b.Data))
		return ev, err
	case "crier-expired", "crier-restart":
		var bye struct{ Reason, Detail string }
		err = json.Unmarshal([]byte(b.Data), &bye)
		l.reason = bye.Reason
		if bye.Reason == "" || (b.Event == "crier-expired") != (bye.Reason == "credential") || (b.Event == "crier-restart") != (b.Retry != "") {
			err = fmt.Errorf("goodbye %+v", b)
		}
		return ev, err
	}
	ev.Kind = transporttest.Message
	switch {
	case b.Event == "crier-binary", l.envelope:
		ev.Message, err = transporttest.DecodeEnvelope([]byte(b.Data))
		if err == nil && ev.Message.ID.String() != b.ID {
			err = fmt.Errorf("id %q with envelope %s", b.ID, b.Data)
		}
		return ev, err
	case b.Event != "message":
		ev.Message.Type = b.Event
	}
	ev.Message.Data = []byte(b.Data)
	ev.Message.ID, err = message.ParseID(b.ID)
	return ev, err
}

package pull_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"crier/internal/message"
	"crier/internal/transport"
	"crier/internal/transport/pull"
	"crier/internal/transport/transporttest"
)

func TestNDJSONScenarios(t *testing.T)      { transporttest.Run(t, lineDriver{}) }
func TestNDJSONScenariosHTTP2(t *testing.T) { transporttest.Run(t, lineDriver{http2: true}) }
func TestPageScenarios(t *testing.T)        { transporttest.Run(t, pageDriver{}) }

// get asks, and returns what answers with 200.
func get(ctx context.Context, c *http.Client, url, contentType string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		return nil, &refused{resp.StatusCode, string(text)}
	}
	if got := resp.Header.Get("Content-Type"); got != contentType {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("content type %q", got)
	}
	return resp, nil
}

type refused struct {
	status int
	text   string
}

// later says that it is worth another try.
func (r *refused) later() bool {
	return r.status == http.StatusServiceUnavailable && !strings.Contains(r.text, transport.ErrDraining.Error())
}

func (r *refused) Error() string { return fmt.Sprintf("status %d: %s", r.status, r.text) }

// lineDriver reads NDJSON without end.
type lineDriver struct{ http2 bool }

func (d lineDriver) Traits() transporttest.Traits {
	return transporttest.Traits{
		Name: "ndjson", HTTP2: d.http2, IDs: true, Whole: true, Types: true, Gaps: true,
		Heartbeat: 15 * time.Second, Stall: 5 * time.Minute,
	}
}

func (lineDriver) Handler(e *transporttest.Env) transporttest.Handler {
	h := pull.New(pull.Config{Hub: e.Hub, Metrics: e.Metrics})
	return func(w http.ResponseWriter, r *http.Request, l transport.Listen) error {
		return h.NDJSON(w, r, l, pull.NDJSONOptions{})
	}
}

func (lineDriver) Listen(e *transporttest.Env, o transporttest.Options) (transporttest.Listener, error) {
	ctx, cancel := context.WithCancel(context.Background())
	resp, err := get(ctx, e.Client(o), e.URL(o), "application/x-ndjson")
	if err != nil {
		cancel()
		return nil, err
	}
	return &lineListener{stop: cancel, body: resp.Body, r: bufio.NewReader(resp.Body)}, nil
}

type lineListener struct {
	stop func()
	body io.Closer
	r    *bufio.Reader
}

func (l *lineListener) Close() {
	l.stop()
	_ = l.body.Close()
}

func (l *lineListener) Next() (ev transporttest.Event, err error) {
	line, err := l.r.ReadBytes('\n')
	if err != nil { // a line that was not finished is none
		return transporttest.Event{Kind: transporttest.End}, nil
	}
	line = bytes.TrimSuffix(line, []byte{'\n'})
	if len(line) == 0 {
		return transporttest.Event{Kind: transporttest.Heartbeat}, nil
	}
	var gap struct{ Gap json.RawMessage }
	if err := json.Unmarshal(line, &gap); err != nil {
		return ev, fmt.Errorf("%.100q: %w", line, err)
	}
	if gap.Gap != nil {
		ev.Kind = transporttest.Gap
		ev.Gap, err = transporttest.DecodeGap(gap.Gap)
		ev.Cursor = ev.Gap.Resumed
		return ev, err
	}
	ev.Kind = transporttest.Message
	ev.Message, err = transporttest.DecodeEnvelope(line)
	ev.Cursor = ev.Message.ID
	return ev, err
}

// pageDriver asks for page after page.
type pageDriver struct{}

func (pageDriver) Traits() transporttest.Traits {
	return transporttest.Traits{Name: "page", IDs: true, Whole: true, Types: true, Gaps: true, Polls: true}
}

func (pageDriver) Handler(e *transporttest.Env) transporttest.Handler {
	h := pull.New(pull.Config{Hub: e.Hub, Metrics: e.Metrics})
	return func(w http.ResponseWriter, r *http.Request, l transport.Listen) error {
		o := pull.PageOptions{Wait: time.Minute, Limit: 7}
		if r.URL.Query().Has("fix") { // says where "latest" is
			o.Wait = 0
		}
		return h.Page(w, r, l, o)
	}
}

func (pageDriver) Listen(e *transporttest.Env, o transporttest.Options) (transporttest.Listener, error) {
	ctx, cancel := context.WithCancel(context.Background())
	l := &pageListener{e: e, ctx: ctx, stop: cancel, client: e.Client(o), o: o}
	if o.Since == "" || o.Since == "latest" {
		l.query = "&fix"
	}
	for {
		err := l.fetch()
		if err == nil {
			l.query = ""
			return l, nil
		}
		if r, ok := err.(*refused); !ok || !r.later() {
			cancel()
			return nil, err
		}
		time.Sleep(time.Second)
	}
}

type pageListener struct {
	e      *transporttest.Env
	ctx    context.Context
	stop   func()
	client *http.Client
	o      transporttest.Options
	query  string
	queue  []transporttest.Event
}

func (l *pageListener) Close() { l.stop() }

func (l *pageListener) Next() (ev transporttest.Event, err error) {
	for len(l.queue) == 0 {
		err := l.fetch()
		if l.ctx.Err() != nil {
			return transporttest.Event{Kind: transporttest.End}, nil
		}
		if r, ok := err.(*refused); ok {
			if r.later() {
				time.Sleep(time.Second)
				continue
			}
			return transporttest.Event{Kind: transporttest.End}, nil
		}
		if err != nil {
			return ev, err
		}
	}
	ev = l.queue[0]
	l.queue = l.queue[1:]
	return ev, nil
}

func (l *pageListener) fetch() error {
	resp, err := get(l.ctx, l.client, l.e.URL(l.o)+l.query, "application/json")
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return err
	}
	p, err := decodePage(body)
	if err != nil {
		return err
	}
	if p.Gap != nil {
		l.queue = append(l.queue, transporttest.Event{Kind: transporttest.Gap, Gap: *p.Gap, Cursor: p.Gap.Resumed})
	}
	for _, m := range p.Messages {
		l.queue = append(l.queue, transporttest.Event{Kind: transporttest.Message, Message: m, Cursor: m.ID})
	}
	l.o.Since = p.Next.String()
	return nil
}

type decodedPage struct {
	Messages []message.Message
	Next     message.ID
	Gap      *message.Gap
}

func decodePage(body []byte) (decodedPage, error) {
	var p struct {
		Messages []json.RawMessage `json:"messages"`
		Next     message.ID        `json:"next"`
		Gap      json.RawMessage   `json:"gap"`
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return decodedPage{}, fmt.Errorf("page %.200q: %w", body, err)
	}
	if p.Messages == nil {
		return decodedPage{}, fmt.Errorf("page %.200q has no messages", body)
	}
	d := decodedPage{Next: p.Next}
	for _, raw := range p.Messages {
		m, err := transporttest.DecodeEnvelope(raw)
		if err != nil {
			return d, err
		}
		d.Messages = append(d.Messages, m)
	}
	if p.Gap != nil {
		g, err := transporttest.DecodeGap(p.Gap)
		if err != nil {
			return d, err
		}
		d.Gap = &g
	}
	return d, nil
}

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coder/websocket"

	"crier/client"
)

// lastWord ends the name of each domain's last message.
const lastWord = "end#1"

// A subscriber listens from the first message on, over one transport, goes on
// with its cursor whenever its connection breaks, and ends with the last
// message.
type subscriber struct {
	name     string
	server   string // its address
	patterns []string
	ledger   *ledger
	client   *client.Client
	rng      *rand.Rand
	listen   func(*subscriber, context.Context) error // until the connection ends

	cursor string // of the last message, to come back with

	mu   sync.Mutex
	got  []string // ids
	done bool
}

// errDone: the last message is there.
var errDone = errors.New("done")

// run listens again and again.
func (s *subscriber) run(ctx context.Context) {
	s.cursor = "earliest"
	for ctx.Err() == nil {
		err := s.listen(s, ctx)
		if errors.Is(err, errDone) {
			return
		}
		if _, gap := errors.AsType[*client.Gap](err); gap {
			s.ledger.complain("%s: nothing was trimmed or deleted, and: %v", s.name, err)
			return
		}
		pause(ctx, time.Duration(1+s.rng.IntN(20))*time.Millisecond)
	}
}

// take notes a message.
func (s *subscriber) take(m client.Message) error {
	s.ledger.deliver(s.name, m.ID, m.Data)
	s.cursor = m.ID
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, m.ID)
	if name, err := nameOf(m.Data); err == nil && name == lastWord {
		s.done = true
		return errDone
	}
	return nil
}

// state gives what came so far, and whether it was all.
func (s *subscriber) state() (got []string, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got, s.done
}

// url is that of the subscription, after the cursor.
func (s *subscriber) url(scheme string, more ...string) string {
	q := url.Values{"since": {s.cursor}, "topic": s.patterns}
	for i := 0; i < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return scheme + "://" + hostPort(s.server) + "/t/" + s.ledger.domain + "?" + q.Encode()
}

// overSSE is the Go client's own loop, which resumes by itself.
func overSSE(s *subscriber, ctx context.Context) error {
	for m, err := range s.client.Subscribe(ctx, client.SubscribeOptions{Domain: s.ledger.domain, Topics: s.patterns, Since: s.cursor}) {
		if err == nil {
			err = s.take(m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// overSocket opens a WebSocket and has each frame handled.
func (s *subscriber) overSocket(ctx context.Context, address string, protocols []string, hello string, handle func([]byte) error) error {
	conn, _, err := websocket.Dial(ctx, address, &websocket.DialOptions{Subprotocols: protocols, HTTPClient: web()})
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(4 << 20)
	if hello != "" {
		if err := conn.Write(ctx, websocket.MessageText, []byte(hello)); err != nil {
			return err
		}
	}
	for {
		_, data, err := conn.Read(ctx)
		if err == nil {
			err = handle(data)
		}
		if err != nil {
			return err
		}
	}
}

// overRawWebSocket takes one envelope a frame.
func overRawWebSocket(s *subscriber, ctx context.Context) error {
	return s.overSocket(ctx, s.url("ws", "envelope", "json"), nil, "", func(data []byte) error {
		var m client.Message
		if err := json.Unmarshal(data, &m); err != nil {
			s.ledger.complain("%s: frame %.200q: %v", s.name, data, err)
			return err
		}
		return s.take(m)
	})
}

// overWebSocket speaks crier.v1.json, with all its patterns in one
// subscription.
func overWebSocket(s *subscriber, ctx context.Context) error {
	hello, _ := json.Marshal(map[string]any{"type": "subscribe", "ref": "1", "topics": s.patterns, "since": s.cursor})
	address := "ws://" + hostPort(s.server) + "/t/" + s.ledger.domain
	return s.overSocket(ctx, address, []string{"crier.v1.json"}, string(hello), func(data []byte) error {
		var f struct {
			Type    string
			Cursor  string
			Message client.Message
			Gap     *client.Gap
			Problem *client.Problem
		}
		if err := json.Unmarshal(data, &f); err != nil {
			s.ledger.complain("%s: frame %.200q: %v", s.name, data, err)
			return err
		}
		switch f.Type {
		case "message":
			return s.take(f.Message)
		case "gap":
			return f.Gap
		case "error":
			return f.Problem
		case "cursor":
			s.cursor = f.Cursor
		}
		return nil
	})
}

// overNDJSON reads lines.
func overNDJSON(s *subscriber, ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, "GET", s.url("http"), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/x-ndjson")
	resp, err := web().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return err // what there is of a line is none
		}
		if len(line) == 1 {
			continue // a heartbeat
		}
		var gap struct{ Gap *client.Gap }
		var m client.Message
		if json.Unmarshal(line, &gap); gap.Gap != nil {
			return gap.Gap
		}
		if err := json.Unmarshal(line, &m); err != nil {
			s.ledger.complain("%s: line %.200q: %v", s.name, line, err)
			return err
		}
		if err := s.take(m); err != nil {
			return err
		}
	}
}

// overPages asks for page after page, and waits at the end of the log.
func overPages(s *subscriber, ctx context.Context) error {
	page, err := s.client.Page(ctx, client.PageOptions{
		Domain: s.ledger.domain, Topics: s.patterns, Since: s.cursor, Limit: 1 + s.rng.IntN(100), Wait: time.Second,
	})
	if err != nil {
		return err
	}
	if page.Gap != nil {
		return page.Gap
	}
	for _, m := range page.Messages {
		if err := s.take(m); err != nil {
			return err
		}
	}
	if n := len(page.Messages); n > 0 && page.Messages[n-1].ID > page.Next {
		return fmt.Errorf("page ends at %s, before its last message", page.Next)
	}
	s.cursor = page.Next
	return nil
}

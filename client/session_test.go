package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"crier/client"
)

// sessions is a server of crier.v1.json; each connection answers with the
// given functions in turn and then breaks. A nil one breaks without an answer.
func sessions(t *testing.T, connections ...answers) (*recorder, func() []map[string]any) {
	var mu sync.Mutex // guards got and n
	var got []map[string]any
	n := 0
	s := record(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		answers := connections[min(n, len(connections)-1)]
		n++
		mu.Unlock()
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"crier.v1.json"}})
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.CloseNow()
		for _, answer := range answers {
			_, b, err := conn.Read(r.Context())
			if err != nil {
				return
			}
			var req map[string]any
			if err := json.Unmarshal(b, &req); err != nil {
				t.Errorf("%s: %v", b, err)
			}
			mu.Lock()
			got = append(got, req)
			mu.Unlock()
			if answer == nil {
				return
			}
			if err := conn.Write(r.Context(), websocket.MessageText, []byte(answer(req))); err != nil {
				t.Error(err)
			}
		}
		_, _, _ = conn.Read(r.Context()) // until the client closes
	})
	return s, func() []map[string]any {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(got)
	}
}

func published(req map[string]any) string {
	var receipts []string
	for i := range req["messages"].([]any) {
		receipts = append(receipts, fmt.Sprintf(`{"id":"%d","topic":"a","durability":"fsync"}`, i+1))
	}
	return fmt.Sprintf(`{"type":"published","ref":%q,"messages":[%s]}`, req["ref"], strings.Join(receipts, ","))
}

func refused(status int) func(map[string]any) string {
	return func(req map[string]any) string {
		return fmt.Sprintf(`{"type":"error","ref":%q,"problem":{"type":"t","title":"x","status":%d,"detail":"because","retryAfter":0}}`, req["ref"], status)
	}
}

type answers = []func(map[string]any) string

func TestSession(t *testing.T) {
	s, got := sessions(t, answers{published, published})
	session := dial(t, s.URL, client.WithToken("k")).Session("d")
	receipts, err := session.Publish(t.Context(), "a/b", []client.Content{
		{Data: []byte("text <b>")},
		{Data: []byte(`{"n":1.50}`), ContentType: "application/json", Type: "t", TTL: 1500 * time.Millisecond},
		{Data: []byte{0, 0xff}, ContentType: "image/png"},
		{Data: []byte{0xff}},
	}, "key")
	if err != nil || len(receipts) != 4 || receipts[3].ID != "4" {
		t.Fatalf("%+v, %v", receipts, err)
	}
	if _, err := session.Publish(t.Context(), "a", []client.Content{{Data: []byte("x")}}, ""); err != nil {
		t.Fatal(err)
	}
	if err := session.Close(); err != nil {
		t.Error(err)
	}
	r := s.requests()
	if len(r) != 1 || r[0].uri != "/t/d" || r[0].header.Get("Authorization") != "Bearer k" {
		t.Errorf("connections %+v", r)
	}
	b, _ := json.Marshal(got()[0]["messages"])
	want := `[{"data":"text \u003cb\u003e"},{"contentType":"application/json","data":{"n":1.5},"ttl":2,"type":"t"},` +
		`{"contentType":"image/png","data":"AP8=","encoding":"base64"},{"contentType":"text/plain; charset=utf-8","data":"/w==","encoding":"base64"}]`
	if string(b) != want || got()[0]["topic"] != "a/b" || got()[0]["idempotencyKey"] != "key" {
		t.Errorf("sent %s, want %s", b, want)
	}
	if key := got()[1]["idempotencyKey"]; key == "" || key == "key" || got()[0]["ref"] == got()[1]["ref"] {
		t.Errorf("second request %v", got()[1])
	}
}

func TestSessionAgain(t *testing.T) {
	for _, tt := range []struct {
		name        string
		connections []answers
		tries       int
		status      int
		text        string
	}{
		{"broken", []answers{{nil}, {nil}, {published}}, 3, 0, ""},
		{"not now", []answers{{refused(503), refused(429), published}}, 3, 0, ""},
		{"never", []answers{{refused(403)}}, 1, 403, "because"},
		{"nonsense", []answers{{func(map[string]any) string { return "[" }}}, 1, 0, "not what a Crier server sends"},
		{"wrong answer", []answers{{func(r map[string]any) string { return fmt.Sprintf(`{"type":"pong","ref":%q}`, r["ref"]) }}}, 1, 0, "pong"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, got := sessions(t, tt.connections...)
			session := dial(t, s.URL).Session("")
			defer session.Close()
			_, err := session.Publish(t.Context(), "a", []client.Content{{Data: []byte("x")}}, "")
			if p, ok := errors.AsType[*client.Problem](err); (tt.status != 0) != ok || ok && p.Status != tt.status ||
				tt.text == "" && err != nil || tt.text != "" && (err == nil || !strings.Contains(err.Error(), tt.text)) {
				t.Errorf("error %v", err)
			}
			var keys []any
			for _, r := range got() {
				keys = append(keys, r["idempotencyKey"])
			}
			if len(keys) != tt.tries || len(slices.Compact(keys)) != 1 {
				t.Errorf("tried with the keys %v, want %d times one", keys, tt.tries)
			}
		})
	}
}

func TestSessionRefused(t *testing.T) {
	s := record(t, problem(401))
	_, err := dial(t, s.URL).Session("").Publish(t.Context(), "a", []client.Content{{Data: []byte("x")}}, "")
	if p, ok := errors.AsType[*client.Problem](err); !ok || p.Status != 401 || p.Detail != "because" {
		t.Errorf("error %v", err)
	}
	_, err = dial(t, s.URL).Session("").Publish(t.Context(), "a", []client.Content{{Data: []byte("{"), ContentType: "application/json"}}, "")
	if err == nil || !strings.Contains(err.Error(), "message 1: the data are not JSON") {
		t.Errorf("error %v", err)
	}
}

package httpapi_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

func TestPublishAnswer(t *testing.T) {
	w := start(t, options{})
	a := w.do("POST", "/t/main/a%20b", "hello")
	a.want(t, 201)
	if ok, _ := regexp.MatchString(`^\{"id":"[0-9a-f]{24}","topic":"a b","time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z","durability":"memory"\}\n$`, a.body); !ok {
		t.Fatalf("answer %s", a.body)
	}
	p := w.page(a.header.Get("Location"))
	if len(p.Messages) != 1 || string(p.Messages[0].Data) != `"hello"` || p.Messages[0].ContentType != "text/plain; charset=utf-8" {
		t.Fatalf("Location %s leads to %+v", a.header.Get("Location"), p)
	}
}

func TestKindsOfData(t *testing.T) {
	w := start(t, options{})
	for _, tt := range []struct{ contentType, body, data, encoding string }{
		{"", "text", `"text"`, ""},
		{"text/html", "<b>", `"\u003cb\u003e"`, ""},
		{"application/json", `{"a": 1}`, `{"a": 1}`, ""},
		{"application/json", `{"a": `, `"{\"a\": "`, ""},
		{"application/octet-stream", "bytes", `"Ynl0ZXM="`, "base64"},
		{"image/png", "bytes", `"Ynl0ZXM="`, "base64"},
		{"text/plain", "\xff\xfe", `"//4="`, "base64"},
		{"", "", `""`, ""},
	} {
		var headers []string
		if tt.contentType != "" {
			headers = append(headers, "Content-Type: "+tt.contentType)
		}
		w.publish("/t/main/kinds", tt.body, headers...)
		m := w.page("/t/main/kinds?since=last:1").Messages[0]
		var got, want any
		_ = json.Unmarshal(m.Data, &got)
		_ = json.Unmarshal([]byte(tt.data), &want)
		if fmt.Sprint(got) != fmt.Sprint(want) || m.Encoding != tt.encoding {
			t.Errorf("%q as %s: data %s, encoding %q; want %s, %q", tt.body, tt.contentType, m.Data, m.Encoding, tt.data, tt.encoding)
		}
	}
}

func TestPublishRefusals(t *testing.T) {
	w := start(t, options{})
	for _, tt := range []struct {
		name, path, body string
		headers          []string
		status           int
		says             string
	}{
		{"type too long", "/t/main/a", "x", []string{"Crier-Type: " + strings.Repeat("t", 65)}, 400, "64"},
		{"type error", "/t/main/a", "x", []string{"Crier-Type: error"}, 400, "Crier-Type"},
		{"type crier-", "/t/main/a", "x", []string{"Crier-Type: crier-gap"}, 400, "reserved"},
		{"ttl zero", "/t/main/a", "x", []string{"Crier-TTL: 0"}, 400, "Crier-TTL"},
		{"ttl words", "/t/main/a", "x", []string{"Crier-TTL: soon"}, 400, "Crier-TTL"},
		{"too big", "/t/main/a", strings.Repeat("x", 1<<20+1), nil, 413, "--max-message"},
		{"key too long", "/t/main/a", "x", []string{"Idempotency-Key: " + strings.Repeat("k", 256)}, 400, "255"},
		{"batch of another type", "/t/main/a?batch", "1\n2", nil, 415, "x-ndjson"},
		{"batch not JSON", "/t/main/a?batch", "1\nnot\n", []string{"Content-Type: application/x-ndjson"}, 400, "line 2"},
		{"batch empty", "/t/main/a?batch", "\n\n", []string{"Content-Type: application/x-ndjson"}, 400, "no message"},
		{"batch too long", "/t/main/a?batch", strings.Repeat("1\n", 1001), []string{"Content-Type: application/x-ndjson"}, 413, "1000"},
		{"batch too big", "/t/main/a?batch", strings.Repeat(" ", 8<<20+1), []string{"Content-Type: application/x-ndjson"}, 413, "8388608 bytes; send the batch in parts"},
		{"bad query", "/t/main/a?%zz", "x", nil, 400, "query"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.do("POST", tt.path, tt.body, tt.headers...).want(t, tt.status, tt.says)
		})
	}
	if p := w.page("/t/main/**"); len(p.Messages) != 0 {
		t.Fatalf("refused publishes left %d messages", len(p.Messages))
	}
	w.do("PUT", "/t/main/a", "x").want(t, 405)
}

func TestBatch(t *testing.T) {
	w := start(t, options{})
	a := w.do("POST", "/t/main/b?batch", "{\"n\":1}\n\n  2\r\n\"three\"", "Content-Type: application/x-ndjson", "Crier-Type: tick", "Idempotency-Key: k")
	a.want(t, 201, `{"messages":[{"id":"`, `"topic":"b"`)
	p := w.page("/t/main/b")
	var got []string
	for _, m := range p.Messages {
		got = append(got, string(m.Data)+" "+m.Type+" "+m.ContentType)
	}
	if fmt.Sprint(got) != `[{"n":1} tick application/json 2 tick application/json "three" tick application/json]` {
		t.Fatalf("got %v", got)
	}
	again := w.do("POST", "/t/main/b?batch", "{\"n\":1}\n\n  2\r\n\"three\"", "Content-Type: application/x-ndjson", "Crier-Type: tick", "Idempotency-Key: k")
	again.want(t, 201)
	if again.body != a.body || len(w.page("/t/main/b").Messages) != 3 {
		t.Fatalf("a repeat appended, or was answered otherwise: %s", again.body)
	}
}

func TestIdempotency(t *testing.T) {
	w := start(t, options{})
	first := w.do("POST", "/t/main/a", "x", "Idempotency-Key: k")
	first.want(t, 201)
	again := w.do("POST", "/t/main/a", "x", "Idempotency-Key: k")
	again.want(t, 201)
	if first.body != again.body || first.header.Get("Location") != again.header.Get("Location") {
		t.Fatalf("the repeat was answered %s, the first %s", again.body, first.body)
	}
	w.do("POST", "/t/main/a", "y", "Idempotency-Key: k").want(t, 422, "idempotency-key-reused")
	w.do("POST", "/t/main/b", "x", "Idempotency-Key: k").want(t, 201) // another topic
	if n := len(w.page("/t/main/**").Messages); n != 2 {
		t.Fatalf("%d messages, want 2", n)
	}
	release := w.engine.hold()
	done := make(chan answer, 1)
	go func() { done <- w.do("POST", "/t/main/a", "slow", "Idempotency-Key: slow") }()
	<-w.engine.held
	w.do("POST", "/t/main/a", "slow", "Idempotency-Key: slow").want(t, 409, "in-flight")
	release()
	(<-done).want(t, 201)
}

// TestBatchIsUTF8: JSON is UTF-8. Text that is not would go out in frames that
// a WebSocket's peer has to refuse.
func TestBatchIsUTF8(t *testing.T) {
	w := start(t, options{})
	w.do("POST", "/t/main/a?batch", "1\n\"\xff\"\n", "Content-Type: application/x-ndjson").want(t, 400, "line 2", "nothing of the batch")
	if p := w.page("/t/main/a"); len(p.Messages) != 0 {
		t.Errorf("%+v was published", p.Messages)
	}
}

package httpapi_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// A refusal for one header or parameter names it in its own member, as
// docs/problems.md says: a program need not read the detail.
func TestRefusalsNameTheField(t *testing.T) {
	w := start(t, options{})
	const sse, ndjson = "Accept: text/event-stream", "Accept: application/x-ndjson"
	for _, tt := range []struct {
		method, path string
		header       string
		status       int
		field        string
	}{
		{"GET", "/t/main/a?limit=5000", "", 400, "limit"},
		{"GET", "/t/main/a?limit=x", ndjson, 400, "limit"},
		{"GET", "/t/main/a?wait=61", "", 400, "wait"},
		{"GET", "/t/main/a?until=tomorrow", ndjson, 400, "until"},
		{"GET", "/t/main/a?since=yesterday", "", 400, "since"},
		{"GET", "/t/main/a?since=yesterday", sse, 400, "since"},
		{"GET", "/t/main?topic=a/**/b", sse, 400, "topic"},
		{"GET", "/t/main?" + strings.Repeat("topic=a&", 65), "", 400, "topic"},
		{"GET", "/t/main", "", 400, "topic"},
		{"GET", "/t/main/a/**/b", "", 400, ""}, // the path has no name
		{"GET", "/t/main/a", "Accept: image/png", 406, "Accept"},
		{"POST", "/t/main/a", "Crier-TTL: soon", 400, "Crier-TTL"},
		{"POST", "/t/main/a", "Crier-Type: open", 400, "Crier-Type"},
		{"POST", "/t/main/a", "Content-Type: " + strings.Repeat("t", 256), 400, "Content-Type"},
		{"POST", "/t/main/a", "Idempotency-Key: " + strings.Repeat("k", 256), 400, "Idempotency-Key"},
		{"POST", "/t/main/a?batch", "Content-Type: text/plain", 415, "Content-Type"},
	} {
		t.Run(tt.method+" "+tt.path+" "+tt.field, func(t *testing.T) {
			var headers []string
			if tt.header != "" {
				headers = append(headers, tt.header)
			}
			answer := w.do(tt.method, tt.path, "", headers...)
			answer.want(t, tt.status)
			var p struct{ Field string }
			if err := json.Unmarshal([]byte(answer.body), &p); err != nil || p.Field != tt.field {
				t.Errorf("field %q, %v, want %q: %s", p.Field, err, tt.field, answer.body)
			}
		})
	}
}

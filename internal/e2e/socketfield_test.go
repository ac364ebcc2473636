package e2e

import (
	"strings"
	"testing"
)

// A request that is refused for one of its members is told which, by the name
// that it has in frames.
func TestSocketRefusalsNameTheMember(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	in := open(t, web(), s.api+"/t/main", "crier.v1.json")
	for _, tt := range []struct{ request, field string }{
		{`"type":"subscribe","topics":["a/**/b"]`, "topics"},
		{`"type":"subscribe","topics":["a"],"since":"yesterday"`, "since"},
		{`"type":"publish","topic":"a*b","message":{"data":"x"}`, "topic"},
		{`"type":"publish","topic":"a","message":{"data":"x","type":"open"}`, "message.type"},
		{`"type":"publish","topic":"a","message":{"data":"x","contentType":"é"}`, "message.contentType"},
		{`"type":"publish","topic":"a","message":{"data":"x","ttl":999999999999}`, "message.ttl"},
		{`"type":"publish","topic":"a","message":{"dta":"x"}`, "dta"},
		{`"type":"publish","topic":"a","messages":[{"data":"x"},{"data":"x","type":"error"}]`, "messages[1].type"},
		{`"type":"publish","topic":"a","message":{"data":"x"},"idempotencyKey":"` + strings.Repeat("k", 256) + `"`, "idempotencyKey"},
	} {
		t.Run(tt.field, func(t *testing.T) {
			in.say(t, `{"ref":"r",`+tt.request+`}`)
			var answer struct {
				Type    string
				Problem struct{ Detail, Field string }
			}
			decode(t, in.next(t).data, &answer)
			if answer.Type != "error" || answer.Problem.Field != tt.field || strings.Contains(answer.Problem.Detail, "Crier-") {
				t.Errorf("%+v, want an error with the field %q, and no header in it", answer, tt.field)
			}
		})
	}
}

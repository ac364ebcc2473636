package websocket_test

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"crier/internal/transport/websocket"
)

// Whatever a client sends as a request, it is answered by exactly one frame
// that says what it should, and the connection goes on.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		`{"type":"ping","ref":"1"}`,
		`{"type":"subscribe","ref":"1","topics":["a/*","**"],"since":"last:3"}`,
		`{"type":"subscribe","ref":"1","topics":["a"],"since":"00000001000000000000ffff"}`,
		`{"type":"unsubscribe","ref":"2","sub":"1"}`,
		`{"type":"publish","ref":"3","topic":"a/b","message":{"data":"x","type":"y","ttl":3}}`,
		`{"type":"publish","ref":"3","topic":"a/b","message":{"data":"AAE=","encoding":"base64","contentType":"image/png"}}`,
		`{"type":"publish","ref":"4","topic":"a","messages":[{"data":{"a":[1,null]}},{"data":"\ud800"}],"idempotencyKey":"k"}`,
		`{"type":"publish","ref":"5","topic":"a","message":{"data":1,"contentType":"application/json"}}{}`,
		`[]`, `nul`, ``, `{"type":1,"ref":null}`, `{"ref":"` + "\u2028" + `\u0000"}`, `{"Type":"ping","REF":"1","ref":"2"}`,
	} {
		f.Add(s)
	}
	s := newSite(f, websocket.Config{})
	f.Fuzz(func(t *testing.T, in string) {
		if !utf8.ValidString(in) || len(in) > 1<<16 {
			return
		}
		s := s.in(t)
		defer s.serving.Wait()
		p := s.connect("/", "crier.v1.json")
		defer func() { _ = p.nc.Close() }()
		go p.send(text(in), text(`{"type":"ping","ref":"the end"}`))
		var sent struct{ Ref *string }
		refKnown := json.Unmarshal([]byte(in), &sent) == nil && sent.Ref != nil
		answers := 0
		for {
			got := p.next()
			if len(got) < 3 || got[:2] != "1 " {
				t.Fatalf("%q is answered with %q", in, got)
			}
			var f frameJSON
			if err := json.Unmarshal([]byte(got[2:]), &f); err != nil {
				t.Fatalf("%q is answered with %q: %v", in, got, err)
			}
			switch f.Type {
			case "message", "gap", "cursor":
				if f.Sub == "" {
					t.Fatalf("%q", got)
				}
				continue
			case "pong":
				if f.Ref == "the end" && answers == 1 {
					return
				}
			case "subscribed", "unsubscribed", "published":
			case "error":
				if f.Problem.Status < 400 || f.Problem.Type == "" || f.Problem.Detail == "" {
					t.Fatalf("%q is answered with %q", in, got)
				}
				if f.Problem.Status >= 500 {
					t.Fatalf("%q is answered with %q", in, got)
				}
			default:
				t.Fatalf("%q is answered with %q", in, got)
			}
			if answers++; answers > 1 {
				t.Fatalf("%q is answered twice, with %q", in, got)
			}
			if f.Ref != "" && (!refKnown || f.Ref != *sent.Ref) || f.Type != "error" && f.Ref == "" {
				t.Fatalf("%q is answered with the ref %q", in, f.Ref)
			}
		}
	})
}

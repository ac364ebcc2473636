package pushcart_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"crier/internal/dialect/pushcart"
	"crier/internal/message"
)

// FuzzSplice holds what becomes of a body to what a JSON parser says of it.
func FuzzSplice(f *testing.F) {
	for _, s := range []string{
		`{}`, ` { } `, `{"a":1}`, `{"_id":1}`, `{"\u005fid":1}`, `{"app":1}`, `{"a":"\ud800","a":{"_id":1}}`, `[]`, `null`, `{"a":1,}`,
		"{\"a\":\"\xff\"}", `{"a":1}{}`, "\u00a0{}", "\ufeff{}", `{"":{"}":"{"}}`,
	} {
		f.Add([]byte(s), "My App")
	}
	f.Fuzz(func(t *testing.T, body []byte, name string) {
		const id = "0123456789abcdef01234567"
		stored, err := pushcart.Splice(body, id, name)
		var fields map[string]json.RawMessage
		good := utf8.Valid(body) && json.Unmarshal(body, &fields) == nil && fields != nil
		_, hasID := fields["_id"]
		_, hasApp := fields["app"]
		if good = good && !hasID && !hasApp; good != (err == nil) {
			t.Fatalf("%q: %v", body, err)
		}
		if err != nil {
			return
		}
		m := message.Message{ID: message.ID{Seq: 7}, Topic: "pushcart/" + id, App: id, Data: stored, ContentType: "application/json"}
		answer := pushcart.AppendMessage(nil, &m)
		if !utf8.Valid(answer) {
			t.Fatalf("%q is not UTF-8", answer)
		}
		trimmed := bytes.Trim(body, " \t\r\n")
		if !bytes.HasPrefix(stored, trimmed[:len(trimmed)-1]) {
			t.Fatalf("%q became %q", body, stored)
		}
		var got map[string]json.RawMessage
		if err := json.Unmarshal(answer, &got); err != nil {
			t.Fatalf("%q: %v", answer, err)
		}
		var app struct {
			ID   string `json:"_id"`
			Name string
		}
		if err := json.Unmarshal(got["app"], &app); err != nil || app.ID != id || utf8.ValidString(name) && app.Name != name {
			t.Fatalf("app is %s: %v", got["app"], err)
		}
		if string(got["_id"]) != `"`+m.ID.String()+`"` || len(got) != len(fields)+2 {
			t.Fatalf("%q became %q", body, answer)
		}
		for k, v := range fields {
			if !bytes.Equal(got[k], v) {
				t.Fatalf("%q is %s, was %s", k, got[k], v)
			}
		}
	})
}

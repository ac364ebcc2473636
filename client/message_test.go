package client_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"crier/client"
)

func TestMessageJSON(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 678900000, time.UTC)
	for _, tt := range []struct {
		name string
		wire string
		want client.Message
	}{
		{"text", `{"id":"01","topic":"a","time":"2026-01-02T03:04:05.6789Z","contentType":"text/plain","data":"a<b\nc"}`,
			client.Message{ID: "01", Topic: "a", Time: now, ContentType: "text/plain", Data: []byte("a<b\nc")}},
		{"JSON", `{"id":"01","topic":"a","time":"2026-01-02T03:04:05.6789Z","type":"t","contentType":"application/json; charset=utf-8","data":{"n":1.50}}`,
			client.Message{ID: "01", Topic: "a", Time: now, Type: "t", ContentType: "application/json; charset=utf-8", Data: []byte(`{"n":1.50}`)}},
		{"JSON string", `{"id":"01","topic":"a","time":"2026-01-02T03:04:05.6789Z","contentType":"application/ld+json","data":"x"}`,
			client.Message{ID: "01", Topic: "a", Time: now, ContentType: "application/ld+json", Data: []byte(`"x"`)}},
		{"JSON that is none", `{"id":"01","topic":"a","time":"2026-01-02T03:04:05.6789Z","contentType":"application/json","encoding":"text","data":"{x"}`,
			client.Message{ID: "01", Topic: "a", Time: now, ContentType: "application/json", Data: []byte(`{x`)}},
		{"binary", `{"id":"01","topic":"a","time":"2026-01-02T03:04:05.6789Z","contentType":"image/png","encoding":"base64","data":"AP8="}`,
			client.Message{ID: "01", Topic: "a", Time: now, ContentType: "image/png", Data: []byte{0, 0xff}, Binary: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got client.Message
			if err := json.Unmarshal([]byte(tt.wire), &got); err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Fatalf("%+v, %v, want %+v", got, err, tt.want)
			}
			b, err := got.MarshalJSON()
			if err != nil || string(b) != tt.wire {
				t.Errorf("written again %s, %v, want %s", b, err, tt.wire)
			}
		})
	}
}

func TestMessageJSONErrors(t *testing.T) {
	for name, tt := range map[string]struct{ wire, want string }{
		"empty":            {`{}`, "without id"},
		"no data":          {`{"id":"01","topic":"a"}`, "without id, topic or data"},
		"text not string":  {`{"id":"01","topic":"a","contentType":"text/plain","data":{}}`, "data of message 01"},
		"not base64":       {`{"id":"01","topic":"a","encoding":"base64","data":"*"}`, "data of message 01"},
		"unknown encoding": {`{"id":"01","topic":"a","encoding":"rot13","data":"a"}`, `"rot13"`},
	} {
		t.Run(name, func(t *testing.T) {
			var m client.Message
			if err := json.Unmarshal([]byte(tt.wire), &m); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// What a server calls JSON is JSON, whatever stands behind it in the type: a
// message of an odd type must not end a subscription.
func TestOddContentTypes(t *testing.T) {
	for _, tt := range []struct{ kind, data, want string }{
		{"application/json; charset", `{"a":1}`, `{"a":1}`},
		{"application/json; a=1; a=2", `[1]`, `[1]`},
		{"Application/JSON ;", `1`, `1`},
		{"text/x+json; =", `null`, `null`},
		{"text/plain; charset", `"a"`, `a`},
	} {
		var m client.Message
		b := `{"id":"000000000000000000000001","topic":"t","time":"2026-01-02T03:04:05Z","contentType":"` + tt.kind + `","data":` + tt.data + `}`
		if err := json.Unmarshal([]byte(b), &m); err != nil || string(m.Data) != tt.want {
			t.Errorf("%s: %q, %v", tt.kind, m.Data, err)
		}
	}
}

package transport_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"crier/internal/message"
	"crier/internal/transport"
)

var envelopeID = message.ID{Epoch: message.Epoch{Began: 0x01020304, Rand: 0xa0b0}, Seq: 0x1ff}

func TestAppendEnvelope(t *testing.T) {
	at := time.Date(2026, 1, 2, 4, 4, 5, 600_000, time.FixedZone("", 3600))
	const begin = `{"id":"01020304a0b00000000001ff","topic":`
	for _, tt := range []struct {
		name string
		m    message.Message
		want string
	}{
		{"text",
			message.Message{Topic: "a/ü", ContentType: "text/plain; charset=utf-8", Data: []byte("one\ntwo\t\"3\" \\ \x00\x1f\x7f")},
			`"a/ü","time":"2026-01-02T03:04:05.000600Z","contentType":"text/plain; charset=utf-8","data":"one\ntwo\t\"3\" \\ \u0000\u001f` + "\x7f" + `"}`},
		{"typed",
			message.Message{Topic: `a"b`, Type: "gr\\eeting", ContentType: "text/plain", Data: nil},
			`"a\"b","time":"2026-01-02T03:04:05.000600Z","type":"gr\\eeting","contentType":"text/plain","data":""}`},
		{"json",
			message.Message{Topic: "a", ContentType: "application/json", Data: []byte("{\"b\": 1.50,\r\n \"a\":\t\"x\\ny\"}\n")},
			`"a","time":"2026-01-02T03:04:05.000600Z","contentType":"application/json","data":{"b": 1.50,   "a":` + "\t" + `"x\ny"} }`},
		{"json by suffix, with a parameter and in capitals",
			message.Message{Topic: "a", ContentType: "Application/Problem+JSON ; charset=utf-8", Data: []byte("[1]")},
			`"a","time":"2026-01-02T03:04:05.000600Z","contentType":"Application/Problem+JSON ; charset=utf-8","data":[1]}`},
		{"said to be json",
			message.Message{Topic: "a", ContentType: "application/json", Data: []byte("{")},
			`"a","time":"2026-01-02T03:04:05.000600Z","contentType":"application/json","data":"{"}`},
		{"said to be json, empty",
			message.Message{Topic: "a", ContentType: "application/json"},
			`"a","time":"2026-01-02T03:04:05.000600Z","contentType":"application/json","data":""}`},
		{"json that is not UTF-8",
			message.Message{Topic: "a", ContentType: "application/json", Data: []byte("\"\xff\"")},
			`"a","time":"2026-01-02T03:04:05.000600Z","contentType":"application/json","data":"\"\ufffd\""}`},
		{"not json by type",
			message.Message{Topic: "a", ContentType: "text/json-like", Data: []byte("[1]")},
			`"a","time":"2026-01-02T03:04:05.000600Z","contentType":"text/json-like","data":"[1]"}`},
		{"binary",
			message.Message{Topic: "a", ContentType: "application/json", Binary: true, Data: []byte("\xfb\xff\x00?")},
			`"a","time":"2026-01-02T03:04:05.000600Z","contentType":"application/json","data":"+/8APw==","encoding":"base64"}`},
		{"separators and broken UTF-8",
			message.Message{Topic: "a", ContentType: "text/plain", Data: []byte("\u2028\u2029\u2027\xe2\x80<\xffé𝄞&\ufffd\xe2")},
			`"a","time":"2026-01-02T03:04:05.000600Z","contentType":"text/plain","data":"\u2028\u2029` + "\u2027" + `\ufffd\ufffd<\ufffdé𝄞&` + "\ufffd" + `\ufffd"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.m.ID, tt.m.Time = envelopeID, at
			got := string(transport.AppendEnvelope([]byte("before "), &tt.m))
			if want := "before " + begin + tt.want; got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
		})
	}
}

func TestAppendGap(t *testing.T) {
	g := message.Gap{After: "no\"thing\n\x01", Resumed: envelopeID, Reason: message.Retention}
	got := transport.AppendGap([]byte("before "), &g)
	if want := `before {"after":"no\"thing\n\u0001","resumed":"01020304a0b00000000001ff","reason":"retention"}`; string(got) != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// decoded is what a reader of an envelope makes of it.
type decoded struct {
	ID          message.ID
	Topic       string
	Time        time.Time
	Type        *string
	ContentType string
	Data        json.RawMessage
	Encoding    string
}

// replaced is s with each byte that is not valid UTF-8 made U+FFFD.
func replaced(s string) string { return string([]rune(s)) }

func checkEnvelope(t *testing.T, m *message.Message) {
	t.Helper()
	line := transport.AppendEnvelope(nil, m)
	if bytes.ContainsAny(line, "\r\n") || !utf8.Valid(line) {
		t.Fatalf("not one line of UTF-8: %q", line)
	}
	var d decoded
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil || dec.More() {
		t.Fatalf("%q: %v", line, err)
	}
	if d.ID != m.ID || d.Topic != replaced(m.Topic) || !d.Time.Equal(m.Time) || d.ContentType != replaced(m.ContentType) {
		t.Fatalf("%q says %+v of %+v", line, d, m)
	}
	if (d.Type != nil) != (m.Type != "") || d.Type != nil && *d.Type != replaced(m.Type) {
		t.Fatalf("%q: type %v, want %q", line, d.Type, m.Type)
	}
	if m.Binary != (d.Encoding == "base64") {
		t.Fatalf("%q: encoding %q, binary %v", line, d.Encoding, m.Binary)
	}
	var text string
	if json.Unmarshal(d.Data, &text) == nil {
		if m.Binary {
			b, err := base64.StdEncoding.DecodeString(text)
			if err != nil || !bytes.Equal(b, m.Data) {
				t.Fatalf("%q: %q, %v", line, b, err)
			}
			return
		}
		if text == replaced(string(m.Data)) {
			return
		}
	}
	// Then it is the data themselves, which say the same.
	var want, got bytes.Buffer
	if err := json.Compact(&want, m.Data); err != nil {
		t.Fatalf("%q: data of %q: %v", line, m.Data, err)
	}
	if err := json.Compact(&got, d.Data); err != nil || got.String() != want.String() {
		t.Fatalf("%q: data of %q: %v", line, m.Data, err)
	}
	if media := strings.ToLower(m.ContentType); !strings.Contains(media, "json") {
		t.Fatalf("%q: %q was taken for JSON", line, media)
	}
}

func FuzzAppendEnvelope(f *testing.F) {
	f.Add(uint64(1), int64(1_700_000_000_123_456), "a/b", "", "text/plain", []byte("one\r\ntwo"), false)
	f.Add(uint64(2), int64(0), "a\u2028", "t\"", "application/json", []byte("{\"a\":\r\n[1, \"\u2029\"]}"), false)
	f.Add(uint64(3), int64(9_000_000_000_000), "\xff", "x", "x/y+json", []byte("\"\xff\""), false)
	f.Add(uint64(4), int64(1), "a", "x", "image/png", []byte{0, 1, 2, 255}, true)
	f.Fuzz(func(t *testing.T, seq uint64, micros int64, topicName, typ, contentType string, data []byte, binary bool) {
		const year9999 = 253402300799
		checkEnvelope(t, &message.Message{
			ID:    message.ID{Epoch: message.Epoch{Began: 7}, Seq: seq % (message.MaxSeq + 1)},
			Topic: topicName, Type: typ, ContentType: contentType, Data: data, Binary: binary,
			Time: time.UnixMicro(int64(uint64(micros) % (year9999 * 1_000_000))).UTC(),
		})
	})
}

func BenchmarkAppendEnvelope(b *testing.B) {
	for _, bb := range []struct {
		name, contentType string
		binary            bool
	}{{"text", "text/plain; charset=utf-8", false}, {"json", "application/json", false}, {"binary", "image/png", true}} {
		b.Run(bb.name, func(b *testing.B) {
			m := message.Message{
				ID: envelopeID, Topic: "orders/4711", ContentType: bb.contentType, Binary: bb.binary,
				Time: time.Now(), Data: []byte(`{"text":"` + strings.Repeat("x", 189) + `"}`),
			}
			var dst []byte
			b.ReportAllocs()
			for b.Loop() {
				dst = transport.AppendEnvelope(dst[:0], &m)
			}
		})
	}
}

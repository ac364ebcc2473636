package sse_test

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"crier/internal/message"
	"crier/internal/transport/sse"
	"crier/internal/transport/transporttest"
)

var frameID = message.ID{Epoch: message.Epoch{Began: 0x01020304, Rand: 0xa0b0}, Seq: 0x1ff}

func TestFrames(t *testing.T) {
	const id = "id: 01020304a0b00000000001ff\n"
	const envelope = `{"id":"01020304a0b00000000001ff","topic":"a","time":"2026-01-02T03:04:05.000000Z",`
	for _, tt := range []struct {
		name        string
		m           message.Message
		plain, full string
	}{
		{"one line", message.Message{Data: []byte("hello")},
			"data: hello\n\n", `data: ` + envelope + `"contentType":"","data":"hello"}` + "\n\n"},
		{"typed", message.Message{Data: []byte("x"), Type: "greeting"},
			"event: greeting\ndata: x\n\n", "event: greeting\ndata: " + envelope + `"type":"greeting","contentType":"","data":"x"}` + "\n\n"},
		{"empty", message.Message{},
			"data: \n\n", `data: ` + envelope + `"contentType":"","data":""}` + "\n\n"},
		{"three kinds of line breaks", message.Message{Data: []byte("a\nb\rc\r\nd\n\re\r\r\n")},
			"data: a\ndata: b\ndata: c\ndata: d\ndata: \ndata: e\ndata: \ndata: \n\n",
			`data: ` + envelope + `"contentType":"","data":"a\nb\rc\r\nd\n\re\r\r\n"}` + "\n\n"},
		{"leading spaces", message.Message{Data: []byte(" a\n  b")},
			"data:  a\ndata:   b\n\n", `data: ` + envelope + `"contentType":"","data":" a\n  b"}` + "\n\n"},
		{"binary", message.Message{Data: []byte{0xff, '\n'}, Binary: true, Type: "t", ContentType: "image/png"},
			"event: crier-binary\ndata: " + envelope + `"type":"t","contentType":"image/png","data":"/wo=","encoding":"base64"}` + "\n\n",
			"event: t\ndata: " + envelope + `"type":"t","contentType":"image/png","data":"/wo=","encoding":"base64"}` + "\n\n"},
		{"a type that would write fields", message.Message{Data: []byte("x"), Type: "a\r\nid: 7\nb"},
			"event: a  id: 7 b\ndata: x\n\n", "event: a  id: 7 b\ndata: " + envelope + `"type":"a\r\nid: 7\nb","contentType":"","data":"x"}` + "\n\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.m.ID, tt.m.Topic, tt.m.Time = frameID, "a", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			if got := string(sse.AppendMessage([]byte("> "), &tt.m)); got != "> "+id+tt.plain {
				t.Errorf("plain\n got %q\nwant %q", got, "> "+id+tt.plain)
			}
			if got := string(sse.AppendWhole(nil, &tt.m)); got != id+tt.full {
				t.Errorf("envelope\n got %q\nwant %q", got, id+tt.full)
			}
		})
	}
}

// FuzzFrames: what is encoded is what an independent parser reads, whatever
// stands before and after it in the stream.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("a\r\nb"), []byte("\n\n"), "type", false)
	f.Add([]byte("data: x\n\nid: 9"), []byte(": comment"), "", false)
	f.Add([]byte("\xef\xbb\xbf\x00"), []byte("\r"), "retry", false)
	f.Add([]byte{0, 0xff, '\n'}, []byte("\xe2\x80\xa8"), "x\r\ny\n", true)
	f.Fuzz(func(t *testing.T, one, two []byte, typ string, binary bool) {
		messages := []message.Message{
			{ID: frameID, Data: one, Type: typ, Binary: binary, ContentType: "text/plain"},
			{ID: message.ID{Epoch: frameID.Epoch, Seq: 7}, Data: two, ContentType: "text/plain"},
			{ID: message.ID{Epoch: frameID.Epoch, Seq: 8}, Data: append(two, one...), Type: typ, ContentType: "application/json"},
		}
		var plain, whole []byte
		for i := range messages {
			m := &messages[i]
			m.Topic, m.Time = "t", time.UnixMicro(1_700_000_000_000_000).UTC()
			plain = sse.AppendMessage(plain, m)
			whole = sse.AppendWhole(whole, m)
		}
		check(t, plain, messages, func(b transporttest.Block, m *message.Message) bool {
			if m.Binary {
				got, err := transporttest.DecodeEnvelope([]byte(b.Data))
				return err == nil && b.Event == "crier-binary" && bytes.Equal(got.Data, m.Data)
			}
			lf := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(replaced(m.Data))
			return b.Data == lf && b.Event == eventOf(m)
		})
		check(t, whole, messages, func(b transporttest.Block, m *message.Message) bool {
			got, err := transporttest.DecodeEnvelope([]byte(b.Data))
			if err != nil || b.Event != eventOf(m) || got.ID != m.ID || got.Binary != m.Binary {
				return false
			}
			if m.ContentType == "application/json" {
				return true // what envelopes do with JSON is tested where they are
			}
			return m.Binary && bytes.Equal(got.Data, m.Data) || !m.Binary && string(got.Data) == replaced(m.Data)
		})
	})
}

// replaced is text with the bytes that are not valid UTF-8 made U+FFFD.
func replaced(data []byte) string { return string([]rune(string(data))) }

// eventOf is the event type that a user agent dispatches.
func eventOf(m *message.Message) string {
	name := strings.NewReplacer("\r", " ", "\n", " ").Replace(m.Type)
	// One space after the colon is taken away, and that is ours.
	if name = replaced([]byte(name)); name == "" {
		return "message"
	}
	return name
}

func check(t *testing.T, stream []byte, messages []message.Message, same func(transporttest.Block, *message.Message) bool) {
	t.Helper()
	blocks, err := transporttest.AllBlocks(bytes.NewReader(stream))
	if err != nil || len(blocks) != len(messages) {
		t.Fatalf("%d blocks of %d messages, %v: %q", len(blocks), len(messages), err, stream)
	}
	for i, b := range blocks {
		m := &messages[i]
		if !b.Dispatched || !b.HasID || b.ID != m.ID.String() || b.Retry != "" || len(b.Comments) != 0 || !utf8.ValidString(b.Data) {
			t.Fatalf("block %+v of %+v", b, m)
		}
		if !same(b, m) {
			t.Fatalf("block %+v of %+v", b, m)
		}
	}
}

func BenchmarkFrame(b *testing.B) {
	m := message.Message{ID: frameID, Topic: "orders/4711", Data: []byte(strings.Repeat("x", 200)), Time: time.Now()}
	for _, bb := range []struct {
		name   string
		encode func([]byte, *message.Message) []byte
	}{{"plain", sse.AppendMessage}, {"envelope", sse.AppendWhole}} {
		b.Run(bb.name, func(b *testing.B) {
			var dst []byte
			b.ReportAllocs()
			for b.Loop() {
				dst = bb.encode(dst[:0], &m)
			}
		})
	}
}

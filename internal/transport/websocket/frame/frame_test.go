package frame_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"crier/internal/transport/websocket/frame"
)

func TestAppendAsOthersRead(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 127, 1<<16 - 1, 1 << 16, 1<<16 + 1} {
		payload := bytes.Repeat([]byte("x"), n)
		b := frame.Append([]byte("before"), frame.Binary, payload)
		r := bytes.NewReader(b[len("before"):])
		h, err := ws.ReadHeader(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := ws.CheckHeader(h, ws.StateClientSide); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		if !h.Fin || h.OpCode != ws.OpBinary || h.Length != int64(n) || r.Len() != n {
			t.Errorf("%d bytes: header %+v, then %d", n, h, r.Len())
		}
		finished := frame.Finish(append(frame.Reserve(nil), payload...), frame.Binary)
		if !bytes.Equal(finished, b[len("before"):]) {
			t.Errorf("%d bytes: Finish makes another frame than Append", n)
		}
	}
}

func TestAppendClose(t *testing.T) {
	for _, tt := range []struct {
		name   string
		code   frame.Code
		reason string
		want   string
	}{
		{"code alone", frame.Normal, "", "\x88\x02\x03\xe8"},
		{"code and reason", frame.Restart, "soon", "\x88\x06\x03\xf4soon"},
		{"none", frame.NoStatus, "not sent", "\x88\x00"},
		{"abnormal", 1006, "", "\x88\x00"},
		{"tls", 1015, "", "\x88\x00"},
		{"zero", 0, "", "\x88\x00"},
		{"longest", 4999, strings.Repeat("r", 123), "\x88\x7d\x13\x87" + strings.Repeat("r", 123)},
		{"cut", 4000, strings.Repeat("r", 124), "\x88\x7d\x0f\xa0" + strings.Repeat("r", 123)},
		{"cut at a character", 4000, strings.Repeat("r", 121) + "€", "\x88\x7b\x0f\xa0" + strings.Repeat("r", 121)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(frame.AppendClose(nil, tt.code, tt.reason)); got != tt.want {
				t.Errorf("% x, want % x", got, tt.want)
			}
		})
	}
}

func TestSendable(t *testing.T) {
	for code := frame.Code(0); code < 6000; code++ {
		want := code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006 || code >= 3000 && code <= 4999
		if code.Sendable() != want {
			t.Errorf("%d: %v", code, !want)
		}
	}
}

func TestClip(t *testing.T) {
	s := "aé€😀"
	for n := range len(s) + 2 {
		got := frame.Clip(s, n)
		if len(got) > n || !strings.HasPrefix(s, got) || !utf8.ValidString(got) || len(got) < min(n, len(s))-3 {
			t.Errorf("%d bytes: %q", n, got)
		}
	}
}

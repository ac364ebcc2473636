package limit

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want string // method, path, query, body
		enc  encoding
		left int
		err  error
	}{
		"publish":    {"POST /t/main/a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhiPOST", "POST|/t/main/a||hi", sse, 4, nil},
		"batch":      {"POST /t/main/a?batch HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "POST|/t/main/a|batch|", sse, 0, nil},
		"subscribe":  {"GET /t/main/a?times=3 HTTP/1.1\r\nAccept: application/x-ndjson\r\n\r\n", "GET|/t/main/a|times=3|", ndjson, 0, nil},
		"socket":     {"GET /t/main HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "GET|/t/main||", socket, 0, nil},
		"half":       {"POST /t/main/a HTTP/1.1\r\nContent-Length: 2\r\n\r\nh", "", sse, 0, nil},
		"half head":  {"POST /t/main/a HTT", "", sse, 0, nil},
		"no request": {"hello\r\n\r\n", "", sse, 0, errRequest},
		"no length":  {"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", "", sse, 0, errRequest},
		"too long":   {"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", "", sse, 0, errRequest},
		"endless":    {"GET / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 5000), "", sse, 0, errRequest},
	} {
		t.Run(name, func(t *testing.T) {
			r, n, err := parse([]byte(tt.text))
			got := ""
			if n > 0 {
				got = string(r.method) + "|" + string(r.path) + "|" + string(r.query) + "|" + string(r.body)
			}
			if got != tt.want || !errors.Is(err, tt.err) || n > 0 && (r.encoding != tt.enc || len(tt.text)-n != tt.left) {
				t.Errorf("%q, %v, %d of %d bytes, %v", got, r.encoding, n, len(tt.text), err)
			}
		})
	}
	r, _, _ := parse([]byte("GET /a?since=x&times=12 HTTP/1.1\r\n\r\n"))
	if n := r.times(); n != 12 {
		t.Errorf("times %d", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("POST /t/main/a?batch HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"))
	f.Add([]byte("\x81\x82\x00\x00\x00\x00hi"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, n, err := parse(b); n > len(b) || err != nil && n != 0 || n > 0 && len(r.body) > n {
			t.Errorf("%d of %d bytes, %v", n, len(b), err)
		}
		if _, n, err := clientFrame(b); n > len(b) || err != nil && n != 0 {
			t.Errorf("a frame of %d of %d bytes, %v", n, len(b), err)
		}
	})
}

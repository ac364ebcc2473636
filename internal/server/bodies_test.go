package server

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestBodiesThatDoNotCome: whoever announces a body and does not send it has
// its connection for a while and not for ever, whatever the handler does.
func TestBodiesThatDoNotCome(t *testing.T) {
	handlers := map[string]http.HandlerFunc{
		"/t/no":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"/refuses": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"/reads": func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(r.Body); err == nil {
				t.Error("the body came")
			}
			w.WriteHeader(http.StatusBadRequest)
		},
		"/streams": func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // as streams do
			w.WriteHeader(http.StatusOK)
		},
	}
	srv := httptest.NewServer(inTime(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers[r.URL.Path](w, r)
	}), 20*time.Millisecond))
	defer srv.Close()
	for _, tt := range []struct{ request, header string }{
		{"POST /refuses", "Content-Length: 10"},
		{"POST /refuses", "Transfer-Encoding: chunked"},
		{"POST /%74/no", "Content-Length: 10"}, // is not of /t/
		{"PUT /reads", "Content-Length: 10"},
		{"GET /refuses", "Content-Length: 10"},
		{"GET /streams", "Content-Length: 10"},
		{"GET /streams", "Transfer-Encoding: chunked"},
		{"GET /streams", "Content-Length: 99999999"},
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(srv.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.WriteString(conn, tt.request+" HTTP/1.1\r\nHost: h\r\n"+tt.header+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(conn)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Errorf("%s with %s: %v", tt.request, tt.header, err)
		} else if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode < 400 {
			t.Errorf("%s with %s: %d, %v", tt.request, tt.header, resp.StatusCode, err)
		} else if _, err := in.ReadByte(); err != io.EOF {
			t.Errorf("%s with %s: the connection is still there: %v", tt.request, tt.header, err)
		}
		_ = conn.Close()
	}
}

// TestBodiesThatCome: what came is there for the handler, and the time of one
// body is not that of the next request.
func TestBodiesThatCome(t *testing.T) {
	srv := httptest.NewServer(inTime(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(b)
	}), time.Minute))
	defer srv.Close()
	for _, method := range []string{"GET", "POST", "DELETE", "OPTIONS"} {
		for range 2 {
			req, err := http.NewRequestWithContext(t.Context(), method, srv.URL, strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			if err != nil || string(b) != "body" {
				t.Errorf("%s: %q, %v", method, b, err)
			}
			_ = resp.Body.Close()
		}
	}
}

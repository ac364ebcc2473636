package sse_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/transport"
	"crier/internal/transport/transporttest"
)

// A peer that is full when its stream ends is told why once it reads, if that is
// soon; it has little time, however much of it it takes in small pieces.
func TestFullWhenItEnds(t *testing.T) {
	for _, d := range []driver{{}, {wire: true}} {
		synctest.Test(t, func(t *testing.T) {
			e := transporttest.NewEnv(t, d, 0)
			full := func() io.ReadCloser {
				conn, err := e.Dial(transporttest.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(conn, "GET /?topic=a HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				in := bufio.NewReader(conn)
				resp, err := http.ReadResponse(in, nil)
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Fatal(resp, err)
				}
				t.Cleanup(func() { _ = conn.Close() })
				return resp.Body
			}
			hears := full()
			drips := full()
			e.Publish("a", strings.Repeat("x", 1<<20))
			synctest.Wait()
			for _, c := range e.Table.List("", 10, nil) {
				c.End(transport.ErrKicked)
			}
			synctest.Wait()
			began := time.Now()
			all, _ := io.ReadAll(hears)
			if !strings.Contains(string(all), "event: crier-restart") {
				t.Errorf("%+v: the end is not told, after %d bytes", d, len(all))
			}
			for {
				if _, err := io.CopyN(io.Discard, drips, 8<<10); err != nil {
					break
				}
				time.Sleep(300 * time.Millisecond)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("%+v: a peer that takes little at a time was served for %v", d, took)
			}
		})
	}
}

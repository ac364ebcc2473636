package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// TestPublishersOnLoops: publishers that keep their connections are served by
// the loops of sockets, each in its order and with nothing lost, unless that is
// switched off; what they mix in between is served too.
func TestPublishersOnLoops(t *testing.T) {
	for _, tt := range []struct {
		flag  string
		loops bool
	}{{"--fast-publish=true", true}, {"--fast-publish=false", false}} {
		t.Run(tt.flag, func(t *testing.T) {
			s := startServer(t, tt.flag)
			const publishers, each = 20, 50
			var wg sync.WaitGroup
			for p := range publishers {
				wg.Go(func() { publishOver(t, s.api, p, each) })
			}
			wg.Wait()
			for p := range publishers {
				page := ask(t, "GET", fmt.Sprintf("%s/t/main/p/%d?limit=1000", s.api, p), "").body
				at := 0
				for i := range each {
					next := strings.Index(page[at:], fmt.Sprintf(`"data":"message %d"`, i))
					if next < 0 {
						t.Fatalf("message %d of publisher %d is missing or not in its place:\n%s", i, p, page)
					}
					at += next
				}
				if n := strings.Count(page, `"data"`); n != each {
					t.Errorf("publisher %d: %d messages", p, n)
				}
			}
			metrics := ask(t, "GET", s.admin+"/metrics", "").body
			if on := strings.Contains(metrics, `crier_publish_requests_total{way="loop"}`) && !strings.Contains(metrics, `crier_publish_requests_total{way="loop"} 0`); on != tt.loops {
				t.Errorf("loops served publishes: %t, want %t", on, tt.loops)
			}
		})
	}
}

// publishOver publishes over one connection, by hand, with a look at history in
// the middle.
func publishOver(t *testing.T, api string, p, n int) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(api, "http://"))
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	say := func(request string, want int) {
		if _, err := io.WriteString(conn, request); err != nil {
			t.Error(err)
			return
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != want {
			t.Errorf("%s: %s", request, resp.Status)
		}
	}
	for i := range n {
		data := fmt.Sprintf("message %d", i)
		say(fmt.Sprintf("POST /t/main/p/%d HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%s", p, len(data), data), http.StatusCreated)
		if i == n/2 {
			say(fmt.Sprintf("GET /t/main/p/%d?limit=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", p), http.StatusOK)
		}
	}
}

package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
)

// Beyond the limit requests are refused in a way that their clients
// understand; listeners that are served don't count.
func TestManyRequests(t *testing.T) {
	w := start(t, options{most: 1})
	listening := []*stream{w.stream("/t/main/a"), w.stream("/t/main/a")}
	release := w.engine.hold()
	held := make(chan answer, 1)
	go func() { held <- w.do("POST", "/t/main/a", "held") }()
	<-w.engine.held

	a := w.do("POST", "/t/main/a", "x")
	a.want(t, 503, "unavailable")
	if a.header.Get("Retry-After") == "" || !strings.Contains(a.body, "limit of 1") {
		t.Errorf("503 says %v %s", a.header, a.body)
	}
	w.do("GET", "/t/main/a", "").want(t, 503)
	again := w.stream("/t/main/a")
	if _, event, _ := again.event(); event != "crier-restart" || again.resp.StatusCode != 200 {
		t.Errorf("an EventSource got %d, %s", again.resp.StatusCode, event)
	}
	release()
	if a := <-held; a.status != http.StatusCreated {
		t.Errorf("the one that was served: %d", a.status)
	}
	w.do("GET", "/t/main/a", "").want(t, 200)
	for _, s := range listening {
		if _, _, data := s.event(); data != "held" {
			t.Errorf("heard %q", data)
		}
	}
}

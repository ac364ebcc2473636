package e2e

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// metric is a number that /metrics has, named with its labels as it is there;
// 0 if it is not.
func (s *server) metric(t *testing.T, name string) float64 {
	t.Helper()
	a := ask(t, http.MethodGet, s.admin+"/metrics", "")
	if a.status != http.StatusOK {
		t.Fatalf("/metrics: %d %s", a.status, a.body)
	}
	for line := range strings.Lines(a.body) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			return n
		}
	}
	return 0
}

// counts waits until a counter has come to n.
func (s *server) counts(t *testing.T, name string, n float64) {
	t.Helper()
	eventually(t, name, func() bool { return s.metric(t, name) >= n })
	if got := s.metric(t, name); got != n {
		t.Errorf("%s is %v, want %v", name, got, n)
	}
}

package client_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"crier/client"
)

// What refuses may be no Crier, or not yet: what it says is handed on if it is
// for people.
func TestReadProblem(t *testing.T) {
	for _, tt := range []struct {
		name, contentType, body string
		want                    string
	}{
		{"a problem", "application/problem+json", `{"title":"Bad request","detail":"limit is wrong"}`, "limit is wrong"},
		{"text", "text/plain; charset=utf-8", "go away\n", "go away"},
		{"HTTP to HTTPS", "", "Client sent an HTTP request to an HTTPS server.\n", "Client sent an HTTP request to an HTTPS server."},
		{"a page of a proxy", "text/html", "<html>", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp := &http.Response{StatusCode: 400, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(tt.body))}
			if tt.contentType != "" {
				resp.Header.Set("Content-Type", tt.contentType)
			}
			if p := client.ReadProblem(resp); p.Status != 400 || p.Detail != tt.want {
				t.Errorf("status %d, detail %q, want 400, %q", p.Status, p.Detail, tt.want)
			}
		})
	}
}

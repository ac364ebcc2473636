package pushcart_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"crier/internal/engine"
	"crier/internal/engine/memory"
)

// faulty is an engine whose logs can be read only so often.
type faulty struct {
	*memory.Engine
	reads atomic.Int64
}

func (f *faulty) Log(ctx context.Context, domain string, d engine.Durability) (engine.Log, error) {
	l, err := f.Engine.Log(ctx, domain, d)
	return &faultyLog{l, f}, err
}

type faultyLog struct {
	engine.Log
	f *faulty
}

func (l *faultyLog) Read(ctx context.Context, q engine.Query) (engine.Page, error) {
	if l.f.reads.Add(-1) < 0 {
		return engine.Page{}, fmt.Errorf("read: %w", engine.ErrUnavailable)
	}
	return l.Log.Read(ctx, q)
}

// TestEngineGone: an answer that has not begun is a 503, one that has is cut
// off, so that nobody takes it for the whole.
func TestEngineGone(t *testing.T) {
	eng := &faulty{Engine: memory.New(memory.Config{})}
	t.Cleanup(func() { _ = eng.Close() })
	n := newNode(t, eng.Engine)
	for i := range 2000 {
		n.post(fmt.Sprintf(`{"n":%d,"fill":"%s"}`, i, strings.Repeat("x", 500)))
	}
	n = newNode(t, eng) // without what is in the memory of the other
	srv := httptest.NewServer(n.dialect)
	t.Cleanup(srv.Close)
	get := func() (status int, body string, err error) {
		req, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/messages", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Client-Token", n.clientToken)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b), err
	}
	eng.reads.Store(0)
	if status, body, err := get(); status != 503 || !strings.HasPrefix(body, `{"error":"`) || err != nil {
		t.Errorf("at once: %d %.100s, %v", status, body, err)
	}
	eng.reads.Store(3)
	if status, body, err := get(); status != 200 || err == nil || strings.HasSuffix(body, "]") {
		t.Errorf("after a while: %d, %d bytes, %v", status, len(body), err)
	}
	eng.reads.Store(1 << 30)
	if status, body, err := get(); status != 200 || err != nil || !strings.HasSuffix(body, "]") || strings.Count(body, `"n":`) != 2000 {
		t.Errorf("well again: %d, %d bytes, %v", status, len(body), err)
	}
}

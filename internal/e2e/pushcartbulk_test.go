package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
)

// TestPushcartBulk: a client reads a million messages in one answer, and the
// server has no more of them in memory than it had before.
func TestPushcartBulk(t *testing.T) {
	t.Parallel()
	const block = 1000
	blocks := 1000
	if testing.Short() {
		blocks = 200
	}
	s := startServer(t, "--durability", "async")
	_, token := s.add(t, "addclient", "test\n\n")
	in := open(t, web(), s.api+"/t/main", "crier.v1.json")
	for i := range blocks {
		list := make([]map[string]any, block)
		for j := range list {
			list[j] = map[string]any{"data": map[string]int{"n": i*block + j}}
		}
		in.say(t, map[string]any{"type": "publish", "ref": "r", "topic": "pushcart/bulk", "messages": list})
		var answer struct{ Type string }
		if decode(t, in.next(t).data, &answer); answer.Type != "published" {
			t.Fatalf("block %d is answered %s", i, answer.Type)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.api+"/messages", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Client-Token", token)
	resp, err := web().Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(err, resp)
	}
	defer resp.Body.Close()
	body := json.NewDecoder(bufio.NewReaderSize(resp.Body, 1<<16))
	if _, err := body.Token(); err != nil {
		t.Fatal(err)
	}
	before, most := s.metric(t, "process_resident_memory_bytes"), 0.0
	n := 0
	for ; body.More(); n++ {
		var m json.RawMessage
		if err := body.Decode(&m); err != nil {
			t.Fatalf("after %d messages: %v", n, err)
		}
		if want := fmt.Appendf(nil, `"data":{"n":%d},"app":`, n); !bytes.Contains(m, want) {
			t.Fatalf("message %d is %s", n, m)
		}
		if n%(block*blocks/20) == 0 {
			most = max(most, s.metric(t, "process_resident_memory_bytes"))
		}
	}
	if n != block*blocks {
		t.Errorf("%d messages, want %d", n, block*blocks)
	}
	if before == 0 {
		t.Skip("this system does not tell how much memory a process has")
	}
	// What is read is about 100 MB.
	if more := most - before; more > 32<<20 {
		t.Errorf("the server grew by %.0f MB while it was read", more/1e6)
	}
	t.Logf("resident: %.1f MB before, at most %.1f MB", before/1e6, most/1e6)
}

package server

import (
	"bytes"
	"strings"
	"testing"

	"crier/internal/config"
	"crier/internal/engine"
	"crier/internal/engine/embedded"
	"crier/internal/message"
)

// TestLongestMessageFits: what --max-message lets through the log can take.
func TestLongestMessageFits(t *testing.T) {
	e, err := embedded.Open(t.Context(), embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	l, err := e.Log(t.Context(), "main", engine.Async)
	if err != nil {
		t.Fatal(err)
	}
	longest := message.Draft{
		Topic: strings.Repeat("t", 512), ContentType: strings.Repeat("c", 255), Type: strings.Repeat("e", 64),
		Data: bytes.Repeat([]byte("x"), int(config.LongestMessage)),
	}
	if _, err := l.Append(t.Context(), engine.Block{Drafts: []message.Draft{longest}}); err != nil {
		t.Error(err)
	}
}

package httpapi

import (
	"mime"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"crier/internal/message"
)

// Limits of what a publish may say beside its data.
const (
	maxType        = 64
	maxContentType = 255
	maxKey         = 255
	maxTTL         = 10 * 365 * 24 * time.Hour
)

// isBinary says how a body without a frame of its own is kept: as bytes if
// its type says so or it is not UTF-8, else as text.
func isBinary(contentType string, body []byte) bool {
	if contentType == message.DefaultContentType || strings.HasPrefix(contentType, "application/json") {
		return !utf8.Valid(body)
	}
	base, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		base, _, _ = strings.Cut(contentType, ";")
		base = strings.ToLower(strings.TrimSpace(base))
	}
	kind, _, _ := strings.Cut(base, "/")
	switch {
	case base == "application/octet-stream", kind == "image", kind == "audio", kind == "video":
		return true
	}
	return !utf8.Valid(body)
}

// checkContentType takes what is safe to hand out again.
func checkContentType(s string) (string, error) {
	if s == "" {
		return message.DefaultContentType, nil
	}
	if len(s) > maxContentType {
		return "", wrong("Content-Type", "Content-Type is %d bytes long, the limit is %d", len(s), maxContentType)
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] >= 0x7f {
			return "", wrong("Content-Type", "Content-Type: byte %d is not printable ASCII", i)
		}
	}
	return s, nil
}

// checkType applies the rules of a message's type: names that would collide
// with an EventSource's own events, or with Crier's, are refused.
func checkType(s string) error {
	if len(s) > maxType {
		return wrong("Crier-Type", "Crier-Type is %d bytes long, the limit is %d", len(s), maxType)
	}
	if !utf8.ValidString(s) {
		return wrong("Crier-Type", "Crier-Type is not UTF-8")
	}
	for i, r := range s {
		if r < 0x20 || 0x7f <= r && r < 0xa0 {
			return wrong("Crier-Type", "Crier-Type: byte %d is a control character", i)
		}
	}
	switch s {
	case "error", "open", "message":
		return wrong("Crier-Type", "Crier-Type %q is a name that EventSource uses itself; choose another", s)
	}
	if strings.HasPrefix(s, "crier-") {
		return wrong("Crier-Type", "Crier-Type %q begins with crier-, which is reserved; choose another", s)
	}
	return nil
}

func parseTTL(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 || time.Duration(n)*time.Second > maxTTL {
		return 0, wrong("Crier-TTL", "Crier-TTL is a number of seconds from 1 to %d, got %q", int(maxTTL/time.Second), clip(s))
	}
	return time.Duration(n) * time.Second, nil
}

func checkKey(s string) error {
	if len(s) > maxKey {
		return wrong("Idempotency-Key", "Idempotency-Key is %d bytes long, the limit is %d", len(s), maxKey)
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return wrong("Idempotency-Key", "Idempotency-Key: byte %d is a control character", i)
		}
	}
	return nil
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

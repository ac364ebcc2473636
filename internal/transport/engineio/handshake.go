package engineio

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// isUpgrade reports whether a request wants to become a WebSocket.
func isUpgrade(r *http.Request) bool {
	return hasToken(r.Header, "Upgrade", "websocket") && hasToken(r.Header, "Connection", "upgrade")
}

func hasToken(h http.Header, field, want string) bool {
	for _, line := range h.Values(field) {
		for t := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(t), want) {
				return true
			}
		}
	}
	return false
}

// socketKey reads the opening handshake of a WebSocket (RFC 6455, section
// 4.2.1). Subprotocols and extensions that are offered are not agreed on.
func socketKey(r *http.Request) (key string, ok bool) {
	keys := r.Header.Values("Sec-WebSocket-Key")
	if r.ProtoMajor != 1 || r.Method != http.MethodGet || r.ContentLength != 0 || len(keys) != 1 ||
		r.Header.Get("Sec-WebSocket-Version") != "13" {
		return "", false
	}
	raw, err := base64.StdEncoding.DecodeString(keys[0])
	return keys[0], err == nil && len(raw) == 16
}

// hijack takes a connection over and finishes the opening handshake. It
// returns what the peer sent already.
func (s *Server) hijack(w http.ResponseWriter, key string) (net.Conn, []byte, error) {
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take the connection over: %w", err)
	}
	initial, _ := rw.Reader.Peek(rw.Reader.Buffered())
	initial = slices.Clone(initial)
	_ = nc.SetDeadline(time.Time{})
	_ = nc.SetWriteDeadline(time.Now().Add(s.cfg.CloseWait))
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"
	if _, err := nc.Write([]byte(answer)); err != nil {
		_ = nc.Close()
		return nil, nil, fmt.Errorf("finish the opening handshake: %w", err)
	}
	return nc, initial, nil
}

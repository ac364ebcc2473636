package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxHead bounds the head of an answer.
const maxHead = 16 << 10

// answerTimeout is how long an answer may take.
const answerTimeout = 30 * time.Second

// errAnswer is wrapped by errors about answers that cannot be understood.
var errAnswer = errors.New("unexpected answer")

// statusError is an answer with another status than wanted.
type statusError struct {
	status int
	body   string
}

func (e *statusError) Error() string {
	text := strings.TrimSpace(e.body)
	if text == "" { // of a HEAD
		text = http.StatusText(e.status)
	}
	if e.status == http.StatusUnauthorized || e.status == http.StatusForbidden {
		text += "; --token gives a key that may publish and subscribe"
	}
	return fmt.Sprintf("%v: status %d: %s", errAnswer, e.status, text)
}

func (e *statusError) Unwrap() error { return errAnswer }

// server is an address to make connections to.
type server struct {
	url    *url.URL
	host   string // for the Host header
	addr   string // to dial
	token  string
	dialer net.Dialer
}

func newServer(address, token string) (*server, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("server %q: want http://HOST:PORT or https://HOST:PORT", address)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return &server{
		url: u, host: u.Host, addr: net.JoinHostPort(u.Hostname(), port), token: token,
		dialer: net.Dialer{Timeout: 10 * time.Second},
	}, nil
}

// dial makes a connection, with TLS if the address says so.
func (s *server) dial(ctx context.Context) (net.Conn, error) {
	if s.url.Scheme == "https" {
		d := tls.Dialer{NetDialer: &s.dialer, Config: &tls.Config{NextProtos: []string{"http/1.1"}}}
		return d.DialContext(ctx, "tcp", s.addr)
	}
	return s.dialer.DialContext(ctx, "tcp", s.addr)
}

// head makes the head of a request; header lines come in pairs.
func (s *server) head(method, path string, header ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, s.host)
	if s.token != "" {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", s.token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", header[i], header[i+1])
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// answerHead is what matters of an answer's head.
type answerHead struct {
	status  int
	length  int64 // -1: not said
	chunked bool
}

// readHead reads an answer's head and leaves the reader at its body.
func readHead(r *bufio.Reader) (answerHead, error) {
	h := answerHead{length: -1}
	line, err := r.ReadSlice('\n')
	if err != nil {
		return h, err
	}
	if len(line) < 14 || string(line[:7]) != "HTTP/1." {
		return h, fmt.Errorf("%w: begins with %.40q", errAnswer, line)
	}
	if h.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return h, fmt.Errorf("%w: begins with %.40q", errAnswer, line)
	}
	for size := len(line); ; size += len(line) {
		if line, err = r.ReadSlice('\n'); err != nil {
			return h, err
		}
		if size > maxHead {
			return h, fmt.Errorf("%w: head of more than %d bytes", errAnswer, maxHead)
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return h, nil
		}
		if v, ok := headerValue(line, "content-length"); ok {
			if h.length, err = strconv.ParseInt(v, 10, 64); err != nil || h.length < 0 {
				return h, fmt.Errorf("%w: Content-Length %.20q", errAnswer, v)
			}
		} else if v, ok := headerValue(line, "transfer-encoding"); ok {
			h.chunked = strings.EqualFold(v, "chunked")
		}
	}
}

func headerValue(line []byte, lower string) (string, bool) {
	if len(line) <= len(lower) || line[len(lower)] != ':' || !bytes.EqualFold(line[:len(lower)], []byte(lower)) {
		return "", false
	}
	return string(bytes.TrimSpace(line[len(lower)+1:])), true
}

// exchange is one keep-alive connection on which requests are answered in turn.
type exchange struct {
	conn net.Conn
	in   *bufio.Reader
}

func (s *server) exchange(ctx context.Context) (*exchange, error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	return &exchange{conn, bufio.NewReaderSize(conn, 4096)}, nil
}

// do writes a request and reads its answer, whose body it throws away if the
// status is the one wanted.
func (e *exchange) do(request []byte, want int) error {
	if err := e.conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	if _, err := e.conn.Write(request); err != nil {
		return err
	}
	h, err := readHead(e.in)
	if err != nil {
		return err
	}
	if h.status != want {
		body, _ := readBody(e.in, h, 512) // what came is better than nothing
		return &statusError{h.status, string(body)}
	}
	if h.chunked || h.length < 0 {
		_, err := readBody(e.in, h, 0)
		return err
	}
	_, err = e.in.Discard(int(h.length))
	return err
}

func (e *exchange) Close() error { return e.conn.Close() }

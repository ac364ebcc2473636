package client

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// protocol is the subprotocol that a Session speaks.
const protocol = "crier.v1.json"

// Session publishes over one WebSocket, which is quicker than a request for
// each message, and takes batches of messages of any kind. It connects when it
// is first used, and again when the connection breaks; as with
// [Client.Publish], what may pass is tried again and never stored twice. Its
// methods may be called concurrently, but one publishes after the other.
type Session struct {
	client *Client
	domain string

	mu   sync.Mutex // guards the fields below, and held while publishing
	conn *websocket.Conn
	refs uint64
}

// Session makes a session in a domain ([DefaultDomain] if empty). The caller
// closes it.
func (c *Client) Session(domain string) *Session {
	if domain == "" {
		domain = DefaultDomain
	}
	return &Session{client: c, domain: domain}
}

// Content is a message to publish in a session.
type Content struct {
	Data        []byte
	ContentType string        // text/plain; charset=utf-8 if empty
	Type        string        // optional: the SSE event name
	TTL         time.Duration // 0: for ever; else at least a second, rounded up to whole ones
}

// outgoing is a Content on the wire.
type outgoing struct {
	Data        json.RawMessage `json:"data"`
	Encoding    string          `json:"encoding,omitempty"`
	ContentType string          `json:"contentType,omitempty"`
	Type        string          `json:"type,omitempty"`
	TTL         int64           `json:"ttl,omitempty"`
}

// request and response are frames of the protocol.
type request struct {
	Type     string     `json:"type"`
	Ref      string     `json:"ref"`
	Topic    string     `json:"topic"`
	Messages []outgoing `json:"messages"`
	Key      string     `json:"idempotencyKey"`
}

type response struct {
	Type     string
	Ref      string
	Messages []Receipt
	Problem  *struct {
		Problem
		RetryAfter int64
	}
}

// Publish stores messages in order, with nothing of others between them, or
// none of them: at most [MaxBatch], and together no longer than the server
// takes in a WebSocket message (1 MiB unless it is set otherwise; text may
// take up to six bytes for one). key is the idempotency key of the whole; one
// is made if it is empty.
func (s *Session) Publish(ctx context.Context, topic string, messages []Content, key string) ([]Receipt, error) {
	if len(messages) == 0 {
		return nil, nil
	}
	if key == "" {
		key = rand.Text()
	}
	req := request{Type: "publish", Topic: topic, Key: key, Messages: make([]outgoing, len(messages))}
	for i := range messages {
		m, err := messages[i].wire()
		if err != nil {
			return nil, fmt.Errorf("publish to %s/%s: message %d: %w", s.domain, topic, i+1, err)
		}
		req.Messages[i] = m
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var receipts []Receipt
	err := s.client.retry.do(ctx, func() error {
		var err error
		receipts, err = s.once(ctx, req)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("publish %d to %s/%s: %w", len(messages), s.domain, topic, err)
	}
	return receipts, nil
}

// wire makes what goes into the frame.
func (m *Content) wire() (outgoing, error) {
	w := outgoing{ContentType: m.ContentType, Type: m.Type, TTL: int64((m.TTL + time.Second - 1) / time.Second)}
	var err error
	switch {
	case isJSON(m.ContentType):
		if w.Data = m.Data; !json.Valid(m.Data) {
			err = errors.New("the data are not JSON, as the content type says")
		}
	case isBinary(m.ContentType) || !utf8.Valid(m.Data):
		if w.ContentType == "" {
			w.ContentType = "text/plain; charset=utf-8" // as it would be over HTTP
		}
		w.Encoding = "base64"
		w.Data = []byte(`"` + base64.StdEncoding.EncodeToString(m.Data) + `"`)
	default:
		w.Data, err = plain(string(m.Data))
	}
	return w, err
}

// isBinary says of which content types the data are bytes.
func isBinary(contentType string) bool {
	base, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	kind, _, _ := strings.Cut(base, "/")
	return base == "application/octet-stream" || kind == "image" || kind == "audio" || kind == "video"
}

// once sends a request and waits for its answer. After an error that is not
// the server's word the connection is given up.
func (s *Session) once(ctx context.Context, req request) (_ []Receipt, err error) {
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	s.refs++
	req.Ref = strconv.FormatUint(s.refs, 10)
	frame, err := plain(req)
	if err != nil {
		return nil, final{err}
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	defer func() {
		if _, said := errors.AsType[*Problem](err); err != nil && !said {
			s.drop()
		}
	}()
	if err := s.conn.Write(ctx, websocket.MessageText, frame); err != nil {
		return nil, closeReason(err)
	}
	for {
		_, text, err := s.conn.Read(ctx)
		if err != nil {
			return nil, closeReason(err)
		}
		var r response
		if err := json.Unmarshal(text, &r); err != nil {
			return nil, fmt.Errorf("%w: %w", errProtocol, err)
		}
		switch {
		case r.Ref != req.Ref:
			continue // tells nothing of ours
		case r.Type == "published" && len(r.Messages) == len(req.Messages):
			return r.Messages, nil
		case r.Type == "error" && r.Problem != nil:
			p := r.Problem.Problem
			p.RetryAfter = time.Duration(r.Problem.RetryAfter) * time.Second
			return nil, &p
		}
		return nil, fmt.Errorf("%w: %s", errProtocol, clip(string(text), 80))
	}
}

// closeReason makes of a close frame for good, such as 1008 or 1009, an error
// that is not tried again.
func closeReason(err error) error {
	switch websocket.CloseStatus(err) {
	case websocket.StatusProtocolError, websocket.StatusUnsupportedData, websocket.StatusInvalidFramePayloadData,
		websocket.StatusPolicyViolation, websocket.StatusMessageTooBig:
		return final{err}
	}
	return err
}

// connect opens the WebSocket if there is none.
func (s *Session) connect(ctx context.Context) error {
	if s.conn != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	h := http.Header{"User-Agent": {s.client.agent}}
	if s.client.token != "" {
		h.Set("Authorization", "Bearer "+s.client.token)
	}
	conn, resp, err := websocket.Dial(ctx, s.client.base+"/t/"+url.PathEscape(s.domain), &websocket.DialOptions{
		HTTPClient: s.client.http, HTTPHeader: h, Subprotocols: []string{protocol},
	})
	if err != nil {
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols && resp.Body != nil {
			defer resp.Body.Close()
			return ReadProblem(resp)
		}
		return redact(err)
	}
	if conn.Subprotocol() != protocol {
		_ = conn.CloseNow()
		return fmt.Errorf("%w: it does not speak %s", errProtocol, protocol)
	}
	conn.SetReadLimit(maxReceipts)
	s.conn = conn
	return nil
}

func (s *Session) drop() {
	_ = s.conn.CloseNow() // it is broken or not to be trusted
	s.conn = nil
}

// Close ends the session. It waits for a publish that is under way.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return nil
	}
	defer func() { s.conn = nil }()
	if err := s.conn.Close(websocket.StatusNormalClosure, ""); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close the session: %w", err)
	}
	return nil
}

package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Limits of a batch, unless the server has others.
const (
	MaxBatch      = 1000    // messages
	MaxBatchBytes = 8 << 20 // of all of them, as JSON lines
)

// Draft is a message to publish.
type Draft struct {
	Domain string // DefaultDomain if empty
	Topic  string
	Data   []byte
	// ContentType is text/plain; charset=utf-8 if empty. It also decides
	// whether the data are text or binary: binary if it is
	// application/octet-stream, image/*, audio/* or video/*, or if the data
	// are not UTF-8.
	ContentType string
	Type        string        // optional: the SSE event name
	TTL         time.Duration // 0: for ever; else at least a second, rounded up to whole ones
	// Key is the idempotency key, under which a repeat within ten minutes
	// stores nothing; the client makes one if it is empty.
	Key string
	// NoKey sends no key at all. Then only failures that certainly came
	// before the server did anything are tried again.
	NoKey bool
}

// Batch is several JSON messages to one topic, stored all or none.
type Batch struct {
	Domain   string
	Topic    string
	Messages []json.RawMessage // at most MaxBatch; kept as they are, but that one of several lines is made compact
	Type     string            // of each message
	TTL      time.Duration     // of each message
	Key      string            // one for the whole batch; made by the client if empty
}

// Receipt says what became of a published message.
type Receipt struct {
	ID         string    `json:"id"`
	Topic      string    `json:"topic"`
	Time       time.Time `json:"time"`
	Durability string    `json:"durability"` // fsync, async or memory: what is true of the message now
}

// Publish stores a message and returns once it is as durable as its domain
// says. What may pass is tried again as [WithRetry] has it. If the context
// ends the message may or may not have been stored; publishing it again under
// the same Key is safe.
func (c *Client) Publish(ctx context.Context, d Draft) (Receipt, error) {
	p, err := at(d.Domain, d.Topic)
	if err != nil {
		return Receipt{}, fmt.Errorf("publish: %w", err)
	}
	h := http.Header{}
	if d.ContentType != "" {
		h.Set("Content-Type", d.ContentType)
	}
	key := d.Key
	if d.NoKey {
		key = ""
	} else if key == "" {
		key = rand.Text()
	}
	setOptions(h, d.Type, d.TTL, key)
	var r Receipt
	if err := c.post(ctx, p.url(c.base, url.Values{}), h, d.Data, key != "", &r); err != nil {
		return Receipt{}, fmt.Errorf("publish to %v: %w", p, err)
	}
	return r, nil
}

// PublishBatch stores the messages of a batch, in order, with nothing of
// others between them, or none. The receipts are in the order of the messages.
func (c *Client) PublishBatch(ctx context.Context, b Batch) ([]Receipt, error) {
	p, err := at(b.Domain, b.Topic)
	if err != nil {
		return nil, fmt.Errorf("publish a batch: %w", err)
	}
	if len(b.Messages) == 0 {
		return nil, nil
	}
	var body bytes.Buffer
	for i, m := range b.Messages {
		if err := appendLine(&body, m); err != nil {
			return nil, fmt.Errorf("publish a batch to %v: message %d is not JSON: %w", p, i+1, err)
		}
	}
	h := http.Header{"Content-Type": {"application/x-ndjson"}}
	key := b.Key
	if key == "" {
		key = rand.Text()
	}
	setOptions(h, b.Type, b.TTL, key)
	var answer struct{ Messages []Receipt }
	if err := c.post(ctx, p.url(c.base, url.Values{"batch": {""}}), h, body.Bytes(), true, &answer); err != nil {
		return nil, fmt.Errorf("publish a batch of %d to %v: %w", len(b.Messages), p, err)
	}
	if len(answer.Messages) != len(b.Messages) {
		return answer.Messages, fmt.Errorf("publish a batch to %v: %w: %d receipts for %d messages", p, errProtocol, len(answer.Messages), len(b.Messages))
	}
	return answer.Messages, nil
}

// appendLine writes JSON as one line: as it is, unless it has line breaks.
func appendLine(body *bytes.Buffer, m json.RawMessage) error {
	if bytes.IndexByte(m, '\n') < 0 && json.Valid(m) {
		body.Write(m)
	} else if err := json.Compact(body, m); err != nil {
		return err
	}
	return body.WriteByte('\n')
}

func setOptions(h http.Header, typ string, ttl time.Duration, key string) {
	if typ != "" {
		h.Set("Crier-Type", typ)
	}
	if ttl != 0 {
		h.Set("Crier-TTL", strconv.FormatInt(int64((ttl+time.Second-1)/time.Second), 10))
	}
	if key != "" {
		h.Set("Idempotency-Key", key)
	}
}

// post sends a body, again if that is safe and may help, and reads the answer
// into v.
func (c *Client) post(ctx context.Context, address string, h http.Header, body []byte, keyed bool, v any) error {
	return c.retry.do(ctx, func() error {
		req, err := c.request(ctx, http.MethodPost, address, bytes.NewReader(body))
		if err != nil {
			return final{err}
		}
		for name, values := range h {
			req.Header[name] = values
		}
		_, answer, err := c.answer(req, 0, maxReceipts)
		switch {
		case err != nil && !keyed && !neverDone(err):
			return final{err}
		case err != nil:
			return err
		}
		if err := json.Unmarshal(answer, v); err != nil {
			return fmt.Errorf("%w: %w", errProtocol, err)
		}
		return nil
	})
}

// neverDone reports whether a publish that failed like this certainly stored
// nothing: the server said so, or was never reached.
func neverDone(err error) bool {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable
	}
	return isDial(err)
}

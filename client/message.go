package client

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Message is one message as a subscriber gets it.
type Message struct {
	ID          string // also the cursor after which to go on
	Topic       string
	Time        time.Time
	Type        string // optional: the SSE event name
	ContentType string
	Data        []byte
	Binary      bool // Data are bytes, not UTF-8 text
}

// envelope is a message on the wire.
type envelope struct {
	ID          string          `json:"id"`
	Topic       string          `json:"topic"`
	Time        time.Time       `json:"time"`
	Type        string          `json:"type,omitempty"`
	ContentType string          `json:"contentType"`
	Encoding    string          `json:"encoding,omitempty"`
	Data        json.RawMessage `json:"data"`
}

// UnmarshalJSON reads an envelope.
func (m *Message) UnmarshalJSON(b []byte) error {
	var e envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return err
	}
	var err error
	*m, err = e.message()
	return err
}

// message takes the data out of an envelope, which may keep a part of it.
func (e *envelope) message() (Message, error) {
	if e.ID == "" || e.Topic == "" || len(e.Data) == 0 {
		return Message{}, errors.New("envelope without id, topic or data")
	}
	m := Message{ID: e.ID, Topic: e.Topic, Time: e.Time, Type: e.Type, ContentType: e.ContentType}
	if e.Encoding == "" && isJSON(e.ContentType) {
		m.Data = e.Data
		return m, nil
	}
	var s string
	if err := json.Unmarshal(e.Data, &s); err != nil {
		return Message{}, fmt.Errorf("data of message %s: %w", e.ID, err)
	}
	switch e.Encoding {
	case "", "text":
		m.Data = []byte(s)
	case "base64":
		data, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return Message{}, fmt.Errorf("data of message %s: %w", e.ID, err)
		}
		m.Data, m.Binary = data, true
	default:
		return Message{}, fmt.Errorf("message %s has the encoding %q", e.ID, clip(e.Encoding, 40))
	}
	return m, nil
}

// MarshalJSON writes the envelope, on one line.
func (m Message) MarshalJSON() ([]byte, error) {
	e := envelope{ID: m.ID, Topic: m.Topic, Time: m.Time, Type: m.Type, ContentType: m.ContentType}
	var err error
	switch {
	case m.Binary:
		e.Encoding = "base64"
		e.Data, err = json.Marshal(base64.StdEncoding.EncodeToString(m.Data))
	case !isJSON(m.ContentType):
		e.Data, err = plain(string(m.Data))
	case json.Valid(m.Data):
		e.Data = m.Data
	default: // text that only calls itself JSON
		e.Encoding = "text"
		e.Data, err = plain(string(m.Data))
	}
	if err != nil {
		return nil, err
	}
	return plain(e)
}

// plain is JSON in which <, > and & are as they are.
func plain(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// isJSON is the rule by which servers write data as JSON: what stands behind a
// type may be anything.
func isJSON(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	return kind == "application/json" || len(kind) > len("+json") && strings.HasSuffix(kind, "+json")
}

// Reasons of a gap.
const (
	Retention = "retention" // trimmed by age or bytes
	Deleted   = "deleted"   // a topic's history was deleted
	Epoch     = "epoch"     // the cursor belongs to another life of the log
)

// Gap is what a subscriber is told when something that may have matched is
// gone: what lay between the cursors After and Resumed. Everything that is
// left after Resumed follows. As an error it does not end an iteration: the
// caller decides whether to go on.
type Gap struct {
	After   string `json:"after"`
	Resumed string `json:"resumed"`
	Reason  string `json:"reason"`
}

// Error says what is missing and why.
func (g *Gap) Error() string {
	return fmt.Sprintf("messages may be missing after %s: history goes on at %s (%s)", clip(g.After, 40), g.Resumed, g.Reason)
}

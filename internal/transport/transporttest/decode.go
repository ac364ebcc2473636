package transporttest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"crier/internal/message"
)

// DecodeEnvelope reads an envelope as a client does. Data of JSON content
// that are a string are taken for text that is no JSON.
func DecodeEnvelope(b []byte) (message.Message, error) {
	var e struct {
		ID          message.ID      `json:"id"`
		Topic       string          `json:"topic"`
		Time        time.Time       `json:"time"`
		Type        string          `json:"type"`
		ContentType string          `json:"contentType"`
		Data        json.RawMessage `json:"data"`
		Encoding    string          `json:"encoding"`
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil {
		return message.Message{}, fmt.Errorf("envelope %.200q: %w", b, err)
	}
	m := message.Message{ID: e.ID, Topic: e.Topic, Time: e.Time, Type: e.Type, ContentType: e.ContentType}
	var text string
	switch err := json.Unmarshal(e.Data, &text); {
	case e.Encoding == "base64" && err == nil:
		m.Binary = true
		m.Data, err = base64.StdEncoding.DecodeString(text)
		if err != nil {
			return m, fmt.Errorf("envelope %.200q: %w", b, err)
		}
	case e.Encoding != "":
		return m, fmt.Errorf("envelope %.200q: encoding %q", b, e.Encoding)
	case err == nil:
		m.Data = []byte(text)
	default:
		m.Data = e.Data
	}
	return m, nil
}

// DecodeGap reads a gap.
func DecodeGap(b []byte) (message.Gap, error) {
	var g message.Gap
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&g); err != nil {
		return g, fmt.Errorf("gap %.200q: %w", b, err)
	}
	return g, nil
}

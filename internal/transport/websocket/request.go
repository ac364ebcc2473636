package websocket

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"crier/internal/engine"
	"crier/internal/problem"
	"crier/internal/transport"
)

// Limits of requests.
const maxRef = 64 // bytes

// Content types that are given where a client gave none.
const (
	contentBinary = "application/octet-stream"
	contentJSON   = "application/json"
)

// A call is what a crier.v1.json request asks for: one of the types below.
type call interface{ isCall() }

type (
	callSubscribe struct {
		Topics []string `json:"topics"`
		Since  string   `json:"since"`
	}
	callUnsubscribe struct {
		Sub string `json:"sub"`
	}
	callPublish struct {
		publication Publication
	}
	callPing struct{}
)

func (callSubscribe) isCall()   {}
func (callUnsubscribe) isCall() {}
func (callPublish) isCall()     {}
func (callPing) isCall()        {}

// named is what all requests have.
type named struct {
	Type string `json:"type"`
	Ref  string `json:"ref"`
}

// parseRequest reads one frame. ref is what the answer repeats, as far as it
// could be read; errors are problems for the client to see.
func parseRequest(data []byte) (ref string, c call, err error) {
	if ref, c, ok := quickPublish(data); ok {
		return ref, c, nil
	}
	return parseSlowly(data)
}

// parseSlowly reads any frame there can be, and says what is wrong with it.
func parseSlowly(data []byte) (ref string, c call, err error) {
	var head named
	if err := json.Unmarshal(data, &head); err != nil {
		p := jsonFault(err)
		if p.Field == "" {
			p.Detail = "the frame is not a JSON object: " + p.Detail
		}
		return "", nil, p
	}
	switch {
	case head.Ref == "":
		return "", nil, wrong("ref", "ref is missing: every request has one, and its answer repeats it")
	case len(head.Ref) > maxRef:
		return "", nil, wrong("ref", "ref is %d bytes long, the limit is %d", len(head.Ref), maxRef)
	}
	switch head.Type {
	case "subscribe":
		c, err = parseSubscribe(data)
	case "unsubscribe":
		c, err = parseUnsubscribe(data)
	case "publish":
		c, err = parsePublish(data)
	case "ping":
		c, err = callPing{}, strict(data, &struct{ named }{})
	case "":
		err = wrong("type", "type is missing: subscribe, unsubscribe, publish or ping")
	default:
		err = wrong("type", "type %s is none of subscribe, unsubscribe, publish and ping", clipped(head.Type))
	}
	return head.Ref, c, err
}

func parseSubscribe(data []byte) (call, error) {
	var r struct {
		named
		callSubscribe
	}
	if err := strict(data, &r); err != nil {
		return nil, err
	}
	if len(r.Topics) == 0 {
		return nil, wrong("topics", "topics is missing: a list of patterns")
	}
	return r.callSubscribe, nil
}

func parseUnsubscribe(data []byte) (call, error) {
	var r struct {
		named
		callUnsubscribe
	}
	if err := strict(data, &r); err != nil {
		return nil, err
	}
	if r.Sub == "" {
		return nil, wrong("sub", "sub is missing: the subscription to end")
	}
	return r.callUnsubscribe, nil
}

// published is a message as a client writes it.
type published struct {
	Data        json.RawMessage `json:"data"`
	Encoding    string          `json:"encoding"`
	ContentType string          `json:"contentType"`
	Type        string          `json:"type"`
	TTL         *int64          `json:"ttl"`
}

func parsePublish(data []byte) (call, error) {
	var r struct {
		named
		Topic          string      `json:"topic"`
		Message        *published  `json:"message"`
		Messages       []published `json:"messages"`
		IdempotencyKey string      `json:"idempotencyKey"`
	}
	if err := strict(data, &r); err != nil {
		return nil, err
	}
	p := Publication{Topic: r.Topic, IdempotencyKey: r.IdempotencyKey, Batch: r.Message == nil}
	list := r.Messages
	switch {
	case r.Topic == "":
		return nil, wrong("topic", "topic is missing")
	case r.Message != nil && r.Messages != nil:
		return nil, wrong("messages", "message and messages are both there; give one of them")
	case r.Message != nil:
		list = []published{*r.Message}
	case len(list) == 0:
		return nil, wrong("message", "message is missing, or messages, a list of them")
	case len(list) > engine.MaxBlock:
		return nil, problem.TooLarge(fmt.Sprintf("messages has %d members, the limit is %d; send them in parts", len(list), engine.MaxBlock)).On("messages")
	}
	p.Messages = make([]Message, len(list))
	for i := range list {
		m, fault := list[i].message()
		if fault != nil {
			where := "message"
			if p.Batch {
				where = fmt.Sprintf("messages[%d]", i)
			}
			fault.Detail = where + ": " + fault.Detail
			return nil, fault.On(where + "." + fault.Field)
		}
		p.Messages[i] = m
	}
	return callPublish{p}, nil
}

// message makes bytes of what a client wrote. It is the reverse of
// [transport.AppendEnvelope].
func (w *published) message() (Message, *problem.Problem) {
	m := Message{ContentType: w.ContentType, Type: w.Type}
	if w.TTL != nil {
		if m.TTL = *w.TTL; m.TTL < 1 {
			return m, wrong("ttl", "ttl is %d, the least is 1 second; leave it out for none", m.TTL)
		}
	}
	if len(w.Data) == 0 {
		return m, wrong("data", "data is missing")
	}
	isText := w.Data[0] == '"'
	switch w.Encoding {
	case "":
		if m.ContentType == "" && !isText {
			m.ContentType = contentJSON
		}
		if transport.IsJSON(m.ContentType) {
			m.Data = w.Data
			return m, nil
		}
	case "base64":
		if m.ContentType == "" {
			m.ContentType = contentBinary
		}
	default:
		return m, wrong("encoding", "encoding %s is not base64, the only one; leave it out for text and JSON", clipped(w.Encoding))
	}
	if !isText {
		return m, wrong("data", "data is not a string, as its encoding or contentType want it")
	}
	m.Data = w.Data[1 : len(w.Data)-1 : len(w.Data)-1]
	if bytes.IndexByte(m.Data, '\\') >= 0 || !utf8.Valid(m.Data) {
		var s string
		if err := json.Unmarshal(w.Data, &s); err != nil {
			return m, wrong("data", "data: %v", err)
		}
		m.Data = []byte(s)
	}
	if w.Encoding == "base64" {
		raw, err := base64.StdEncoding.AppendDecode([]byte{}, m.Data)
		if err != nil {
			return m, wrong("data", "data is not base64: %v", err)
		}
		m.Data = raw
	}
	return m, nil
}

// wrong is the answer to a request one member of which is not right.
func wrong(field, format string, args ...any) *problem.Problem {
	return problem.BadRequest(fmt.Sprintf(format, args...)).On(field)
}

// strict decodes one JSON object all of whose members are known.
func strict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return jsonFault(err)
	}
	return nil
}

// jsonFault words an error of encoding/json for a client.
func jsonFault(err error) *problem.Problem {
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if mismatch.Field == "" {
			return problem.BadRequest("a JSON " + mismatch.Value + " where an object belongs")
		}
		return wrong(mismatch.Field, "%s cannot be a JSON %s", mismatch.Field, mismatch.Value)
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return problem.BadRequest(fmt.Sprintf("%v, at byte %d", syntax, syntax.Offset))
	}
	if _, quoted, ok := strings.Cut(err.Error(), "unknown field "); ok { // its error has no type
		if name, err := strconv.Unquote(quoted); err == nil && len(name) <= 64 {
			return wrong(name, "unknown field %q: check its spelling, and that it belongs to this type of request", name)
		}
	}
	return problem.BadRequest(strings.TrimPrefix(err.Error(), "json: "))
}

// clipped quotes what a client sent, but not all of it.
func clipped(s string) string {
	const limit = 40
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}

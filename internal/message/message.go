// Package message has the vocabulary of the whole house: the message, its id,
// the cursor that is the id of the last message seen, and the gap that a
// subscriber is told of when something after its cursor is gone. It does no
// I/O and imports nothing of ours; everybody else imports it.
package message

import "time"

// DefaultContentType is what a publish without a Content-Type gets.
const DefaultContentType = "text/plain; charset=utf-8"

// Message is one published unit as the log holds it. Messages are shared
// between subscribers: nobody changes one, nor its Data, once it is made.
type Message struct {
	ID          ID
	Topic       string
	Data        []byte
	ContentType string
	Binary      bool      // data are bytes, not UTF-8 text
	Time        time.Time // when the log took it, UTC, whole microseconds
	Type        string    // optional: the SSE event name
	App         string    // optional: the app that sent it
	Expires     time.Time // zero: never; from then on the message is not delivered
}

// Size is what retention by bytes counts: data plus topic.
func (m *Message) Size() int { return len(m.Data) + len(m.Topic) }

// Expired reports whether the message's own time to live has ended.
func (m *Message) Expired(now time.Time) bool {
	return !m.Expires.IsZero() && !now.Before(m.Expires)
}

// Draft is a message before the log gave it an id and a time.
type Draft struct {
	Topic       string
	Data        []byte
	ContentType string
	Binary      bool
	Type        string
	App         string
	TTL         time.Duration // 0: for ever; else whole seconds, at least one
}

// Commit makes the message that a draft becomes once the log has given it id
// and time.
func (d *Draft) Commit(id ID, now time.Time) Message {
	m := Message{
		ID: id, Topic: d.Topic, Data: d.Data, ContentType: d.ContentType,
		Binary: d.Binary, Time: now, Type: d.Type, App: d.App,
	}
	if d.TTL > 0 {
		m.Expires = now.Add(d.TTL)
	}
	return m
}

// Reason says why something between a cursor and what comes next is gone.
type Reason string

// The reasons of a gap.
const (
	Retention Reason = "retention" // trimmed by age or bytes
	Deleted   Reason = "deleted"   // a topic's history was deleted
	NewEpoch  Reason = "epoch"     // the cursor belongs to another life of the log
)

// Gap is what a subscriber is told when something that may have matched,
// after the cursor After, is gone. Everything that is left and matches after
// Resumed follows. After is the cursor as the client gave it, so that it is
// text: a cursor that could not be read is told as it came.
type Gap struct {
	After   string `json:"after"`
	Resumed ID     `json:"resumed"`
	Reason  Reason `json:"reason"`
}

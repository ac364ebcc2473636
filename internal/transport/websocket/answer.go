package websocket

import (
	"strconv"

	"crier/internal/engine"
	"crier/internal/message"
	"crier/internal/problem"
	"crier/internal/topic"
	"crier/internal/transport"
	"crier/internal/transport/websocket/frame"
)

// beginAnswer begins a text frame with the members that answers begin with;
// endAnswer finishes it. An empty ref is left out.
func beginAnswer(kind, ref string) []byte {
	b := frame.Reserve(make([]byte, 0, 256))
	b = append(b, `{"type":"`...)
	b = append(b, kind...)
	b = append(b, '"')
	if ref != "" {
		b = append(b, `,"ref":`...)
		b = transport.AppendString(b, ref)
	}
	return b
}

func endAnswer(b []byte) []byte { return frame.Finish(append(b, '}'), frame.Text) }

func appendSub(b []byte, sub string) []byte {
	b = append(b, `,"sub":"`...)
	b = append(b, sub...)
	return append(b, '"')
}

// appendCursor appends a cursor, if there is one.
func appendCursor(b []byte, id message.ID) []byte {
	if id.IsZero() {
		return b
	}
	b = append(b, `,"cursor":"`...)
	b = id.Append(b)
	return append(b, '"')
}

func pongAnswer(ref string) []byte { return endAnswer(beginAnswer("pong", ref)) }

func subscribedAnswer(ref, sub string, f topic.Filter, cursor message.ID) []byte {
	b := appendSub(beginAnswer("subscribed", ref), sub)
	b = append(b, `,"topics":[`...)
	for i, p := range f.Patterns() {
		if i > 0 {
			b = append(b, ',')
		}
		b = transport.AppendString(b, p.String())
	}
	return endAnswer(appendCursor(append(b, ']'), cursor))
}

func unsubscribedAnswer(ref, sub string, cursor message.ID) []byte {
	return endAnswer(appendCursor(appendSub(beginAnswer("unsubscribed", ref), sub), cursor))
}

func cursorFrame(sub string, cursor message.ID) []byte {
	return endAnswer(appendCursor(appendSub(beginAnswer("cursor", ""), sub), cursor))
}

func gapFrame(sub string, g *message.Gap) []byte {
	b := append(appendSub(beginAnswer("gap", ""), sub), `,"gap":`...)
	return endAnswer(transport.AppendGap(b, g))
}

func publishedAnswer(ref string, p *Publication, r engine.Receipt) []byte {
	b := beginAnswer("published", ref)
	if !p.Batch {
		return endAnswer(appendReceipt(append(b, `,"message":`...), p.Topic, r, 0))
	}
	b = append(b, `,"messages":[`...)
	for i := range r.N {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendReceipt(b, p.Topic, r, i)
	}
	return endAnswer(append(b, ']'))
}

func appendReceipt(b []byte, name string, r engine.Receipt, i int) []byte {
	b = append(b, `{"id":"`...)
	b = r.ID(i).Append(b)
	b = append(b, `","topic":`...)
	b = transport.AppendString(b, name)
	b = append(b, `,"time":"`...)
	b = message.AppendTime(b, r.Time)
	b = append(b, `","durability":"`...)
	b = append(b, r.Durability...)
	return append(b, `"}`...)
}

func errorAnswer(ref string, p *problem.Problem) []byte {
	b := append(beginAnswer("error", ref), `,"problem":{"type":`...)
	b = transport.AppendString(b, p.Type)
	b = append(b, `,"title":`...)
	b = transport.AppendString(b, p.Title)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(p.Status), 10)
	if p.Detail != "" {
		b = append(b, `,"detail":`...)
		b = transport.AppendString(b, p.Detail)
	}
	if p.Field != "" {
		b = append(b, `,"field":`...)
		b = transport.AppendString(b, p.Field)
	}
	if p.RetryAfter > 0 {
		b = append(b, `,"retryAfter":`...)
		b = strconv.AppendInt(b, int64(p.RetrySeconds()), 10)
	}
	return endAnswer(append(b, '}'))
}

// A message frame is a head, its subscription, a middle, the envelope that all
// subscribers share, and an end.
const (
	messageHead   = `{"type":"message","sub":"`
	messageMiddle = `","message":`
	messageEnd    = `}`
)

package bench

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Publishing is how messages are published.
type Publishing struct {
	Socket bool // in frames of a WebSocket (crier.v1.json), not by POST
	Frames int  // frames of a WebSocket that are sent together before their answers are waited for; 1 if 0
	Batch  int  // messages of one POST or frame; 1 if 0
}

func (p *Publishing) fill(size int) error {
	orElse(&p.Frames, 1)
	orElse(&p.Batch, 1)
	switch {
	case p.Frames > 1 && !p.Socket:
		return fmt.Errorf("frames %d: only a WebSocket has frames", p.Frames)
	case p.Frames < 1 || p.Frames > 64:
		return fmt.Errorf("frames %d is outside 1 to 64", p.Frames)
	case p.Batch < 1 || p.Batch > 1000:
		return fmt.Errorf("batch %d is outside 1 to 1000", p.Batch)
	case p.Socket && p.Batch*(size+20) > 1<<20-200:
		return fmt.Errorf("batch %d of %d bytes is more than the 1 MiB of a frame", p.Batch, size)
	case p.Batch > 1 && p.Batch*(size+1) > 8<<20:
		return fmt.Errorf("batch %d of %d bytes is more than 8 MiB", p.Batch, size)
	case p.Batch > 1 && !p.Socket && size < MinSize+2:
		return fmt.Errorf("size %d is below the least of a batch, %d: messages are JSON strings", size, MinSize+2)
	}
	return nil
}

// request is bytes that publish messages, made once; what changes is written
// over in place.
type request struct {
	bytes   []byte
	topicAt []int // the hex digits of the topics, one for each POST or frame
	dataAt  []int // the payloads
	answers int
}

// newRequest makes the request of a sender.
func newRequest(s *server, p Publishing, id uint32, domain string, size int) *request {
	switch {
	case p.Socket:
		return newFrames(p, id, size)
	case p.Batch > 1:
		return newBatch(s, p, id, domain, size)
	}
	head := s.head("POST", "/t/"+domain+"/"+topicName(0), "Content-Type", "text/plain; charset=utf-8", "Content-Length", strconv.Itoa(size))
	return &request{
		bytes:   append(head, newPayload(id, size)...),
		topicAt: []int{len("POST /t/") + len(domain) + 1 + len(topicPrefix)},
		dataAt:  []int{len(head)}, answers: 1,
	}
}

// newBatch makes a POST of lines, each a JSON string.
func newBatch(s *server, p Publishing, id uint32, domain string, size int) *request {
	line := append(append([]byte{'"'}, newPayload(id, size-2)...), '"', '\n')
	path := "/t/" + domain + "/"
	r := &request{answers: 1, topicAt: []int{len("POST ") + len(path) + len(topicPrefix)}}
	r.bytes = s.head("POST", path+topicName(0)+"?batch", "Content-Type", "application/x-ndjson", "Content-Length", strconv.Itoa(p.Batch*len(line)))
	for range p.Batch {
		r.dataAt = append(r.dataAt, len(r.bytes)+1)
		r.bytes = append(r.bytes, line...)
	}
	return r
}

func newFrames(p Publishing, id uint32, size int) *request {
	begin := `{"type":"publish","ref":"1","topic":"` + topicName(0) + `",`
	message := `{"data":"` + string(newPayload(id, size)) + `"}`
	text := begin + `"message":` + message + "}"
	if p.Batch > 1 {
		text = begin + `"messages":[` + strings.Repeat(message+",", p.Batch-1) + message + "]}"
	}
	r := &request{answers: p.Frames}
	for range p.Frames {
		r.bytes = appendFrameHead(r.bytes, len(text))
		at := len(r.bytes)
		r.bytes = append(r.bytes, text...)
		r.topicAt = append(r.topicAt, at+strings.Index(text, topicPrefix)+len(topicPrefix))
		for from := 0; ; {
			i := strings.Index(text[from:], payloadMark)
			if i < 0 {
				break
			}
			r.dataAt = append(r.dataAt, at+from+i)
			from += i + len(payloadMark)
		}
	}
	return r
}

// number writes topics and numbers into the request, beginning with the first.
func (r *request) number(first uint64, topics int, at time.Duration) {
	if topics > 1 {
		each := uint64(len(r.dataAt) / len(r.topicAt))
		for i, t := range r.topicAt {
			putHex24(r.bytes[t:], uint32((first/each+uint64(i))%uint64(topics)))
		}
	}
	for i, d := range r.dataAt {
		stamp(r.bytes[d:], first+uint64(i), at)
	}
}

package bench

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// batchLines is how many messages a load by batches sends at once.
const batchLines = 1000

// loader publishes by batches: history to replay is to be there soon.
type loader struct {
	sender
	size  int
	lines int // of the request that is there
}

func newLoader(s *server, id uint32, domain string, topics, size int) *loader {
	return &loader{sender: sender{server: s, id: id, domain: domain, topics: topics, failed: map[uint64]bool{}}, size: size}
}

// build makes a request for a number of lines, each a JSON string.
func (l *loader) build(lines int) {
	if l.lines == lines {
		return
	}
	l.lines = lines
	line := append(append([]byte{'"'}, newPayload(l.id, l.size-2)...), '"', '\n')
	path := "/t/" + l.domain + "/"
	head := l.server.head("POST", path+topicName(0)+"?batch", "Content-Type", "application/x-ndjson", "Content-Length", strconv.Itoa(lines*len(line)))
	l.request = append(head, bytes.Repeat(line, lines)...)
	l.topicAt, l.bodyAt = len("POST ")+len(path)+len(topicPrefix), len(head)
}

// load publishes n messages; what fails ends it.
func (l *loader) load(ctx context.Context, n int) error {
	if err := l.connect(ctx); err != nil {
		return err
	}
	defer l.close()
	for batch := uint32(0); n > 0; batch++ {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		lines := min(n, batchLines, max(1, (8<<20)/(l.size+1)))
		l.build(lines)
		putHex24(l.request[l.topicAt:], batch%uint32(l.topics))
		for i := range lines {
			stamp(l.request[l.bodyAt+i*(l.size+1)+1:], l.sent, time.Duration(0))
			l.sent++
		}
		if err := l.conn.do(l.request, http.StatusCreated); err != nil {
			return fmt.Errorf("publish a batch of %d: %w", lines, err)
		}
		n -= lines
	}
	return nil
}

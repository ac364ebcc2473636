package bench

import (
	"context"
	"fmt"
)

// batchLines is how many messages a load by batches sends at once.
const batchLines = 1000

// load publishes n messages by batches, as one sender: history to replay is to
// be there soon. What fails ends it. It begins with number first.
func load(ctx context.Context, srv *server, domain string, topics, size int, first, n uint64) error {
	for n > 0 {
		how := Publishing{Frames: 1, Batch: int(min(n, batchLines, max(1, (8<<20)/uint64(size+1))))}
		s := newSender(srv, how, 0, domain, topics, size)
		s.request = newBatch(srv, how, 0, domain, size) // also of one
		s.sent = first
		for each := uint64(how.Batch); n >= each; n, first = n-each, first+each {
			if err := ctx.Err(); err != nil {
				s.close()
				return context.Cause(ctx)
			}
			if err := s.send(ctx, 0); err != nil {
				s.close()
				return fmt.Errorf("publish a batch of %d: %w", each, err)
			}
		}
		s.close()
	}
	return nil
}

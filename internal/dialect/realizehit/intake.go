package realizehit

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"unicode/utf8"

	"crier/internal/dialect/redislink"
	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/message"
)

// Limits of what waits for the log.
const (
	intakeMost  = 50_000
	intakeBytes = 64 << 20
	blockBytes  = 4 << 20
)

// intake appends what came from Redis, in order, in blocks. While the log
// takes nothing it waits; what is then beyond the limits is dropped and
// counted, since Redis keeps nothing either.
type intake struct {
	redis *Redis
	wake  hub.Signal

	mu    sync.Mutex // guards the fields below
	queue []message.Draft
	bytes int
}

func newIntake(r *Redis) *intake { return &intake{redis: r, wake: hub.NewSignal()} }

// put takes a message that was published in Redis. It does not block.
func (in *intake) put(p Pattern, payload []byte) {
	d := message.Draft{Topic: p.Topic(), Data: payload, ContentType: contentType}
	switch {
	case len(payload) > in.redis.cfg.MaxMessage:
		in.redis.cfg.Metrics.Dropped.WithLabelValues(droppedSize).Inc()
		return
	case !utf8.Valid(payload):
		d.ContentType, d.Binary = "application/octet-stream", true
	case !json.Valid(payload):
		d.ContentType = message.DefaultContentType
	}
	in.mu.Lock()
	full := len(in.queue) >= intakeMost || in.bytes+len(payload) > intakeBytes
	if !full {
		in.queue = append(in.queue, d)
		in.bytes += len(payload)
	}
	in.mu.Unlock()
	if full {
		in.redis.cfg.Metrics.Dropped.WithLabelValues(droppedFull).Inc()
		return
	}
	in.wake.Wake()
}

// take gives the next block; none: there is nothing.
func (in *intake) take() []message.Draft {
	in.mu.Lock()
	defer in.mu.Unlock()
	n, bytes := 0, 0
	for n < min(len(in.queue), engine.MaxBlock) && bytes < blockBytes {
		bytes += len(in.queue[n].Data)
		n++
	}
	block := append([]message.Draft(nil), in.queue[:n]...)
	clear(in.queue[:n])
	if in.queue = in.queue[n:]; len(in.queue) == 0 {
		in.queue = nil
	}
	in.bytes -= bytes
	return block
}

func (in *intake) run(ctx context.Context) {
	for {
		block := in.take()
		if len(block) == 0 {
			select {
			case <-in.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		if !in.append(ctx, block) {
			return
		}
	}
}

// append appends a block, however often it has to try.
func (in *intake) append(ctx context.Context, block []message.Draft) bool {
	var wait redislink.Backoff
	for {
		_, err := in.redis.cfg.Domain.Publish(ctx, engine.Block{Drafts: block})
		switch {
		case err == nil:
			in.redis.cfg.Metrics.Taken.Add(float64(len(block)))
			return true
		case ctx.Err() != nil, errors.Is(err, hub.ErrClosed), errors.Is(err, engine.ErrClosed):
			return false
		}
		if wait.First() {
			in.redis.cfg.Logger.Warn("what came from redis is not appended; trying again", "error", err)
		}
		wait.Pause(ctx)
	}
}

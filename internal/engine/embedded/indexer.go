package embedded

import (
	"sync"
	"time"
)

// indexer writes the index files of sealed segments, one at a time, beside
// the traffic. It has one goroutine.
type indexer struct {
	wg   sync.WaitGroup
	stop chan struct{}
	wake chan struct{} // capacity 1

	mu   sync.Mutex
	todo []indexing
}

type indexing struct {
	log *Log
	seg *segment
}

// retryIndex is how long an index that could not be written waits.
const retryIndex = 10 * time.Second

func newIndexer() *indexer {
	x := &indexer{stop: make(chan struct{}), wake: make(chan struct{}, 1)}
	x.wg.Go(x.run)
	return x
}

// add has a segment's index written. How many wait is bounded by how fast
// segments fill up: writing an index is some ten times as fast.
func (x *indexer) add(l *Log, s *segment) {
	x.mu.Lock()
	x.todo = append(x.todo, indexing{l, s})
	x.mu.Unlock()
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// close ends the goroutine. What was not written is made again when the log
// is opened.
func (x *indexer) close() {
	close(x.stop)
	x.wg.Wait()
}

func (x *indexer) run() {
	retry := time.NewTicker(retryIndex)
	defer retry.Stop()
	for {
		select {
		case <-x.stop:
			return
		case <-x.wake:
		case <-retry.C:
		}
		x.mu.Lock()
		todo := x.todo
		x.todo = nil
		x.mu.Unlock()
		for i, t := range todo {
			select {
			case <-x.stop:
				return
			default:
			}
			if !t.log.writeIndex(t.seg) {
				x.mu.Lock()
				x.todo = append(x.todo, todo[i:]...)
				x.mu.Unlock()
				break
			}
		}
	}
}

package embedded_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/engine"
	"crier/internal/message"
)

// Who publishes alone is not made to wait for others, with blocks of many
// messages neither; a crowd is, and ends up with one order.
func TestCommitWaitsForCrowds(t *testing.T) {
	drafts := func(n int) []message.Draft {
		all := make([]message.Draft, n)
		for i := range all {
			all[i] = message.Draft{Topic: "a", Data: []byte("1"), ContentType: message.DefaultContentType}
		}
		return all
	}
	for _, tt := range []struct {
		publishers, blocks, messages int
		waits                        bool
	}{
		{1, 30, 1, false},
		{1, 30, 100, false},
		{2, 30, 1, false},
		{64, 30, 1, true},
	} {
		t.Run(fmt.Sprintf("%d publishers, %d messages a block", tt.publishers, tt.messages), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := open(t, t.TempDir())
				defer e.Close() // within the bubble
				l := openLog(t, e, engine.Fsync)
				synctest.Wait()
				began := time.Now()
				var wg sync.WaitGroup
				for range tt.publishers {
					wg.Go(func() {
						for range tt.blocks {
							if _, err := l.Append(t.Context(), engine.Block{Drafts: drafts(tt.messages)}); err != nil {
								t.Error(err)
							}
						}
					})
				}
				wg.Wait()
				took := time.Since(began) // by the bubble's clock: only waiting counts
				if tt.waits != (took > 0) {
					t.Errorf("waited %v", took)
				}
				state, err := l.State(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if want := uint64(tt.publishers * tt.blocks * tt.messages); state.Head != want {
					t.Errorf("head %d, want %d", state.Head, want)
				}
			})
		})
	}
}

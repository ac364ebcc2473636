package server

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// quietBytes is what may be allocated in a second for it to be quiet.
	quietBytes = 1 << 20
	// quietFor is how many such seconds it takes, and worthwhile how much must
	// have been allocated before them since memory was last given back.
	quietFor   = 2
	worthwhile = 8 << 20
)

// thrift gives memory back that a busy time has left behind: handshakes of
// thousands of connections leave much garbage, and while nothing is allocated
// no collection would find it. It ends with ctx.
func thrift(ctx context.Context) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	allocated := func() uint64 {
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	last := allocated()
	givenBack, quiet := last, 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-second.C:
		}
		now := allocated()
		if quiet++; now-last > quietBytes {
			quiet = 0
		}
		last = now
		if quiet >= quietFor && now-givenBack > worthwhile {
			debug.FreeOSMemory()
			givenBack = allocated()
		}
	}
}

package websocket_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/transport/transporttest"
	"crier/internal/transport/websocket"
	"crier/internal/wire"
)

// trying is a kernel that counts the writes that are tried.
type trying struct {
	wire.Kernel
	writes *atomic.Int64
}

func (k trying) Write(fd int, p []byte) (int, error) {
	k.writes.Add(1)
	return k.Kernel.Write(fd, p)
}

// A peer that takes nothing costs next to nothing until it is given up.
func TestStalledCostsLittle(t *testing.T) {
	for _, protocol := range []string{"", websocket.Protocol} {
		synctest.Test(t, func(t *testing.T) {
			var writes atomic.Int64
			e, err := wire.New(wire.Config{Kernel: func() (wire.Kernel, error) {
				k, err := transporttest.NewKernel()
				return trying{k, &writes}, err
			}})
			if err != nil {
				t.Fatal(err)
			}
			s := newSite(t, websocket.Config{Wire: e})
			p := s.connect("/a", protocol)
			if protocol != "" {
				p.next()
			}
			s.say("a", strings.Repeat("x", 1000))
			synctest.Wait()
			before := writes.Load()
			time.Sleep(4 * time.Minute)
			if n := writes.Load() - before; n > 100 {
				t.Errorf("protocol %q: %d writes were tried in 4 minutes", protocol, n)
			}
			time.Sleep(2 * time.Minute)
			if s.ended("stalled") != 1 {
				t.Errorf("protocol %q: not given up", protocol)
			}
		})
	}
}

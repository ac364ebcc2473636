package wire_test

import (
	"testing"
	"testing/synctest"

	"crier/internal/transport/transporttest"
	"crier/internal/wire"
)

// After a crowd has had its turns, whoever asks for one is given it, and so is
// the next.
func TestTurnAfterACrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, wire.Config{Kernel: transporttest.NewKernel, Loops: 1})
		crowd := make([]*probe, 3000)
		for i := range crowd {
			crowd[i] = newProbe(t)
			adoptInMemory(t, e, crowd[i])
		}
		p := newProbe(t)
		adoptInMemory(t, e, p)
		inTurn(p, func() { // all of them ask while the loop is at work
			for _, one := range crowd {
				one.Schedule()
			}
		})
		for i := range 4 {
			before, _, _ := p.told()
			p.Schedule()
			synctest.Wait()
			if now, _, _ := p.told(); now != before+1 {
				t.Fatalf("asked for a turn for the %d. time after the crowd: got %d", i+1, now-before)
			}
		}
		for _, one := range crowd {
			if turns, _, _ := one.told(); turns != 2 { // the first, and that of the crowd
				t.Fatalf("one of the crowd had %d turns, want 2", turns)
			}
		}
	})
}

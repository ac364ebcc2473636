package bench

import (
	"testing"
	"time"
)

func TestPayload(t *testing.T) {
	for _, size := range []int{MinSize, 200, MaxSize} {
		p := newPayload(0xfedc, size)
		stamp(p, 1<<60+7, 90*time.Second)
		got, ok := readPayload(p)
		if want := (stamped{0xfedc, 1<<60 + 7, 90 * time.Second}); !ok || got != want || len(p) != size {
			t.Errorf("size %d: %+v, %v, %d bytes", size, got, ok, len(p))
		}
		for _, broken := range [][]byte{p[1:], p[:MinSize-1], append([]byte("x"), p[1:]...)} {
			if _, ok := readPayload(broken); ok {
				t.Errorf("%q is read", broken[:min(len(broken), MinSize)])
			}
		}
	}
}

package websocket_test

import (
	"fmt"
	"net"
	"syscall"
	"testing"

	coder "github.com/coder/websocket"
	dto "github.com/prometheus/client_model/go"

	"crier/internal/transport/transporttest"
	"crier/internal/transport/websocket"
	"crier/internal/wire"
)

// refusing is a kernel without descriptors.
type refusing struct{ wire.Kernel }

func (refusing) Adopt(net.Conn) (int, error) {
	return 0, fmt.Errorf("duplicate the descriptor: %w", syscall.EMFILE)
}

// A socket that cannot be taken over is closed, and nothing is left of it: the
// site's cleanup looks.
func TestCutOff(t *testing.T) {
	engine, err := wire.New(wire.Config{Kernel: func() (wire.Kernel, error) {
		k, err := transporttest.NewKernel()
		return refusing{k}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, websocket.Config{Wire: engine})
	srv := s.listen(false)
	for _, protocols := range [][]string{nil, {websocket.Protocol}, nil, {websocket.Protocol}} {
		if c, _, err := coder.Dial(patient(t), srv.URL+"/a", &coder.DialOptions{Subprotocols: protocols}); err == nil {
			_ = c.CloseNow()
			t.Error("it was taken over")
		}
	}
	srv.Close() // no handler begins any more
	s.serving.Wait()
	_ = engine.Close() // waits for what is still being let go of
	if n := s.table.Len(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
	var m dto.Metric
	if err := s.metrics.Refused.WithLabelValues("descriptors").Write(&m); err != nil || m.Counter.GetValue() != 4 {
		t.Errorf("%v counted, %v; want 4", m.Counter.GetValue(), err)
	}
}

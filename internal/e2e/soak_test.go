package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"crier/client"
)

// soaker is a subscriber of two topics, soak/all and one of a group of a
// hundred. The messages of each are numbered: it looks whether one is missing,
// doubled or swapped, however often it was cut off.
type soaker struct {
	soak   *soak
	topics [2]string
	socket bool // a WebSocket, else an event stream

	got    [2]atomic.Int64 // the last number of each topic
	cursor string
	mu     sync.Mutex // guards conn
	conn   net.Conn
}

type soak struct {
	t       *testing.T
	address string
	ended   atomic.Bool
	came    atomic.Int64 // messages
	opened  atomic.Int64 // connections, all that there ever were
	wrong   atomic.Int64
}

func (s *soaker) complain(format string, args ...any) {
	if s.soak.wrong.Add(1) <= 20 {
		s.soak.t.Errorf("%v: %s", s.topics, fmt.Sprintf(format, args...))
	}
}

// run listens until the soak has ended.
func (s *soaker) run() {
	s.cursor = "earliest"
	for !s.soak.ended.Load() {
		conn, err := net.Dial("tcp", s.soak.address)
		if err == nil {
			s.mu.Lock()
			s.conn = conn
			s.mu.Unlock()
			if s.soak.ended.Load() { // cut may have come before there was a connection
				_ = conn.Close()
				return
			}
			err = s.listen(conn)
			_ = conn.Close()
		}
		if gap, ok := err.(*client.Gap); ok {
			s.complain("%v", gap)
			return
		}
		time.Sleep(rand.N(100 * time.Millisecond)) // all come back, but not as one
	}
}

// cut ends the connection, wherever it is.
func (s *soaker) cut(hard bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if tcp, ok := s.conn.(*net.TCPConn); ok {
		if hard {
			_ = tcp.SetLinger(0)
		}
		_ = tcp.Close()
	}
}

func (s *soaker) listen(conn net.Conn) error {
	q := url.Values{"topic": s.topics[:], "since": {s.cursor}}
	head := "Accept: text/event-stream\r\n"
	if s.socket {
		q.Set("envelope", "json")
		head = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	}
	if _, err := fmt.Fprintf(conn, "GET /t/main?%s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n", q.Encode(), head); err != nil {
		return err
	}
	in := bufio.NewReaderSize(conn, 2<<10)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	s.soak.opened.Add(1)
	if s.socket {
		return s.frames(conn, in)
	}
	return s.events(bufio.NewReaderSize(resp.Body, 2<<10))
}

// events reads an event stream, as far as it is of interest.
func (s *soaker) events(in *bufio.Reader) error {
	var id, data, event string
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		line = line[:len(line)-1]
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case name == "id":
			id = value
		case name == "data":
			data = value
		case name == "event":
			event = value
		case line == "":
			if event == "crier-gap" {
				return &client.Gap{Reason: data}
			}
			if data != "" && event == "" {
				s.take(data)
			}
			if id != "" { // what was cut off before the blank line is none
				s.cursor = id
			}
			id, data, event = "", "", ""
		}
	}
}

// frames reads a WebSocket.
func (s *soaker) frames(conn net.Conn, in *bufio.Reader) error {
	for {
		f, err := readFrame(in)
		if err != nil {
			return err
		}
		switch f.Header.OpCode {
		case ws.OpPing:
			if err := ws.WriteFrame(conn, ws.MaskFrame(ws.NewPongFrame(f.Payload))); err != nil {
				return err
			}
		case ws.OpText:
			var m client.Message
			if err := json.Unmarshal(f.Payload, &m); err != nil {
				s.complain("%v in %.100q", err, f.Payload)
				return err
			}
			s.take(string(m.Data))
			s.cursor = m.ID
		case ws.OpClose:
			return io.EOF
		}
	}
}

// take takes "TOPIC NUMBER", perhaps in quotes.
func (s *soaker) take(data string) {
	topic, number, _ := strings.Cut(strings.Trim(data, `"`), " ")
	n, err := strconv.ParseInt(number, 10, 64)
	which := 0
	if topic != s.topics[0] {
		which = 1
	}
	if last := s.got[which].Swap(n); err != nil || topic != s.topics[which] || n != last+1 {
		s.complain("%q came after number %d", data, last)
	}
	s.soak.came.Add(1)
}

// size of a soak: a few seconds and connections, or what CRIER_SOAK and
// CRIER_SOAK_CONNECTIONS say.
func soakSize(t *testing.T) (time.Duration, int) {
	t.Helper()
	length, connections := 4*time.Second, 300
	if given := os.Getenv("CRIER_SOAK"); given != "" {
		var err error
		if length, err = time.ParseDuration(given); err != nil {
			t.Fatalf("CRIER_SOAK: %v", err)
		}
	}
	if given := os.Getenv("CRIER_SOAK_CONNECTIONS"); given != "" {
		var err error
		if connections, err = strconv.Atoi(given); err != nil || connections < 100 {
			t.Fatalf("CRIER_SOAK_CONNECTIONS is a number from 100, got %q", given)
		}
	}
	return length, connections
}

// Many connections with messages, of which some are cut off all the time and
// come back: nothing is lost, and memory, descriptors and goroutines are in
// the end what they were.
func TestSoak(t *testing.T) {
	length, connections := soakSize(t)
	s := startServer(t, "--drain", "0s", "--durability", "async", "--tail-bytes", "4MiB", "--heartbeat", "5s")
	c := s.dial(t)
	publish(t, c, "warm", "up")
	before := s.usage(t)

	k := &soak{t: t, address: hostPort(s.api)}
	groups := max(1, connections/100)
	all := make([]*soaker, connections)
	var running sync.WaitGroup
	began := time.Now()
	for i := range all {
		all[i] = &soaker{soak: k, topics: [2]string{"soak/all", fmt.Sprintf("soak/%d", i%groups)}, socket: i%5 >= 3}
		running.Go(all[i].run)
	}
	stop := sync.OnceFunc(func() {
		k.ended.Store(true)
		for _, one := range all {
			one.cut(false)
		}
		running.Wait()
	})
	defer stop()
	open := func() int {
		return int(s.metric(t, `crier_connections{transport="sse"}`) + s.metric(t, `crier_connections{transport="websocket"}`))
	}
	eventually(t, "all are connected", func() bool { return open() == connections })
	t.Logf("%d connections within %v", connections, time.Since(began).Round(time.Millisecond))

	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	sent := make([]atomic.Int64, groups+1) // the last is soak/all
	say := func(g int) {
		name := fmt.Sprintf("soak/%d", g)
		if g == groups {
			name = "soak/all"
		}
		n := sent[g].Add(1)
		if _, err := c.Publish(t.Context(), client.Draft{Topic: name, Data: fmt.Appendf(nil, "%s %d", name, n), ContentType: "text/plain"}); err != nil {
			t.Errorf("publish: %v", err)
		}
	}
	var work sync.WaitGroup
	every := func(d time.Duration, do func()) {
		work.Go(func() {
			for tick := time.Tick(d); ; do() {
				select {
				case <-ctx.Done():
					return
				case <-tick:
				}
			}
		})
	}
	g := 0
	every(20*time.Millisecond, func() { // 50 a second, to a hundred each
		say(g % groups)
		g++
	})
	every(2*time.Second, func() { say(groups) })
	cuts := 0
	every(time.Second, func() { // one of a hundred
		for range connections / 100 {
			all[rand.N(connections)].cut(cuts%2 == 0)
			cuts++
		}
	})
	pause(ctx, length/2)
	eventually(t, "all are connected in the middle", func() bool { return open() >= connections*95/100 })
	middle := s.usage(t)
	work.Wait()
	for g := range sent {
		say(g)
	}
	for i, one := range all {
		want := [2]int64{sent[groups].Load(), sent[i%groups].Load()}
		eventually(t, fmt.Sprintf("subscriber %d has all, %v", i, want), func() bool {
			return one.got[0].Load() == want[0] && one.got[1].Load() == want[1] || k.wrong.Load() > 0
		})
	}
	if n := k.wrong.Load(); n > 0 {
		t.Fatalf("%d messages were not what they should be", n)
	}
	eventually(t, "all are connected at the end", func() bool { return open() == connections })
	late := s.usage(t)
	stop()
	eventually(t, "nobody is connected", func() bool { return open() == 0 })
	c.CloseIdleConnections()
	var after usage
	eventually(t, "descriptors and goroutines as before, and no more memory", func() bool {
		after = s.usage(t)
		return after.files <= before.files+3 && after.goroutines <= before.goroutines+5 && after.memory <= late.memory+(8<<20)
	})
	t.Logf("%d messages to %d connections, %d cut off; before %v, in the middle %v, at the end %v, after %v",
		k.came.Load(), k.opened.Load(), cuts, before, middle, late, after)
	if late.memory > middle.memory*5/4+(32<<20) {
		t.Errorf("memory grew from %d MiB to %d MiB while as many were connected", middle.memory>>20, late.memory>>20)
	}
	if k.came.Load() == 0 || cuts > 0 && k.opened.Load() <= int64(connections) {
		t.Error("nothing came, or nobody was cut off: nothing was tested")
	}
}

// usage is what the server has of the machine.
type usage struct{ memory, files, goroutines int }

func (u usage) String() string {
	return fmt.Sprintf("%.1f MiB, %d descriptors, %d goroutines", float64(u.memory)/(1<<20), u.files, u.goroutines)
}

func (s *server) usage(t *testing.T) usage {
	return usage{
		int(s.metric(t, "process_resident_memory_bytes")), int(s.metric(t, "process_open_fds")), int(s.metric(t, "go_goroutines")),
	}
}

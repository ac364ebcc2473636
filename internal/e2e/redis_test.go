package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// redisConn is a connection to Redis as bare as it gets: it publishes, or it
// listens.
type redisConn struct {
	nc    net.Conn
	lines *bufio.Reader
}

func talkToRedis(t *testing.T, addr string) *redisConn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &redisConn{nc: nc, lines: bufio.NewReader(nc)}
}

// command sends one.
func (c *redisConn) command(t *testing.T, words ...string) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	if _, err := io.WriteString(c.nc, b.String()); err != nil {
		t.Fatal(err)
	}
}

// line reads one, with what kind of answer it is.
func (c *redisConn) line(t *testing.T) (kind byte, rest string) {
	t.Helper()
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
	line, err := c.lines.ReadString('\n')
	if err != nil {
		t.Fatalf("Redis says nothing: %v", err)
	}
	if line = strings.TrimSuffix(line, "\r\n"); line == "" || line[0] == '-' {
		t.Fatalf("Redis says %q", line)
	}
	return line[0], line[1:]
}

func (c *redisConn) number(t *testing.T, kind byte) int {
	t.Helper()
	got, rest := c.line(t)
	n, err := strconv.Atoi(rest)
	if got != kind || err != nil {
		t.Fatalf("Redis says %c%s, want %c and a number", got, rest, kind)
	}
	return n
}

// publish publishes and gives how many Redis delivered it to.
func (c *redisConn) publish(t *testing.T, channel, text string) int {
	t.Helper()
	c.command(t, "PUBLISH", channel, text)
	return c.number(t, ':')
}

// subscribe subscribes to a channel, and returns once that is in force.
func (c *redisConn) subscribe(t *testing.T, channel string) {
	t.Helper()
	c.command(t, "SUBSCRIBE", channel)
	if kind, name, n := c.push(t); kind != "subscribe" || name != channel || n != "1" {
		t.Fatalf("SUBSCRIBE is answered %s %s %s", kind, name, n)
	}
}

// message gives the next one that is published.
func (c *redisConn) message(t *testing.T) string {
	t.Helper()
	kind, _, text := c.push(t)
	if kind != "message" {
		t.Fatalf("%s comes, want a message", kind)
	}
	return text
}

// push reads the three parts of what comes unasked.
func (c *redisConn) push(t *testing.T) (kind, channel, text string) {
	t.Helper()
	if n := c.number(t, '*'); n != 3 {
		t.Fatalf("%d parts", n)
	}
	kind, channel = c.bulk(t), c.bulk(t)
	if kind == "subscribe" {
		return kind, channel, strconv.Itoa(c.number(t, ':'))
	}
	return kind, channel, c.bulk(t)
}

func (c *redisConn) bulk(t *testing.T) string {
	t.Helper()
	b := make([]byte, c.number(t, '$')+len("\r\n"))
	if _, err := io.ReadFull(c.lines, b); err != nil {
		t.Fatal(err)
	}
	return string(b[:len(b)-len("\r\n")])
}

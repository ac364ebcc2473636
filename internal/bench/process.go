package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// errNoFigures: the system does not tell what a process uses.
var errNoFigures = errors.New("no figures of the process")

// tick is the unit of processor time in /proc: USER_HZ is 100 on every
// architecture that Go runs on.
const tick = 10 * time.Millisecond

// cpuTime gives the processor time that a process has used, user and system:
// to the nanosecond where the system has a clock for it.
func cpuTime(pid int) (time.Duration, error) {
	if d, ok := cpuClock(pid); ok {
		return d, nil
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errNoFigures, err)
	}
	// The name, in brackets, may hold anything: fields are counted after it.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("%w: /proc/%d/stat has too few fields", errNoFigures, pid)
	}
	var ticks uint64
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%w: /proc/%d/stat: %w", errNoFigures, pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// Memory is what a process holds, in bytes.
type Memory struct {
	RSS       int64 `json:"rss"`
	PSS       int64 `json:"pss"`       // pages shared with others count in parts
	Anonymous int64 `json:"anonymous"` // not backed by a file: heap and stacks
}

func memory(pid int) (Memory, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return Memory{}, fmt.Errorf("%w: %w", errNoFigures, err)
	}
	defer f.Close()
	var m Memory
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		into := map[string]*int64{"Rss": &m.RSS, "Pss": &m.PSS, "Anonymous": &m.Anonymous}[name]
		if into == nil {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return Memory{}, fmt.Errorf("%w: smaps_rollup: %w", errNoFigures, err)
		}
		*into = kib << 10
	}
	if err := lines.Err(); err != nil {
		return Memory{}, fmt.Errorf("%w: %w", errNoFigures, err)
	}
	return m, nil
}

// meter takes the processor time of the server and of this process between
// start and stop. Without figures it gives none.
type meter struct {
	pid               int // of the server; 0: unknown
	begun             time.Time
	server, generator time.Duration
	ok, selfOK        bool
}

func startMeter(pid int) *meter {
	m := &meter{pid: pid}
	var err error
	if pid != 0 {
		m.server, err = cpuTime(pid)
		m.ok = err == nil
	}
	m.generator, err = cpuTime(os.Getpid())
	m.selfOK = err == nil
	m.begun = time.Now()
	return m
}

// CPU is processor time while a load ran.
type CPU struct {
	Server     *time.Duration `json:"server_ns,omitempty"`
	PerMessage *time.Duration `json:"server_per_message_ns,omitempty"`
	Generator  *time.Duration `json:"generator_ns,omitempty"`
}

// stop gives the time since start and the processor time; messages is what
// the server's is divided by.
func (m *meter) stop(messages uint64) (time.Duration, CPU) {
	elapsed := time.Since(m.begun)
	var c CPU
	if m.ok {
		if now, err := cpuTime(m.pid); err == nil {
			c.Server = new(now - m.server)
			c.each(messages)
		}
	}
	if m.selfOK {
		if now, err := cpuTime(os.Getpid()); err == nil {
			c.Generator = new(now - m.generator)
		}
	}
	return elapsed, c
}

// each divides the server's processor time.
func (c *CPU) each(messages uint64) {
	if c.Server != nil && messages > 0 {
		c.PerMessage = new(*c.Server / time.Duration(messages))
	}
}

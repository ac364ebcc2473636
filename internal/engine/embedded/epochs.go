package embedded

import (
	"context"
	"crypto/rand"
	"encoding/binary"

	"crier/internal/engine"
	"crier/internal/engine/embedded/record"
	"crier/internal/engine/memory"
	"crier/internal/message"
)

// What is left of a domain's lives that are over — in memory, or dropped — is
// their last epoch: the next one is above it. It is in the control log under
// this prefix and the domain's escaped name.
const lastEpochPrefix = "e-"

func lastEpochName(domain string) string { return lastEpochPrefix + escapeDomain(domain) }

// nextEpoch draws an epoch for a domain, above the given one and those of its
// lives that are over.
func (e *Engine) nextEpoch(domain string, above message.Epoch) message.Epoch {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand.Read)
	began := uint32(max(e.cfg.Now().Unix(), 1))
	past := e.control.get(lastEpochName(domain))
	if floor := max(above.Began, past.Current().Epoch.Began); began <= floor {
		began = floor + 1
	}
	return message.Epoch{Began: began, Rand: binary.LittleEndian.Uint16(b[:])}
}

// noteLastEpoch remembers, on disk, the last epoch of a life that is over or
// leaves nothing else behind.
func (e *Engine) noteLastEpoch(domain string, last message.Epoch) error {
	return e.control.change(lastEpochName(domain), true, func(dst []byte) []byte {
		return record.AppendEpoch(dst, record.EpochStart{Epoch: last, First: 1})
	})
}

// memoryLog is the log of a domain with durability memory.
type memoryLog struct {
	*memory.Log
	engine *Engine
	domain string
}

func (l memoryLog) close() error { return l.Log.Close() }

// BeginEpoch begins a new epoch, and remembers it as openMemory does the first.
func (l memoryLog) BeginEpoch(ctx context.Context) (message.Epoch, error) {
	e, err := l.Log.BeginEpoch(ctx)
	if err != nil {
		return e, err
	}
	if err := l.engine.noteLastEpoch(l.domain, e); err != nil {
		return message.Epoch{}, failed("remember the epoch of domain "+l.domain, err)
	}
	return e, nil
}

// openMemory makes a log in memory. It begins a new epoch, above all that the
// domain ever had; what it has on disk stays there for the day on which the
// domain is opened with another durability.
func (e *Engine) openMemory(domain string) (engine.Log, error) {
	var above message.Epoch
	e.mu.Lock()
	dir, disk := e.dirs[domain], e.replayed[domain]
	delete(e.replayed, domain)
	e.mu.Unlock()
	if disk != nil {
		if err := disk.close(); err != nil {
			return nil, err
		}
		e.journal.forget(disk)
	}
	if dir != "" {
		known := e.control.get(dir)
		above = known.Current().Epoch
	}
	epoch := e.nextEpoch(domain, above)
	if err := e.noteLastEpoch(domain, epoch); err != nil {
		return nil, err
	}
	l := memoryLog{memory.NewLog(memory.LogConfig{Now: e.cfg.Now, MaxKeys: e.cfg.MaxKeys, Epoch: epoch}), e, domain}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.logs[domain] = l
	return l, nil
}

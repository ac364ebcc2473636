// Package notice keeps QRI's notices: texts, each under a type of three
// characters, that every QRI listener is told of for as long as they are set.
//
// A notice is an entry of the registry, so it survives a restart and is known
// to every node. Each change also appends one message to qri-notice/<type> of
// the domain main, which is how listeners hear of it at once. The invariant:
// the last message of a type says what the registry says, unless the server
// died between the two.
package notice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"crier/internal/dialect/name"
	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/message"
)

// Limits of notices.
const (
	TypeLen    = 3         // characters of a type
	MaxMessage = 16 << 10  // bytes of a text
	MaxNotices = 100       // that are set at once
	maxTotal   = 256 << 10 // bytes of all of them: every listener is told every 30 s
)

// Topics has the topics of changes, one for each type.
const Topics = "qri-notice"

const kind = "notice"

// Errors that callers decide on; they wrap what is wrong and the mend.
var (
	ErrInvalid = errors.New("not a valid notice")
	ErrFull    = errors.New("too many notices")
)

// Notice is one that is set.
type Notice struct {
	Type    string    `json:"type"`
	Message string    `json:"message"`
	Set     time.Time `json:"set"`
}

// Text is what listeners are told: the type and the message.
func (n Notice) Text() string { return n.Type + n.Message }

// Topic is where changes of a type are told.
func Topic(typ string) string { return Topics + "/" + name.Segment(typ) }

// CheckType wants three characters that can be printed. The error wraps
// [ErrInvalid].
func CheckType(typ string) error {
	if !utf8.ValidString(typ) || utf8.RuneCountInString(typ) != TypeLen || strings.ContainsFunc(typ, unicode.IsControl) {
		return fmt.Errorf("%w: type is %d characters such as 102, got %.40q", ErrInvalid, TypeLen, typ)
	}
	return nil
}

// Config is what a Board needs; Registry and Domain are required.
type Config struct {
	Registry engine.Registry
	Domain   *hub.Domain      // main
	Now      func() time.Time // nil: time.Now
	Log      *slog.Logger     // nil: none
}

// Board has the notices. Its methods may be called concurrently.
type Board struct {
	cfg     Config
	current atomic.Pointer[[]Notice]

	changing sync.Mutex // held while a notice is changed, or read anew
	rung     chan struct{}
	unwatch  func()
	stop     context.CancelFunc
	running  sync.WaitGroup
}

// probe is how often the registry is looked at without a ring, and lookTimeout
// how long that may take.
const (
	probe       = 5 * time.Second
	lookTimeout = 5 * time.Second
)

// Open reads the notices and follows their changes until Close.
func Open(ctx context.Context, cfg Config) (*Board, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	b := &Board{cfg: cfg, rung: make(chan struct{}, 1)}
	b.current.Store(&[]Notice{})
	if err := b.look(ctx); err != nil {
		return nil, err
	}
	b.unwatch = cfg.Registry.Watch(kind, func() {
		select {
		case b.rung <- struct{}{}:
		default:
		}
	})
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stop = stop
	b.running.Go(func() { b.follow(life) })
	return b, nil
}

// Close stops following.
func (b *Board) Close() {
	b.unwatch()
	b.stop()
	b.running.Wait()
}

// follow reads the notices anew when somebody changed them, and now and then
// because rings may be lost.
func (b *Board) follow(ctx context.Context) {
	tick := time.NewTicker(probe)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.rung:
		case <-tick.C:
		}
		look, cancel := context.WithTimeout(ctx, lookTimeout)
		if err := b.look(look); err != nil && ctx.Err() == nil {
			b.cfg.Log.WarnContext(ctx, "notices not read; those that are known are told on", "error", err)
		}
		cancel()
	}
}

// look reads the notices.
func (b *Board) look(ctx context.Context) error {
	b.changing.Lock()
	defer b.changing.Unlock()
	return b.lookLocked(ctx)
}

func (b *Board) lookLocked(ctx context.Context) error {
	entries, err := b.cfg.Registry.List(ctx, kind, "", 2*MaxNotices)
	if err != nil {
		return fmt.Errorf("read notices: %w", err)
	}
	all := make([]Notice, 0, len(entries))
	for _, e := range entries {
		n, err := decode(e)
		if err != nil {
			return fmt.Errorf("read notices: %w", err)
		}
		all = append(all, n)
	}
	b.current.Store(&all)
	return nil
}

func decode(e engine.Entry) (Notice, error) {
	var n Notice
	if err := json.Unmarshal(e.Value, &n); err != nil {
		return n, fmt.Errorf("notice %q: %w: %w", e.Name, engine.ErrCorrupt, err)
	}
	n.Type = e.Name
	return n, nil
}

// Current gives the notices that are set, in the order of their types, as this
// node knows them. It does not block; nobody changes what it returns.
func (b *Board) Current() []Notice { return *b.current.Load() }

// Get asks for one. [engine.ErrNotFound] if it is not set.
func (b *Board) Get(ctx context.Context, typ string) (Notice, error) {
	if err := CheckType(typ); err != nil {
		return Notice{}, err
	}
	e, err := b.cfg.Registry.Get(ctx, kind, typ)
	if err != nil {
		return Notice{}, fmt.Errorf("notice %q: %w", typ, err)
	}
	return decode(e)
}

// Set sets a notice, or another text for one that is set, and tells every
// listener. It returns once both are durable. After an error it may be set and
// not told; setting it again is right.
func (b *Board) Set(ctx context.Context, typ, text string) (Notice, error) {
	n := Notice{Type: typ, Message: text, Set: b.cfg.Now().UTC().Truncate(time.Second)}
	if err := CheckType(typ); err != nil {
		return n, err
	}
	switch {
	case !utf8.ValidString(text):
		return n, fmt.Errorf("%w: message is not UTF-8", ErrInvalid)
	case len(text) > MaxMessage:
		return n, fmt.Errorf("%w: message is %d bytes long, the limit is %d", ErrInvalid, len(text), MaxMessage)
	}
	b.changing.Lock()
	defer b.changing.Unlock()
	if err := b.lookLocked(ctx); err != nil {
		return n, err
	}
	if err := b.room(n); err != nil {
		return n, err
	}
	value, err := json.Marshal(n)
	if err != nil {
		return n, fmt.Errorf("set notice: %w", err)
	}
	version, err := b.cfg.Registry.Put(ctx, kind, typ, value, engine.AnyVersion, nil)
	if err != nil {
		return n, fmt.Errorf("set notice %q: %w", typ, err)
	}
	return n, b.tell(ctx, typ, version, n.Text())
}

// room sees whether one more notice fits. The caller holds changing.
func (b *Board) room(n Notice) error {
	others := slices.DeleteFunc(slices.Clone(b.Current()), func(o Notice) bool { return o.Type == n.Type })
	total := len(n.Text())
	for _, o := range others {
		total += len(o.Text())
	}
	switch {
	case len(others) >= MaxNotices:
		return fmt.Errorf("%w: %d are set, the limit; delete one first", ErrFull, len(others))
	case total > maxTotal:
		return fmt.Errorf("%w: with it all that are set would be %d bytes, the limit is %d; delete one first", ErrFull, total, maxTotal)
	}
	return nil
}

// Delete takes a notice away and tells every listener, also if it was not set:
// who repeats a call that failed half-way is right.
func (b *Board) Delete(ctx context.Context, typ string) error {
	if err := CheckType(typ); err != nil {
		return err
	}
	b.changing.Lock()
	defer b.changing.Unlock()
	if err := b.cfg.Registry.Delete(ctx, kind, typ, engine.AnyVersion, nil); err != nil && !errors.Is(err, engine.ErrNotFound) {
		return fmt.Errorf("delete notice %q: %w", typ, err)
	}
	return b.tell(ctx, typ, 0, deleted(typ))
}

// deleted is what listeners are told of a notice that is gone.
func deleted(typ string) string { return typ + "delete" }

// tell appends the message of a change that left the entry at a version (0:
// there is none). If another node changed it meanwhile, its message may have
// come before this one: then what holds now is told again. The caller holds
// changing.
func (b *Board) tell(ctx context.Context, typ string, version engine.Version, text string) error {
	for range 10 {
		if err := b.lookLocked(ctx); err != nil {
			return err
		}
		_, err := b.cfg.Domain.Publish(ctx, engine.Block{Drafts: []message.Draft{{
			Topic: Topic(typ), Data: []byte(text), ContentType: message.DefaultContentType,
		}}})
		if err != nil {
			return fmt.Errorf("tell of notice %q: %w", typ, err)
		}
		e, err := b.cfg.Registry.Get(ctx, kind, typ)
		switch {
		case errors.Is(err, engine.ErrNotFound):
			e = engine.Entry{}
		case err != nil:
			return fmt.Errorf("tell of notice %q: %w", typ, err)
		}
		if e.Version == version {
			return nil
		}
		version, text = e.Version, deleted(typ)
		if version != 0 {
			n, err := decode(e)
			if err != nil {
				return err
			}
			text = n.Text()
		}
	}
	return fmt.Errorf("tell of notice %q: %w", typ, engine.ErrConflict)
}

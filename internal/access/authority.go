package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"crier/internal/engine"
)

// Config is what an [Authority] needs. Only Registry must be there.
type Config struct {
	Registry engine.Registry
	Open     bool          // hold the server open, whatever keys there are
	JWT      JWTConfig     // zero: no JWT is taken
	Operator OperatorToken // zero: there is no operator's token
	Origins  Origins
	Proxies  Proxies
	KeyCache int              // keys remembered beside those in use; 0: DefaultKeyCache
	Now      func() time.Time // nil: time.Now
	Log      *slog.Logger     // nil: nothing is logged
}

// How soon the authority hears of what other nodes did.
const (
	probeEvery  = 5 * time.Second        // looks without being rung
	restAfter   = 200 * time.Millisecond // between two looks that were rung for
	lookTimeout = 5 * time.Second
)

// Authority authenticates requests. Its methods may be called concurrently.
type Authority struct {
	cfg       Config
	gate      *gate
	live      *liveKeys
	uses      *usage
	verifier  *verifier // nil: no JWT
	anonymous Identity
	operator  Identity

	rung    chan struct{}
	looking sync.Mutex // held by the one that looks at the registry
	stop    context.CancelFunc
	unwatch []func()
	running sync.WaitGroup
}

// New reads the state of the registry and starts to watch it. A JWT verifier
// closes the server, if it was open. The caller must Close it, before the
// registry.
func New(ctx context.Context, cfg Config) (*Authority, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.KeyCache <= 0 {
		cfg.KeyCache = DefaultKeyCache
	}
	a := &Authority{cfg: cfg, rung: make(chan struct{}, 1)}
	if !cfg.JWT.IsZero() {
		v, err := newVerifier(cfg.JWT, cfg.Now, cfg.Log)
		if err != nil {
			return nil, fmt.Errorf("JWT verifier: %w", err)
		}
		a.verifier = v
		if err := closeForGood(ctx, cfg.Registry, "a JWT verifier was set", cfg.Now().UTC()); err != nil {
			return nil, err
		}
	}
	a.gate = &gate{reg: cfg.Registry, held: cfg.Open, log: cfg.Log}
	a.uses = newUsage(cfg.Registry)
	a.live = newLiveKeys(cfg, a.uses, a.ring)
	a.anonymous = Identity{
		Kind: KindAnonymous, Name: "anonymous", credential: "anonymous", life: &a.gate.anon, now: cfg.Now,
	}
	a.operator = Identity{Kind: KindOperator, Name: "operator", credential: "operator", now: cfg.Now}
	if err := a.gate.look(ctx); err != nil {
		return nil, err
	}
	for _, kind := range []string{kindKey, kindGate} {
		a.unwatch = append(a.unwatch, cfg.Registry.Watch(kind, a.ring))
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.stop = stop
	a.running.Go(func() { a.watch(run) })
	a.running.Go(func() { a.writeUses(run) })
	if a.verifier != nil {
		a.running.Go(func() { a.verifier.run(run) })
	}
	return a, nil
}

// Close stops watching, and writes when keys were last used. Identities stay
// as they are.
func (a *Authority) Close() {
	for _, stop := range a.unwatch {
		stop()
	}
	a.unwatch = nil
	a.stop()
	a.running.Wait()
}

// Open reports whether everybody may publish and subscribe.
func (a *Authority) Open() bool { return a.gate.open() }

// Proxies gives the trusted proxies.
func (a *Authority) Proxies() Proxies { return a.cfg.Proxies }

// Keys makes, lists and revokes keys. What it does has taken effect on this
// node when it returns.
func (a *Authority) Keys() *Keys {
	return &Keys{Registry: a.cfg.Registry, Now: a.cfg.Now, Log: a.cfg.Log, changed: func(ctx context.Context) {
		if err := a.look(ctx); err != nil {
			a.cfg.Log.WarnContext(ctx, "looking at keys failed, trying again soon", "error", err)
			a.ring()
		}
	}}
}

// Authenticate says who a request of the public listener is from. While the
// server is open, requests that may not come in are refused whatever their
// credential. The error is a [*Refusal].
func (a *Authority) Authenticate(r *http.Request) (*Identity, error) {
	id, err := a.authenticate(r)
	if err != nil {
		var refusal *Refusal
		if errors.As(err, &refusal) {
			a.cfg.Log.DebugContext(r.Context(), "request refused", "reason", refusal.Reason,
				"client", a.cfg.Proxies.ClientAddr(r), "cause", refusal.cause)
		}
		return nil, err
	}
	return id, nil
}

func (a *Authority) authenticate(r *http.Request) (*Identity, error) {
	if err := a.Screen(r); err != nil {
		return nil, err
	}
	token, fromURL, err := TokenOf(r)
	if err != nil {
		return nil, err
	}
	if token == "" && a.Open() {
		return &a.anonymous, nil
	}
	return a.AuthenticateToken(r.Context(), token, fromURL)
}

// Screen refuses requests that may not come in while the server is open:
// through a proxy, for a Host or from an Origin that is not of this machine.
// Authenticate does it too; it is for what is answered without that, such as
// preflights. The error is a [*Refusal].
func (a *Authority) Screen(r *http.Request) error {
	if !a.Open() {
		return nil
	}
	return a.screen(r)
}

// AuthenticateToken says whose credential a token is. An empty one is
// refused, also while the server is open. The error is a [*Refusal].
func (a *Authority) AuthenticateToken(ctx context.Context, token string, fromURL bool) (*Identity, error) {
	if token == "" {
		return nil, unauthenticated(NoCredential, "a key or a JWT is needed: send the header Authorization: Bearer, or ?access_token= where headers cannot be set")
	}
	if err := checkToken(token); err != nil {
		return nil, err
	}
	switch {
	case a.cfg.Operator.Is(token):
		if fromURL {
			return nil, forbidden(TokenInURL, "the operator's token is not taken from a URL; send it as the header Authorization: Bearer")
		}
		return &a.operator, nil
	case looksLikeKey(token):
		return a.live.authenticate(ctx, token, fromURL)
	case strings.Count(token, ".") == 2 && a.verifier != nil:
		return a.verifier.authenticate(ctx, token, fromURL)
	}
	return nil, unauthenticated(BadCredential, "the token is neither a key of this server nor a JWT that it takes")
}

// ring has the registry looked at soon.
func (a *Authority) ring() {
	select {
	case a.rung <- struct{}{}:
	default:
	}
}

// watch looks at the registry when it is rung, and every few seconds because
// rings may be lost.
func (a *Authority) watch(ctx context.Context) {
	probe := time.NewTicker(probeEvery)
	defer probe.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.rung:
		case <-probe.C:
		}
		err := a.look(ctx)
		if failed := err != nil && ctx.Err() == nil; failed != failing {
			failing = failed
			if failed {
				a.cfg.Log.WarnContext(ctx, "looking at keys fails; keys that are known go on working", "error", err)
			} else {
				a.cfg.Log.InfoContext(ctx, "looking at keys works again")
			}
		}
		select { // many changes in a row are one look
		case <-ctx.Done():
			return
		case <-time.After(restAfter):
		}
	}
}

func (a *Authority) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	a.looking.Lock()
	defer a.looking.Unlock()
	return errors.Join(a.gate.look(ctx), a.live.refresh(ctx))
}

// writeUses writes the last uses of keys now and then, and what is left at
// the end.
func (a *Authority) writeUses(ctx context.Context) {
	tick := time.NewTicker(useFlush)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		write, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
		if err := a.uses.flush(write); err != nil {
			a.cfg.Log.WarnContext(ctx, "last uses of keys are not written", "error", err)
		}
		cancel()
	}
}

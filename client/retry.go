package client

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

// Retry says how failures that may pass are tried again. Waits double from
// Min to Max with jitter; what a server asks for (Retry-After, an event
// stream's retry) is waited too, up to Max.
type Retry struct {
	Tries int           // of a publish or a page, the first one included; default 6
	Min   time.Duration // default 200 ms
	Max   time.Duration // default 30 s
	// Notify, if set, is told before each wait; not of subscriptions, which
	// have their own.
	Notify func(err error, wait time.Duration)
}

func (r Retry) withDefaults() Retry {
	if r.Tries <= 0 {
		r.Tries = 6
	}
	if r.Min <= 0 {
		r.Min = 200 * time.Millisecond
	}
	if r.Max <= 0 {
		r.Max = 30 * time.Second
	}
	r.Max = max(r.Max, r.Min)
	return r
}

// wait is the pause after the failed-th failure in a row, at least what was
// asked for.
func (r Retry) wait(failed int, asked time.Duration) time.Duration {
	d := r.Max
	if shift := failed - 1; shift < 20 {
		d = min(r.Max, r.Min<<shift)
	}
	d = d/2 + rand.N(d/2+1)
	return min(r.Max, max(d, asked))
}

// do calls try until it succeeds, fails for good, or has been tried often
// enough; it returns the last error.
func (r Retry) do(ctx context.Context, try func() error) error {
	for n := 1; ; n++ {
		err := try()
		if err == nil || ctx.Err() != nil || n >= r.Tries || !mayPass(err) {
			return err
		}
		wait := r.wait(n, asked(err))
		if r.Notify != nil {
			r.Notify(err, wait)
		}
		if sleep(ctx, wait) != nil {
			return err
		}
	}
}

// mayPass reports whether trying again later may help.
func mayPass(err error) bool {
	if _, ok := errors.AsType[final](err); ok {
		return false
	}
	if p, ok := errors.AsType[*Problem](err); ok {
		// 409: an earlier try of the same publish is still under way.
		return p.Temporary() || p.Status == http.StatusConflict
	}
	if errors.Is(err, errProtocol) || errors.Is(err, ErrMessageTooLong) {
		return false
	}
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	return !certificate
}

// asked is the time that the server asked to wait.
func asked(err error) time.Duration {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p.RetryAfter
	}
	return 0
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// final is an error after which trying again is of no use or not safe.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// isDial reports whether no connection was made.
func isDial(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

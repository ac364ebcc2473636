package access

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// How a JWK set is fetched.
const (
	jwksRefresh = 15 * time.Minute // also if every kid is known: keys may have been taken out
	jwksRetry   = 10 * time.Second // after a fetch that failed, and at least between two for unknown kids
	jwksTimeout = 10 * time.Second
	jwksMaxSize = 1 << 20
	jwksHops    = 3 // redirects
)

// jwks is a JWK set by URL. It fetches when it begins to run, every now and
// then, and when a token names a key that it does not know, but seldom. Keys
// that it has stay good while fetching fails.
type jwks struct {
	url    string
	client *http.Client
	now    func() time.Time
	log    *slog.Logger
	asked  chan struct{} // somebody waits for a fetch

	mu      sync.Mutex // guards the fields below
	keys    keySet
	last    time.Time     // when the last fetch ended
	waiting chan struct{} // closed when the fetch that was asked for ends; nil: none was
}

func newJWKS(rawURL string, transport http.RoundTripper, now func() time.Time, log *slog.Logger) (*jwks, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("JWKS URL cannot be read") // the error repeats the URL, which may hold a password
	}
	if err := checkJWKSURL(u); err != nil {
		return nil, fmt.Errorf("JWKS URL %s: %w", u.Redacted(), err)
	}
	waiting := make(chan struct{})
	j := &jwks{url: rawURL, now: now, log: log, asked: make(chan struct{}, 1), waiting: waiting}
	j.asked <- struct{}{} // the first fetch
	j.client = &http.Client{
		Transport: transport,
		Timeout:   jwksTimeout,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > jwksHops {
				return errors.New("too many redirects")
			}
			return checkJWKSURL(r.URL)
		},
	}
	return j, nil
}

// checkJWKSURL lets only URLs through whose answer nobody on the way can
// change.
func checkJWKSURL(u *url.URL) error {
	if u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && isLoopbackHost(u.Hostname())) {
		return nil
	}
	return errors.New("it must be https, or http on this machine")
}

func (j *jwks) run(ctx context.Context) {
	timer := time.NewTimer(jwksRefresh)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.asked:
		case <-timer.C:
		}
		keys, err := j.fetch(ctx)
		next := jwksRefresh
		if err != nil {
			next = jwksRetry
			if ctx.Err() == nil {
				j.log.WarnContext(ctx, "verification keys cannot be fetched; those that are known stay good", "error", err)
			}
		}
		j.mu.Lock()
		if err == nil {
			j.keys = keys
		}
		j.last = j.now()
		if j.waiting != nil {
			close(j.waiting)
			j.waiting = nil
		}
		j.mu.Unlock()
		timer.Reset(next)
	}
}

func (j *jwks) fetch(ctx context.Context) (keySet, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, j.url, nil)
	if err != nil {
		return nil, errors.New("JWKS URL cannot be used")
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := j.client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the URL
		}
		return nil, fmt.Errorf("fetch JWK set: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch JWK set: status %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, jwksMaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("fetch JWK set: %w", err)
	}
	if len(body) > jwksMaxSize {
		return nil, errors.New("fetch JWK set: longer than 1 MiB")
	}
	return parseJWKS(body)
}

// find waits for a fetch if no key fits and one may be made now.
func (j *jwks) find(ctx context.Context, alg, kid string) ([]jwt.VerificationKey, error) {
	j.mu.Lock()
	keys := j.keys.fitting(alg, kid)
	if len(keys) > 0 {
		j.mu.Unlock()
		return keys, nil
	}
	if j.waiting == nil {
		if j.now().Sub(j.last) < jwksRetry {
			defer j.mu.Unlock()
			return nil, j.notFound()
		}
		j.waiting = make(chan struct{})
		select {
		case j.asked <- struct{}{}:
		default: // asked already
		}
	}
	waiting := j.waiting
	j.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, jwksTimeout)
	defer cancel()
	select {
	case <-waiting:
	case <-ctx.Done():
		return nil, unavailable("the keys that JWTs are checked with cannot be fetched now; try again later", ctx.Err())
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if keys := j.keys.fitting(alg, kid); len(keys) > 0 {
		return keys, nil
	}
	return nil, j.notFound()
}

// notFound is called with mu held.
func (j *jwks) notFound() *Refusal {
	if j.keys == nil {
		return unavailable("the keys that JWTs are checked with could not be fetched yet; try again later", nil)
	}
	return noKeyFits()
}

package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"net/url"
	"time"
)

// DefaultIdle is how long a stream may be silent before the client takes its
// connection for dead. Servers say something every 15 seconds.
const DefaultIdle = 45 * time.Second

// ErrExpired: the credential ended, and with it the subscription.
var ErrExpired = errors.New("the credential has expired")

// errStopped: the caller broke out of the loop.
var errStopped = errors.New("stopped")

// SubscribeOptions says what to subscribe to.
type SubscribeOptions struct {
	Domain string   // DefaultDomain if empty
	Topics []string // topics and patterns, up to 64
	// Since is where to begin: after a message's ID, or "earliest", "latest"
	// (the default), "last:N".
	Since string
	// MaxTries bounds the failures in a row after which the loop ends with
	// the last error; 0: it never gives up.
	MaxTries int
	// OnRetry, if set, is told why the stream broke and when it is tried again.
	OnRetry func(err error, wait time.Duration)
	// OnPosition, if set, is told of every cursor after which nothing more
	// is owed: first once the server listens for the subscription, then with
	// each message once the loop's body has returned, and when messages that
	// don't match were passed. It is called from the loop.
	OnPosition func(cursor string)
	// Idle is the longest silence; DefaultIdle if 0.
	Idle time.Duration
}

// Subscribe yields messages as they come, for ever. When the connection
// breaks it goes on after the last one by itself. Errors are of two kinds:
// a [*Gap] says that messages may be missing, and the loop goes on; any other
// error is the last thing yielded: the end of the context, [ErrExpired],
// [ErrMessageTooLong], or a [*Problem] that does not pass, such as 403. Each
// use of the sequence is a subscription of its own.
func (c *Client) Subscribe(ctx context.Context, o SubscribeOptions) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		p, err := at(o.Domain, o.Topics...)
		if err == nil {
			s := &subscription{client: c, options: o, place: p, yield: yield}
			err = s.run(ctx)
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(Message{}, fmt.Errorf("subscribe to %v: %w", p, err))
		}
	}
}

// subscription is one loop over Subscribe.
type subscription struct {
	client  *Client
	options SubscribeOptions
	place   place
	yield   func(Message, error) bool
	cursor  string        // empty until the server has fixed the place
	retry   time.Duration // the pause that the server asks for
	failed  int           // tries in a row that brought nothing
}

// run streams again and again.
func (s *subscription) run(ctx context.Context) error {
	for {
		err := s.stream(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if s.over(err) {
			return err
		}
		s.failed++
		if s.options.MaxTries > 0 && s.failed >= s.options.MaxTries {
			return err
		}
		wait := s.client.retry.wait(s.failed, max(s.retry, asked(err)))
		if s.options.OnRetry != nil {
			s.options.OnRetry(err, wait)
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// over reports whether a stream's end is the subscription's.
func (s *subscription) over(err error) bool {
	if p, ok := errors.AsType[*Problem](err); ok && p.Status >= 500 {
		return false // a proxy's, or the server's bad moment
	}
	return errors.Is(err, errStopped) || errors.Is(err, ErrExpired) || !mayPass(err)
}

// stream connects once and yields until the stream ends; the error says why.
func (s *subscription) stream(ctx context.Context) error {
	idle := s.options.Idle
	if idle <= 0 {
		idle = DefaultIdle
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(idle, func() {
		cancel(fmt.Errorf("the server was silent for %v", idle))
	})
	defer silent.Stop()
	resp, err := s.connect(ctx)
	if err != nil {
		return because(ctx, err)
	}
	defer resp.Body.Close()
	silent.Stop()
	events := newEventReader(&watchedReader{r: resp.Body, timer: silent, idle: idle}, s.client.maxMessage)
	for {
		ev, err := events.next()
		if errors.Is(err, io.EOF) {
			return errors.New("the server ended the stream")
		}
		if err != nil {
			return because(ctx, err)
		}
		if err := s.handle(ev); err != nil {
			return err
		}
	}
}

// because prefers the reason for which a context was cancelled.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// connect asks for the stream after the cursor, or from where the options say.
func (s *subscription) connect(ctx context.Context) (*http.Response, error) {
	query := url.Values{"envelope": {"json"}}
	if s.cursor == "" && s.options.Since != "" {
		query.Set("since", s.options.Since)
	}
	req, err := s.client.request(ctx, http.MethodGet, s.place.url(s.client.base, query), nil)
	if err != nil {
		return nil, final{err}
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Accept-Encoding", "identity") // a compressor may hold events back
	req.Header.Set("Cache-Control", "no-cache")
	if s.cursor != "" {
		req.Header.Set("Last-Event-ID", s.cursor)
	}
	resp, err := s.client.http.Do(req)
	if err != nil {
		return nil, redact(err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, ReadProblem(resp)
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "text/event-stream" {
		resp.Body.Close()
		return nil, fmt.Errorf("%w: asked for text/event-stream, got %q", errProtocol, clip(kind, 80))
	}
	return resp, nil
}

// handle does what an event says; an error ends the stream.
func (s *subscription) handle(ev event) error {
	if ev.retry > 0 {
		s.retry = ev.retry
	}
	if ev.data != nil {
		if err := s.tell(ev); err != nil {
			return err
		}
	}
	if ev.hasID && ev.id != "" {
		s.failed = 0
		s.cursor = ev.id
		if s.options.OnPosition != nil {
			s.options.OnPosition(ev.id)
		}
	}
	return nil
}

// tell hands the event's data to the caller.
func (s *subscription) tell(ev event) error {
	switch {
	case ev.name == "crier-gap":
		gap := new(Gap)
		if err := json.Unmarshal(ev.data, gap); err != nil {
			return fmt.Errorf("%w: gap: %w", errProtocol, err)
		}
		if !s.yield(Message{}, gap) {
			return errStopped
		}
	case ev.name == "crier-expired":
		return ErrExpired
	case ev.name == "crier-restart":
		return errors.New("the server asked to come back later")
	case len(ev.name) > 6 && ev.name[:6] == "crier-":
		// Of a later version; whatever a client must know has a known name.
	default:
		var e envelope
		if err := json.Unmarshal(ev.data, &e); err != nil {
			return fmt.Errorf("%w: message: %w", errProtocol, err)
		}
		m, err := e.message()
		if err != nil {
			return fmt.Errorf("%w: %w", errProtocol, err)
		}
		if !s.yield(m, nil) {
			return errStopped
		}
	}
	return nil
}

// watchedReader runs a timer while a read is under way, and only then: a
// caller may take its time over a message.
type watchedReader struct {
	r     io.Reader
	timer *time.Timer
	idle  time.Duration
}

func (w *watchedReader) Read(p []byte) (int, error) {
	w.timer.Reset(w.idle)
	n, err := w.r.Read(p)
	w.timer.Stop()
	return n, err
}

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultDomain is meant where no domain is given.
const DefaultDomain = "main"

// Limits of what a client reads.
const (
	// DefaultMaxMessage bounds the bytes of one message as it is sent: its
	// envelope as JSON, in which a character may take six bytes.
	DefaultMaxMessage = 8 << 20
	maxReceipts       = 4 << 20
	maxPage           = 64 << 20
	maxProblem        = 64 << 10
)

// answerTimeout bounds one try of a request that is answered at once.
const answerTimeout = time.Minute

// Client talks to the public API of one server. It is made by [New]; its
// methods may be called concurrently.
type Client struct {
	base       string // without a slash at the end
	token      string
	agent      string
	http       *http.Client
	retry      Retry
	maxMessage int
}

// Option changes what [New] makes.
type Option func(*Client)

// WithToken sets the key or JWT that is sent as a bearer token.
func WithToken(token string) Option { return func(c *Client) { c.token = token } }

// WithHTTPClient sets the HTTP client to use, say for a certificate authority
// of one's own. Its Timeout should be 0: it would end subscriptions.
func WithHTTPClient(h *http.Client) Option { return func(c *Client) { c.http = h } }

// WithRetry sets how failures that may pass are tried again; zero fields keep
// the defaults.
func WithRetry(r Retry) Option { return func(c *Client) { c.retry = r.withDefaults() } }

// WithMaxMessage bounds the bytes of one message's envelope instead of
// [DefaultMaxMessage]. A longer one ends the subscription with
// [ErrMessageTooLong].
func WithMaxMessage(n int) Option { return func(c *Client) { c.maxMessage = n } }

// WithUserAgent sets the User-Agent header.
func WithUserAgent(s string) Option { return func(c *Client) { c.agent = s } }

// New makes a client for the server at an address such as
// "https://push.example.com"; a path is kept, for a server behind a proxy.
// It does not connect.
func New(server string, opts ...Option) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil {
		// An address without a scheme cannot be parsed either.
		return nil, fmt.Errorf("server address cannot be read, want http://HOST:PORT or https://HOST:PORT: %w", err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("server address %q: want http://HOST:PORT or https://HOST:PORT", u.Redacted())
	case u.User != nil:
		return nil, errors.New("server address holds a user name or password; credentials go into WithToken")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("server address %q: want no query or fragment", u.Redacted())
	}
	c := &Client{
		base:       strings.TrimRight(u.String(), "/"),
		agent:      "crier-go",
		retry:      Retry{}.withDefaults(),
		maxMessage: DefaultMaxMessage,
	}
	for _, o := range opts {
		o(c)
	}
	if c.http == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = 64
		c.http = &http.Client{Transport: t}
	}
	return c, nil
}

// Server returns the address that the client talks to.
func (c *Client) Server() string { return c.base }

// CloseIdleConnections closes connections that are kept for the next request.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// place is a domain and topics or patterns within it.
type place struct {
	domain string
	topics []string
}

func at(domain string, topics ...string) (place, error) {
	if domain == "" {
		domain = DefaultDomain
	}
	if len(topics) == 0 {
		return place{}, errors.New("no topic given")
	}
	for _, t := range topics {
		if t == "" {
			return place{}, errors.New("topic is empty")
		}
	}
	return place{domain, topics}, nil
}

func (p place) String() string { return p.domain + "/" + strings.Join(p.topics, ", ") }

// url gives the address of the place. One topic goes into the path, several
// into the query.
func (p place) url(base string, query url.Values) string {
	var b strings.Builder
	b.WriteString(base)
	b.WriteString("/t/")
	b.WriteString(url.PathEscape(p.domain))
	if len(p.topics) == 1 {
		for seg := range strings.SplitSeq(p.topics[0], "/") {
			b.WriteByte('/')
			b.WriteString(url.PathEscape(seg))
		}
	} else {
		for _, t := range p.topics {
			query.Add("topic", t)
		}
	}
	if len(query) > 0 {
		b.WriteByte('?')
		b.WriteString(query.Encode())
	}
	return b.String()
}

// request makes a request with the client's credential.
func (c *Client) request(ctx context.Context, method, address string, body io.Reader) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	r.Header.Set("User-Agent", c.agent)
	return r, nil
}

// answer does a request that is answered at once, or after the time for which
// the server was asked to wait, and returns the headers and the body; a status
// that is not 2xx is a *Problem, a body of more than limit bytes an error.
func (c *Client) answer(r *http.Request, wait time.Duration, limit int64) (http.Header, []byte, error) {
	ctx, cancel := context.WithTimeout(r.Context(), answerTimeout+wait)
	defer cancel()
	resp, err := c.http.Do(r.WithContext(ctx))
	if err != nil {
		return nil, nil, redact(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, nil, ReadProblem(resp)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read the answer: %w", err)
	}
	if int64(len(body)) > limit {
		return nil, nil, fmt.Errorf("%w: answer of more than %d bytes", errProtocol, limit)
	}
	return resp.Header, body, nil
}

// redact takes the URL, which may be long, out of what net/http says.
func redact(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

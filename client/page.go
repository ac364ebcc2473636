package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// PageOptions says which page of history to read.
type PageOptions struct {
	Domain string   // DefaultDomain if empty
	Topics []string // topics and patterns, up to 64
	Since  string   // a cursor, "earliest" (the default; with Wait "latest"), "last:N"
	Limit  int      // at most so many messages; the server's default (100) if 0, 1,000 at most
	// Wait is how long the server waits for a first message if there is none;
	// whole seconds, a minute at most.
	Wait time.Duration
}

// Page is a piece of history.
type Page struct {
	Messages []Message
	Next     string // the cursor after which to go on, also when the page is empty
	Gap      *Gap   // set if messages before the first one may be missing
}

// UnmarshalJSON reads a page.
func (p *Page) UnmarshalJSON(b []byte) error {
	var wire struct {
		Messages []envelope
		Next     string
		Gap      *Gap
	}
	if err := json.Unmarshal(b, &wire); err != nil {
		return err
	}
	if wire.Next == "" {
		return errors.New("page without next")
	}
	*p = Page{Messages: make([]Message, len(wire.Messages)), Next: wire.Next, Gap: wire.Gap}
	for i := range wire.Messages {
		var err error
		if p.Messages[i], err = wire.Messages[i].message(); err != nil {
			return err
		}
	}
	return nil
}

// Page reads a page of history. What may pass is tried again as [WithRetry]
// has it.
func (c *Client) Page(ctx context.Context, o PageOptions) (Page, error) {
	p, err := at(o.Domain, o.Topics...)
	if err != nil {
		return Page{}, fmt.Errorf("read history: %w", err)
	}
	query := url.Values{}
	if o.Since != "" {
		query.Set("since", o.Since)
	}
	if o.Limit > 0 {
		query.Set("limit", strconv.Itoa(o.Limit))
	}
	if o.Wait > 0 {
		query.Set("wait", strconv.Itoa(int(math.Ceil(o.Wait.Seconds()))))
	}
	var page Page
	address := p.url(c.base, query)
	err = c.retry.do(ctx, func() error {
		req, err := c.request(ctx, http.MethodGet, address, nil)
		if err != nil {
			return final{err}
		}
		req.Header.Set("Accept", "application/json")
		_, body, err := c.answer(req, o.Wait, maxPage)
		if err != nil {
			return err
		}
		if err := page.UnmarshalJSON(body); err != nil {
			return fmt.Errorf("%w: %w", errProtocol, err)
		}
		return nil
	})
	if err != nil {
		return Page{}, fmt.Errorf("read history of %v: %w", p, err)
	}
	return page, nil
}

// History yields the messages from Since up to the newest one at the time of
// the call, reading page after page. As with [Client.Subscribe], a [*Gap] does
// not end the loop and any other error does. Wait is ignored.
func (c *Client) History(ctx context.Context, o PageOptions) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		o.Wait = 0
		if o.Limit == 0 {
			o.Limit = 1000
		}
		bounds, err := c.Bounds(ctx, o.Domain, o.Topics...)
		if err != nil {
			yield(Message{}, err)
			return
		}
		for {
			page, err := c.Page(ctx, o)
			if err != nil {
				yield(Message{}, err)
				return
			}
			if page.Gap != nil && !yield(Message{}, page.Gap) {
				return
			}
			for _, m := range page.Messages {
				if m.ID > bounds.Latest || !yield(m, nil) { // ids of a domain sort by age
					return
				}
			}
			if page.Next >= bounds.Latest || page.Next == o.Since {
				return
			}
			o.Since = page.Next
		}
	}
}

// Bounds says how far history reaches.
type Bounds struct {
	Latest   string // the cursor of the domain's newest message
	Earliest string // the cursor after which the topics' history is complete
}

// Bounds asks how far the history of topics reaches.
func (c *Client) Bounds(ctx context.Context, domain string, topics ...string) (Bounds, error) {
	p, err := at(domain, topics...)
	if err != nil {
		return Bounds{}, fmt.Errorf("ask for bounds: %w", err)
	}
	var b Bounds
	address := p.url(c.base, url.Values{})
	err = c.retry.do(ctx, func() error {
		req, err := c.request(ctx, http.MethodHead, address, nil)
		if err != nil {
			return final{err}
		}
		h, _, err := c.answer(req, 0, 0)
		if err != nil {
			return err
		}
		b = Bounds{Latest: h.Get("Crier-Latest"), Earliest: h.Get("Crier-Earliest")}
		if b.Latest == "" {
			return fmt.Errorf("%w: no Crier-Latest", errProtocol)
		}
		return nil
	})
	if err != nil {
		return Bounds{}, fmt.Errorf("ask for the bounds of %v: %w", p, err)
	}
	return b, nil
}

// Forget deletes the history of one topic; the credential needs the grant
// "manage" on it.
func (c *Client) Forget(ctx context.Context, domain, topic string) error {
	p, err := at(domain, topic)
	if err != nil {
		return fmt.Errorf("delete history: %w", err)
	}
	err = c.retry.do(ctx, func() error {
		req, err := c.request(ctx, http.MethodDelete, p.url(c.base, url.Values{}), nil)
		if err != nil {
			return final{err}
		}
		_, _, err = c.answer(req, 0, maxProblem)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete the history of %v: %w", p, err)
	}
	return nil
}

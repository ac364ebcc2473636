package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"crier/client"
)

const (
	probeTimeout  = 5 * time.Second
	manageTimeout = time.Minute
	maxAnswer     = 16 << 20
)

// remote is a server's operator listener.
type remote struct {
	base  string
	addr  string // to see whether somebody is there
	flags *manageFlags
	token string
	http  *http.Client
}

func newRemote(u *url.URL, f *manageFlags) *remote {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return &remote{
		base: strings.TrimRight(u.String(), "/"), addr: net.JoinHostPort(u.Hostname(), port), flags: f,
		http: &http.Client{Timeout: manageTimeout},
	}
}

// probe sees whether somebody listens.
func (r *remote) probe(ctx context.Context) error {
	d := net.Dialer{Timeout: probeTimeout}
	conn, err := d.DialContext(ctx, "tcp", r.addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (r *remote) findToken() (err error) {
	if r.token, err = r.flags.token(); err != nil {
		return err
	}
	if r.token == "" {
		return fmt.Errorf("a server answers at %s, but there is no token for it: give --admin-token, or with --data-dir the directory of that server", r.base)
	}
	return nil
}

// call does a request; body and answer may be nil.
func (r *remote) call(ctx context.Context, method, path string, query url.Values, body, answer any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	address := r.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, address, in)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return unanswered{err}
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return client.ReadProblem(resp)
	}
	if answer == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("the answer of %s is not what a Crier server sends: %w", r.base, err)
	}
	return nil
}

// pages reads a list to its end; one reads a page and gives where the next one
// begins.
func pages(query url.Values, one func(url.Values) (next string, err error)) error {
	query.Set("limit", "1000")
	for {
		next, err := one(query)
		if err != nil || next == "" {
			return err
		}
		if next == query.Get("after") {
			return errors.New("the server's list does not end")
		}
		query.Set("after", next)
	}
}

func (r *remote) createKey(ctx context.Context, k keyRequest) (info keyInfo, err error) {
	err = r.call(ctx, http.MethodPost, "/v1/keys", nil, k, &info)
	return info, err
}

func (r *remote) keys(ctx context.Context, domain string) (all []keyInfo, err error) {
	query := url.Values{}
	if domain != "" {
		query.Set("domain", domain)
	}
	err = pages(query, func(q url.Values) (string, error) {
		var page struct {
			Keys []keyInfo
			Next string
		}
		err := r.call(ctx, http.MethodGet, "/v1/keys", q, nil, &page)
		all = append(all, page.Keys...)
		return page.Next, err
	})
	return all, err
}

func (r *remote) revokeKey(ctx context.Context, id string) (info keyInfo, err error) {
	err = r.call(ctx, http.MethodDelete, "/v1/keys/"+url.PathEscape(id), nil, nil, &info)
	return info, err
}

func (r *remote) createDomain(ctx context.Context, name string, s settingsChange) (info domainInfo, err error) {
	body := settingsChange{"name": name}
	for k, v := range s {
		if v != nil { // a new domain has the defaults
			body[k] = v
		}
	}
	err = r.call(ctx, http.MethodPost, "/v1/domains", nil, body, &info)
	return info, err
}

func (r *remote) domains(ctx context.Context) (all []domainInfo, err error) {
	err = pages(url.Values{}, func(q url.Values) (string, error) {
		var page struct {
			Domains []domainInfo
			Next    string
		}
		err := r.call(ctx, http.MethodGet, "/v1/domains", q, nil, &page)
		all = append(all, page.Domains...)
		return page.Next, err
	})
	return all, err
}

func domainPath(name string) string { return "/v1/domains/" + url.PathEscape(name) }

func (r *remote) setDomain(ctx context.Context, name string, s settingsChange) (info domainInfo, err error) {
	err = r.call(ctx, http.MethodPatch, domainPath(name), nil, s, &info)
	return info, err
}

func (r *remote) deleteDomain(ctx context.Context, name string) error {
	return r.call(ctx, http.MethodDelete, domainPath(name), nil, nil, nil)
}

func (r *remote) newEpoch(ctx context.Context, name string) (info epochInfo, err error) {
	err = r.call(ctx, http.MethodPost, domainPath(name)+"/epoch", nil, nil, &info)
	return info, err
}

func (r *remote) Close() error {
	r.http.CloseIdleConnections()
	return nil
}

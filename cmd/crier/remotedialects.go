package main

import (
	"context"
	"net/http"
	"net/url"
)

// What of a server's operator listener is about dialects.

const (
	pubsubKeysPath = "/v1/wspubsub/keys"
	noticesPath    = "/v1/notices"
)

func (r *remote) createPubSubKey(ctx context.Context, domain, name string) (info pubsubKeyInfo, err error) {
	body := struct {
		Domain string `json:"domain"`
		Name   string `json:"name,omitempty"`
	}{domain, name}
	err = r.call(ctx, http.MethodPost, pubsubKeysPath, nil, body, &info)
	return info, err
}

func (r *remote) pubsubKeys(ctx context.Context, domain string) (all []pubsubKeyInfo, err error) {
	query := url.Values{}
	if domain != "" {
		query.Set("domain", domain)
	}
	err = pages(query, func(q url.Values) (string, error) {
		var page struct {
			Keys []pubsubKeyInfo
			Next string
		}
		err := r.call(ctx, http.MethodGet, pubsubKeysPath, q, nil, &page)
		all = append(all, page.Keys...)
		return page.Next, err
	})
	return all, err
}

func (r *remote) revokePubSubKey(ctx context.Context, id string) (info pubsubKeyInfo, err error) {
	err = r.call(ctx, http.MethodDelete, pubsubKeysPath+"/"+url.PathEscape(id), nil, nil, &info)
	return info, err
}

func noticePath(typ string) string { return noticesPath + "/" + url.PathEscape(typ) }

func (r *remote) setNotice(ctx context.Context, typ, text string) (info noticeInfo, err error) {
	body := struct {
		Message string `json:"message"`
	}{text}
	err = r.call(ctx, http.MethodPut, noticePath(typ), nil, body, &info)
	return info, err
}

func (r *remote) notice(ctx context.Context, typ string) (info noticeInfo, err error) {
	err = r.call(ctx, http.MethodGet, noticePath(typ), nil, nil, &info)
	return info, err
}

func (r *remote) notices(ctx context.Context) (all []noticeInfo, err error) {
	err = pages(url.Values{}, func(q url.Values) (string, error) {
		var page struct {
			Notices []noticeInfo
			Next    string
		}
		err := r.call(ctx, http.MethodGet, noticesPath, q, nil, &page)
		all = append(all, page.Notices...)
		return page.Next, err
	})
	return all, err
}

func (r *remote) deleteNotice(ctx context.Context, typ string) error {
	return r.call(ctx, http.MethodDelete, noticePath(typ), nil, nil, nil)
}

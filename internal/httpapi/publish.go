package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"unicode/utf8"

	"crier/internal/access"
	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/problem"
	"crier/internal/topic"
)

// Limits of a batch.
const (
	maxBatchLines = engine.MaxBlock
	maxBatchBytes = 8 << 20
)

// post is POST /t/{domain}/{topic}.
func (a *API) post(w http.ResponseWriter, r *http.Request, t target, who *access.Identity) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	batch := query.Has("batch")
	var receipt engine.Receipt
	p := badQuery(err)
	if p == nil {
		receipt, p = a.postBody(w, r, t, who, batch)
	}
	if p != nil {
		if p.Status == http.StatusRequestTimeout {
			w.Header().Set("Connection", "close") // the rest of the body may never come
		} else {
			a.discard(w, r)
		}
		a.refuse(w, r, p)
		return
	}
	if !batch && a.adopt(w, r, t, who, receipt) {
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h["Location"] = []string{location(t, receipt)}
	var answer []byte
	if batch {
		answer = appendReceipts(nil, t.name, receipt)
	} else {
		answer = appendReceipt(make([]byte, 0, 160+len(t.name)), t.name, receipt, 0)
	}
	answer = append(answer, '\n')
	h["Content-Length"] = []string{strconv.Itoa(len(answer))}
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(answer)
}

// postBody reads, checks and publishes what a POST holds.
func (a *API) postBody(w http.ResponseWriter, r *http.Request, t target, who *access.Identity, batch bool) (engine.Receipt, *problem.Problem) {
	var none engine.Receipt
	d, p := a.publishable(t, who)
	if p != nil {
		return none, p
	}
	draft, key, err := draftOf(r.Header, t.name)
	if err != nil {
		return none, badRequest(err)
	}
	limit, mend := a.Limits.Message, "publish less at once, or have the operator raise --max-message"
	if batch {
		limit, mend = maxBatchBytes, "send the batch in parts"
		if base, _, err := mime.ParseMediaType(draft.ContentType); err != nil || base != "application/x-ndjson" {
			return none, problem.UnsupportedMedia("a batch has Content-Type application/x-ndjson: one JSON message in each line").On("Content-Type")
		}
	}
	body, err := a.readBody(w, r, limit)
	switch {
	case errors.Is(err, errTooBig):
		return none, problem.TooLarge(fmt.Sprintf("the body is over the limit of %d bytes; %s", limit, mend))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return none, problem.Timeout(fmt.Sprintf("the body did not come within %v and a second for each %d KiB of it; nothing was published", a.Limits.BodyTime, bodyPace>>10))
	case err != nil:
		return none, problem.BadRequest("the body could not be read: " + err.Error())
	}
	var drafts []message.Draft
	if batch {
		if drafts, p = splitBatch(draft, body, a.Limits.Message); p != nil {
			return none, p
		}
	} else {
		draft.Data = body
		draft.Binary = isBinary(draft.ContentType, body)
		drafts = []message.Draft{draft}
	}
	return a.publish(r.Context(), d, who, drafts, key, body)
}

// publishable finds the domain that a topic of which who may publish is in.
func (a *API) publishable(t target, who *access.Identity) (*hub.Domain, *problem.Problem) {
	if err := topic.Check(t.name); err != nil {
		return nil, problem.BadRequest(err.Error())
	}
	if err := who.May(access.Publish, t.domain, topic.Exactly(t.name)); err != nil {
		return nil, a.denied(err)
	}
	d, err := a.Hub.Domain(t.domain)
	if err != nil {
		return nil, a.failed(err)
	}
	return d, nil
}

// publish appends checked drafts of one topic for an identity that may.
func (a *API) publish(ctx context.Context, d *hub.Domain, who *access.Identity, drafts []message.Draft, key string, body []byte) (engine.Receipt, *problem.Problem) {
	if ok, wait := a.Rate.Take(who.Credential(), len(drafts)); !ok {
		a.Metrics.Refused.WithLabelValues("rate").Inc()
		return engine.Receipt{}, problem.TooMany(fmt.Sprintf("this credential is over the limit of %.4g publishes a second (--publish-rate); come back after Retry-After", a.Rate.Rate()), wait)
	}
	b := engine.Block{Drafts: drafts}
	if key != "" {
		b.Key = keyOf(who, drafts, key, body)
	}
	receipt, err := d.Publish(ctx, b)
	if err != nil {
		return receipt, a.failed(err)
	}
	return receipt, nil
}

// keyOf makes the engine's key of a client's: the same for one credential,
// topic and key (each log has its own), with a fingerprint of all that the
// client sent.
func keyOf(who *access.Identity, drafts []message.Draft, key string, body []byte) engine.Key {
	var k engine.Key
	first := &drafts[0]
	name := sha256.New()
	for _, s := range []string{who.Credential(), first.Topic, key} {
		fmt.Fprintf(name, "%d:%s,", len(s), s)
	}
	copy(k.Hash[:], name.Sum(nil))
	print := sha256.New()
	fmt.Fprintf(print, "%d %q %q %d %t,", len(drafts), first.ContentType, first.Type, first.TTL, first.Binary)
	print.Write(body)
	copy(k.Body[:], print.Sum(nil))
	return k
}

// draftOf reads what the headers of a publish say.
func draftOf(h http.Header, topicName string) (message.Draft, string, error) {
	d := message.Draft{Topic: topicName, Type: h.Get("Crier-Type")}
	var err error
	if d.ContentType, err = checkContentType(h.Get("Content-Type")); err != nil {
		return d, "", err
	}
	if err := checkType(d.Type); err != nil {
		return d, "", err
	}
	if d.TTL, err = parseTTL(h.Get("Crier-TTL")); err != nil {
		return d, "", err
	}
	key := h.Get("Idempotency-Key")
	return d, key, checkKey(key)
}

// splitBatch makes a draft of each line that is not blank.
func splitBatch(like message.Draft, body []byte, limit int64) ([]message.Draft, *problem.Problem) {
	like.ContentType = "application/json"
	var drafts []message.Draft
	n := 0
	for line := range bytes.Lines(body) {
		n++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		switch {
		case len(drafts) == maxBatchLines:
			return nil, problem.TooLarge(fmt.Sprintf("the batch has more than %d messages; send it in parts", maxBatchLines))
		case int64(len(line)) > limit:
			return nil, problem.TooLarge(fmt.Sprintf("line %d is over the limit of %d bytes (--max-message); nothing of the batch was published", n, limit))
		case !utf8.Valid(line) || !json.Valid(line): // JSON, of which the latter wants only the form, is UTF-8
			return nil, problem.BadRequest(fmt.Sprintf("line %d is not JSON; nothing of the batch was published", n))
		}
		d := like
		d.Data = bytes.Clone(line)
		drafts = append(drafts, d)
	}
	if len(drafts) == 0 {
		return nil, problem.BadRequest("the batch has no message: each line that is not blank is one, as JSON")
	}
	return drafts, nil
}

// location is the page on which the first message of a receipt is.
func location(t target, r engine.Receipt) string { return string(appendLocation(nil, t, r)) }

func appendLocation(dst []byte, t target, r engine.Receipt) []byte {
	before := r.First
	before.Seq--
	dst = appendTopicPath(dst, t.domain, t.name)
	dst = append(dst, "?since="...)
	dst = before.Append(dst)
	return append(dst, "&limit=1"...)
}

func appendReceipts(dst []byte, name string, r engine.Receipt) []byte {
	dst = append(dst, `{"messages":[`...)
	for i := range r.N {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendReceipt(dst, name, r, i)
	}
	return append(dst, "]}"...)
}

// appendReceipt writes what a publisher is told of one message.
func appendReceipt(dst []byte, name string, r engine.Receipt, i int) []byte {
	dst = append(dst, `{"id":"`...)
	dst = r.ID(i).Append(dst)
	dst = append(dst, `","topic":`...)
	dst = appendJSONString(dst, name)
	dst = append(dst, `,"time":"`...)
	dst = message.AppendTime(dst, r.Time)
	dst = append(dst, `","durability":"`...)
	dst = append(dst, r.Durability...)
	return append(dst, `"}`...)
}

// appendJSONString quotes a topic, which is UTF-8 without control characters.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

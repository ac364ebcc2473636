package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// heads gives the cursor of each domain's newest message.
func heads(ctx context.Context, srv *server, domains []string) (map[string]string, error) {
	marks := make(map[string]string, len(domains))
	for _, d := range domains {
		mark, err := head(ctx, srv, d)
		if err != nil {
			return nil, fmt.Errorf("ask domain %s for its head: %w", d, err)
		}
		marks[d] = mark
	}
	return marks, nil
}

func head(ctx context.Context, srv *server, domain string) (string, error) {
	conn, err := srv.dial(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, "http://"+srv.host+"/t/"+domain+"/"+topicPrefix+"**", nil)
	if err != nil {
		return "", err
	}
	if srv.token != "" {
		req.Header.Set("Authorization", "Bearer "+srv.token)
	}
	if err := req.Write(conn); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNoContent {
		return "", &statusError{resp.StatusCode, ""}
	}
	latest := resp.Header.Get("Crier-Latest")
	if latest == "" {
		return "", fmt.Errorf("%w: no Crier-Latest", errAnswer)
	}
	return latest, nil
}

// readBack reads what senders published after the marks and counts what of
// it is lost, doubled or swapped.
func readBack(ctx context.Context, srv *server, senders []*sender, marks map[string]string) (n uint64, f Faults, err error) {
	bySender := make([]tracker, len(senders))
	for domain, mark := range marks {
		err := readDomain(ctx, srv, domain, mark, func(s stamped) error {
			if int(s.sender) >= len(senders) || senders[s.sender].domain != domain {
				return fmt.Errorf("%w: a message of sender %d in domain %s", errAnswer, s.sender, domain)
			}
			bySender[s.sender].see(s.number)
			n++
			return nil
		})
		if err != nil {
			return n, f, fmt.Errorf("domain %s: %w", domain, err)
		}
	}
	for i, s := range senders {
		f.add(&bySender[i], s.sent, s.failed)
	}
	return n, f, nil
}

// readDomain reads a domain's messages after a cursor up to its head.
func readDomain(ctx context.Context, srv *server, domain, since string, fn func(stamped) error) error {
	m := newMember(srv, NDJSON, "/t/"+domain+"/"+topicPrefix+"**", url.Values{"since": {since}, "until": {"latest"}})
	m.take = func(payload []byte) error {
		s, ok := readPayload(payload)
		if !ok {
			return errForeign(payload)
		}
		return fn(s)
	}
	c, err := gather(ctx, srv, []*member{m}, gathering{})
	if err != nil {
		return err
	}
	defer c.close()
	select {
	case <-c.ended:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if errors.Is(m.err, io.EOF) {
		return nil
	}
	return m.err
}

func errForeign(payload []byte) error {
	return fmt.Errorf("%w: a message that is not of this load: %.60q", errAnswer, payload)
}

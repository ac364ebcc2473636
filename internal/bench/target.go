package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Target is the server that is measured. [Start] makes one of its own; for
// one that is there already the fields are set by hand.
type Target struct {
	URL   string // of the public API
	Token string // that may publish and subscribe; empty: the server is open
	PID   int    // of the server, on this machine; 0: its figures are left out

	// Admin and AdminToken are needed for more than one domain, which are
	// made through them.
	Admin      string
	AdminToken string

	child *child
	limit *limitProcess // it is the limit, see [StartLimit]
}

// Own reports whether the server was started by [Start].
func (t *Target) Own() bool { return t.child != nil }

// Close stops a server that was started and removes its data.
func (t *Target) Close() error {
	switch {
	case t.limit != nil:
		return t.limit.close()
	case t.child != nil:
		return t.child.close()
	}
	return nil
}

// Config says how to start a server.
type Config struct {
	Executable string   // the crier binary
	Durability string   // fsync, async or memory
	Args       []string // more flags for crier serve
}

// Start starts a server of its own on free ports of this machine, with a data
// directory of its own, and waits until it is ready. The context bounds the
// start, not the server's life.
func Start(ctx context.Context, cfg Config) (*Target, error) {
	dir, err := os.MkdirTemp("", "crier-bench-")
	if err != nil {
		return nil, fmt.Errorf("start a server: %w", err)
	}
	c := &child{cfg: cfg, dir: dir}
	t := &Target{child: c}
	if err := t.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start a server: %w", err), c.close())
	}
	return t, nil
}

func (t *Target) start(ctx context.Context) error {
	if err := t.child.start(ctx); err != nil {
		return err
	}
	t.URL, t.Admin, t.PID = t.child.api, t.child.admin, t.child.cmd.Process.Pid
	token, err := os.ReadFile(filepath.Join(t.child.dir, "admin-token"))
	if err != nil {
		return fmt.Errorf("operator's token: %w", err)
	}
	t.AdminToken = strings.TrimSpace(string(token))
	return nil
}

// renew starts the process again, so that nothing is left of what it did.
func (t *Target) renew(ctx context.Context) error {
	if t.limit != nil {
		return t.restartLimit(ctx)
	}
	return t.restart(ctx, false)
}

// restart stops the server and starts it again over the same data, which are
// taken out of the page cache if cold is set.
func (t *Target) restart(ctx context.Context, cold bool) error {
	if err := t.child.stop(); err != nil {
		return fmt.Errorf("stop the server: %w", err)
	}
	if cold {
		if err := dropCache(t.child.dir); err != nil {
			return fmt.Errorf("drop the page cache: %w", err)
		}
	}
	if err := t.start(ctx); err != nil {
		return fmt.Errorf("start the server again: %w", err)
	}
	return nil
}

// domains makes n domains and gives their names; one is the given name, which
// must be there.
func (t *Target) domains(ctx context.Context, base string, n int) ([]string, error) {
	if n <= 1 {
		return []string{base}, nil
	}
	if t.Admin == "" || t.AdminToken == "" {
		return nil, errors.New("several domains are made through the operator's listener: give its address and token (--admin, --admin-token)")
	}
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s-bench-%d", base, i+1)
		if err := t.createDomain(ctx, names[i]); err != nil {
			return nil, fmt.Errorf("create domain %s: %w", names[i], err)
		}
	}
	return names, nil
}

func (t *Target) createDomain(ctx context.Context, name string) error {
	body, err := json.Marshal(map[string]string{"name": name})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(t.Admin, "/")+"/v1/domains", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+t.AdminToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusCreated, http.StatusOK, http.StatusConflict: // there from a run before
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 512)) // what came is better than nothing
	return &statusError{resp.StatusCode, string(text)}
}

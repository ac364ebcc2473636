package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"strings"
	"time"

	"crier/internal/access"
	"crier/internal/dialect/pushcart/account"
	"crier/internal/engine/embedded"
)

// manageFlags are those of commands that manage.
type manageFlags struct {
	Admin      string `help:"Address of the operator's listener. While no server answers there, the data directory itself is worked on." default:"http://127.0.0.1:8081" placeholder:"URL" env:"CRIER_ADMIN" group:"Server"`
	AdminToken string `help:"The operator's token, or a key that grants manage; else the file admin-token in the data directory." placeholder:"TOKEN" env:"CRIER_ADMIN_TOKEN" group:"Server"`
	DataDir    string `help:"Data directory of the server." default:"./crier-data" type:"path" env:"CRIER_DATA_DIR" group:"Server"`
	JSON       bool   `name:"json" help:"Print JSON."`
}

// The answers of the management API, as far as commands show them. Answers are
// printed as they came with --json.
type (
	keyInfo struct {
		ID        string    `json:"id"`
		Name      string    `json:"name,omitempty"`
		Domain    string    `json:"domain"`
		State     string    `json:"state"`
		Publish   []string  `json:"publish,omitempty"`
		Subscribe []string  `json:"subscribe,omitempty"`
		Manage    []string  `json:"manage,omitempty"`
		Created   time.Time `json:"created"`
		Expires   time.Time `json:"expires,omitzero"`
		Revoked   time.Time `json:"revoked,omitzero"`
		LastUsed  time.Time `json:"lastUsed,omitzero"`
		Secret    string    `json:"secret,omitempty"`
	}
	domainInfo struct {
		Name           string       `json:"name"`
		Durability     string       `json:"durability,omitempty"`
		RetentionAge   string       `json:"retentionAge,omitempty"`
		RetentionBytes int64        `json:"retentionBytes,omitempty"`
		Own            *ownSettings `json:"own,omitempty"`
		Head           string       `json:"head,omitempty"`
		Earliest       string       `json:"earliest,omitempty"`
		Messages       *int64       `json:"messages,omitempty"`
		Bytes          *int64       `json:"bytes,omitempty"`
		Subscriptions  *int         `json:"subscriptions,omitempty"`
	}
	ownSettings struct {
		Durability     string `json:"durability,omitempty"`
		RetentionAge   string `json:"retentionAge,omitempty"`
		RetentionBytes int64  `json:"retentionBytes,omitempty"`
	}
	pubsubKeyInfo struct {
		ID      string    `json:"id"`
		Domain  string    `json:"domain"`
		Name    string    `json:"name,omitempty"`
		State   string    `json:"state"`
		Created time.Time `json:"created"`
		Revoked time.Time `json:"revoked,omitzero"`
		Secret  string    `json:"secret,omitempty"`
	}
	noticeInfo struct {
		Type    string    `json:"type"`
		Message string    `json:"message"`
		Set     time.Time `json:"set"`
	}
	accountInfo struct {
		ID      string          `json:"id"`
		Name    string          `json:"name,omitempty"` // of an app
		Type    string          `json:"type,omitempty"` // of a client
		Info    json.RawMessage `json:"info,omitempty"`
		State   string          `json:"state"`
		Created time.Time       `json:"created"`
		Rotated time.Time       `json:"rotated,omitzero"`
		Revoked time.Time       `json:"revoked,omitzero"`
		Token   string          `json:"token,omitempty"`
	}
	epochInfo struct {
		Epoch string `json:"epoch"`
		Head  string `json:"head,omitempty"`
	}
)

// keyRequest asks for a key.
type keyRequest struct {
	Name      string   `json:"name,omitempty"`
	Domain    string   `json:"domain,omitempty"`
	Publish   []string `json:"publish,omitempty"`
	Subscribe []string `json:"subscribe,omitempty"`
	Manage    bool     `json:"manage,omitempty"`
	Expires   string   `json:"expires,omitempty"` // a time, or how long from now
}

// accountRequest asks for an app or a client of Pushcart.
type accountRequest struct {
	Name string          `json:"name,omitempty"`
	Type string          `json:"type,omitempty"`
	Info json.RawMessage `json:"info,omitempty"`
}

// settingsChange is what is set for a domain: members that are left out stay,
// null takes the server's default.
type settingsChange map[string]any

// manager is who does what the management commands ask for: a server that
// runs, or nobody but ourselves.
type manager interface {
	createKey(ctx context.Context, r keyRequest) (keyInfo, error)
	keys(ctx context.Context, domain string) ([]keyInfo, error)
	revokeKey(ctx context.Context, id string) (keyInfo, error)
	createDomain(ctx context.Context, name string, s settingsChange) (domainInfo, error)
	domains(ctx context.Context) ([]domainInfo, error)
	setDomain(ctx context.Context, name string, s settingsChange) (domainInfo, error)
	deleteDomain(ctx context.Context, name string) error
	newEpoch(ctx context.Context, name string) (epochInfo, error)
	createPubSubKey(ctx context.Context, domain, name string) (pubsubKeyInfo, error)
	pubsubKeys(ctx context.Context, domain string) ([]pubsubKeyInfo, error)
	revokePubSubKey(ctx context.Context, id string) (pubsubKeyInfo, error)
	setNotice(ctx context.Context, typ, text string) (noticeInfo, error)
	notice(ctx context.Context, typ string) (noticeInfo, error)
	notices(ctx context.Context) ([]noticeInfo, error)
	deleteNotice(ctx context.Context, typ string) error
	createAccount(ctx context.Context, k account.Kind, r accountRequest) (accountInfo, error)
	accounts(ctx context.Context, k account.Kind) ([]accountInfo, error)
	revokeAccount(ctx context.Context, k account.Kind, id string) (accountInfo, error)
	rotateAccount(ctx context.Context, k account.Kind, id string) (accountInfo, error)
	Close() error
}

// manage finds who manages, and calls fn. makes says whether fn makes
// something, so that a data directory that is not there yet is made.
func (f *manageFlags) manage(ctx context.Context, std *streams, makes bool, fn func(manager) error) error {
	m, err := f.manager(ctx, std, makes)
	if err != nil {
		return err
	}
	return errors.Join(fn(m), m.Close())
}

func (f *manageFlags) manager(ctx context.Context, std *streams, makes bool) (manager, error) {
	u, err := url.Parse(f.Admin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, usagef("--admin %q: want http://HOST:PORT", f.Admin)
	}
	remote := newRemote(u, f)
	nobody := remote.probe(ctx)
	if nobody == nil {
		return remote, remote.findToken()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if !loopback(u.Hostname()) {
		return nil, unanswered{fmt.Errorf("reach the operator's listener at %s: %w", f.Admin, nobody)}
	}
	local, err := openLocal(ctx, f.DataDir, makes)
	switch {
	case errors.Is(err, embedded.ErrLocked):
		return nil, unanswered{fmt.Errorf("no server answers at %s, but one runs: %w", f.Admin, err)}
	case errors.Is(err, fs.ErrNotExist):
		return nil, unanswered{fmt.Errorf("no server answers at %s, and there is no data directory %s", f.Admin, f.DataDir)}
	case err != nil:
		return nil, err
	}
	std.note("no server answers at %s: working on %s itself", f.Admin, f.DataDir)
	return local, nil
}

// loopback reports whether a host is this machine, so that its data directory
// may be at hand.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// token gives what to send, and "" if there is none.
func (f *manageFlags) token() (string, error) {
	if f.AdminToken != "" {
		return strings.TrimSpace(f.AdminToken), nil
	}
	token, err := access.ReadOperatorToken(f.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return token, err
}

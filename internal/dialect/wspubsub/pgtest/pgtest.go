// Package pgtest gives tests a real PostgreSQL with the ancestor's table of
// keys, and a way to take it away. It is for tests only.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// usual is where a PostgreSQL is, unless CRIER_POSTGRES says otherwise.
const usual = "postgres://postgres@127.0.0.1:5432/postgres"

// table is the ancestor's, as it wrote it.
const table = `
create sequence apikeys_id_seq;
create table "apikeys" (
  "id" integer not null default nextval('apikeys_id_seq'::regclass),
  "domain" varchar(64) not null,
  "username" varchar(254) not null,
  "apikey" varchar(36) not null,
  "insert_ts" timestamp not null default now(),
  "active" boolean not null default false,
  primary key ("id")
);
create unique index apikeys_domain on apikeys (domain);
create unique index apikeys_apikey on apikeys (apikey);`

// Database is a database of its own, dropped with the test.
type Database struct {
	URL   string // through a proxy that Away takes away
	conn  *pgx.Conn
	proxy *proxy
}

// New makes a database with the table, or skips the test if there is no
// PostgreSQL and this is not where one has to be.
func New(t *testing.T) *Database {
	t.Helper()
	ctx := context.Background()
	base := server(t)
	admin, err := pgx.Connect(ctx, base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close(ctx) })
	name := fmt.Sprintf("crier_test_%d_%d", os.Getpid(), time.Now().UnixNano())
	if _, err := admin.Exec(ctx, "create database "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.Exec(ctx, "drop database if exists "+name+" with (force)"); err != nil {
			t.Errorf("drop database: %v", err)
		}
	})
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	d := &Database{}
	if d.conn, err = pgx.Connect(ctx, u.String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.conn.Close(ctx) })
	if _, err := d.conn.Exec(ctx, table); err != nil {
		t.Fatal(err)
	}
	d.proxy = newProxy(t, u.Host)
	u.Host = d.proxy.listener.Addr().String()
	d.URL = u.String()
	return d
}

// Exec changes the table; it goes by the proxy.
func (d *Database) Exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := d.conn.Exec(context.Background(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// Add puts a key in.
func (d *Database) Add(t *testing.T, domain, key string, active bool) {
	t.Helper()
	d.Exec(t, "insert into apikeys (domain, username, apikey, active) values ($1, 'hello@example.com', $2, $3)", domain, key, active)
}

// Definition tells how the table is made, to see that nobody altered it.
func (d *Database) Definition(t *testing.T) string {
	t.Helper()
	rows, err := d.conn.Query(context.Background(), `select column_name || ' ' || data_type || ' ' || coalesce(column_default, '') || ' ' || is_nullable
		from information_schema.columns where table_name = 'apikeys' order by ordinal_position`)
	if err != nil {
		t.Fatal(err)
	}
	columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(columns, "\n")
}

// Away closes every connection through the proxy and takes no more, or lets
// them in again.
func (d *Database) Away(away bool) { d.proxy.set(away) }

// server finds a PostgreSQL: the one that is named, one at the usual address,
// or one that is installed, which is started.
func server(t *testing.T) string {
	t.Helper()
	if named := os.Getenv("CRIER_POSTGRES"); named != "" {
		return named
	}
	if answers(usual) {
		return usual
	}
	if at := start(t); at != "" {
		return at
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("there is no PostgreSQL: none answers at 127.0.0.1:5432, and none is installed")
	}
	t.Skip("there is no PostgreSQL: none answers at 127.0.0.1:5432, none is installed, and CRIER_POSTGRES names none")
	return ""
}

func answers(at string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, at)
	if err != nil {
		return false
	}
	_ = conn.Close(ctx)
	return true
}

// start runs an installed PostgreSQL for the time of the test; "": there is
// none.
func start(t *testing.T) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if path, err := exec.LookPath("initdb"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		return ""
	}
	bin := filepath.Dir(found[len(found)-1])
	dir, err := os.MkdirTemp("", "crier-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	as := asOwner(t, dir) // PostgreSQL does not run as root
	if out, err := as(exec.Command(filepath.Join(bin, "initdb"), "-D", dir+"/data", "-U", "postgres", "-A", "trust", "-N")).CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	cmd := as(exec.Command(filepath.Join(bin, "postgres"), "-D", dir+"/data", "-k", dir, "-p", fmt.Sprint(port), "-F"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	at := fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres", port)
	for began := time.Now(); !answers(at); time.Sleep(100 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatal("PostgreSQL did not start")
		}
	}
	return at
}

// proxy stands between, so that a database can be away.
type proxy struct {
	listener net.Listener
	to       string
	running  sync.WaitGroup

	mu    sync.Mutex // guards the fields below
	away  bool
	conns map[net.Conn]struct{}
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, to: to, conns: map[net.Conn]struct{}{}}
	p.running.Go(p.serve)
	t.Cleanup(func() {
		_ = l.Close()
		p.set(true)
		p.running.Wait()
	})
	return p
}

func (p *proxy) serve() {
	for {
		c, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		up, err := net.Dial("tcp", p.to)
		if err != nil || !p.enter(c, up) {
			_ = c.Close()
			if up != nil {
				_ = up.Close()
			}
			continue
		}
		for _, pair := range [][2]net.Conn{{c, up}, {up, c}} {
			p.running.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].Close()
				_ = pair[1].Close()
			})
		}
	}
}

func (p *proxy) enter(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away {
		return false
	}
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
	return true
}

func (p *proxy) set(away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = away
	if away {
		for c := range p.conns {
			_ = c.Close()
		}
		clear(p.conns)
	}
}

// Package mongotest gives tests a real MongoDB: the one that is named, one at
// the usual address, or a FerretDB that is built and started. It is for tests
// only.
package mongotest

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// usual is where a MongoDB is, unless CRIER_MONGODB says otherwise.
const usual = "mongodb://127.0.0.1:27017"

// Server is a MongoDB.
type Server struct {
	URL string // without a database

	ferret string // the program, if it was started here
	dir    string
	addr   string
	cmd    *exec.Cmd
	stdin  io.Closer
}

// Shared is a MongoDB that tests of a package share, each in a database of its
// own. It is looked for when the first one asks, and has to be stopped after
// all, by TestMain.
type Shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Find gives the MongoDB, or skips the test if there is none and this is not
// where one has to be.
func (s *Shared) Find(t testing.TB) *Server {
	t.Helper()
	s.once.Do(func() { s.server, s.err = find() })
	needed(t, s.err)
	return s.server
}

// Stop ends what was started.
func (s *Shared) Stop() {
	if s.server != nil {
		s.server.remove()
	}
}

// Ferret starts a FerretDB for a test, which can be killed and started again.
func Ferret(t testing.TB) *Server {
	t.Helper()
	s, err := newFerret()
	needed(t, err)
	t.Cleanup(s.remove)
	return s
}

// needed ends a test that has no database.
func needed(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("no MongoDB answers at 127.0.0.1:27017, CRIER_MONGODB names none, and no FerretDB can be started: %v", err)
	default:
		t.Skipf("no MongoDB answers at 127.0.0.1:27017, CRIER_MONGODB names none, and no FerretDB can be started: %v", err)
	}
}

// find finds a MongoDB, or starts a FerretDB.
func find() (*Server, error) {
	if named := os.Getenv("CRIER_MONGODB"); named != "" {
		return &Server{URL: strings.TrimSuffix(named, "/")}, nil
	}
	if answers(usual) {
		return &Server{URL: usual}, nil
	}
	return newFerret()
}

// newFerret starts a FerretDB in a directory of its own.
func newFerret() (*Server, error) {
	program, err := build()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "crier-ferret-")
	if err != nil {
		return nil, err
	}
	s := &Server{ferret: program, dir: dir, addr: "127.0.0.1:0"}
	if err := s.start(); err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

// remove ends what was started, and deletes what it wrote.
func (s *Server) remove() {
	s.Kill()
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// Start starts a FerretDB again that was killed, where it was.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) start() error {
	cmd := exec.Command(s.ferret, "--dir", s.dir, "--listen", s.addr, "--attached")
	cmd.Dir = s.dir
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		return fmt.Errorf("FerretDB did not start: %w\n%s", err, errs.String())
	}
	s.cmd, s.stdin = cmd, in
	s.URL = strings.TrimSuffix(strings.TrimSpace(line), "/")
	s.addr = strings.TrimPrefix(s.URL, "mongodb://")
	if _, _, err := net.SplitHostPort(s.addr); err != nil {
		s.Kill()
		return fmt.Errorf("FerretDB says that it is at %q", line)
	}
	return nil
}

// Kill kills a FerretDB that was started here.
func (s *Server) Kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		_ = s.stdin.Close()
		s.cmd = nil
	}
}

var databases atomic.Int64

// Database gives the URL of a database of its own, dropped with the test.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("crier_test_%d_%d_%d", os.Getpid(), time.Now().Unix()%1_000_000, databases.Add(1))
	t.Cleanup(func() {
		client, err := mongo.Connect(options.Client().ApplyURI(s.URL).SetServerSelectionTimeout(5 * time.Second))
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = client.Database(name).Drop(ctx) // it may be away by now
		_ = client.Disconnect(ctx)
	})
	return s.URL + "/" + name
}

func answers(at string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	client, err := mongo.Connect(options.Client().ApplyURI(at).SetServerSelectionTimeout(time.Second))
	if err != nil {
		return false
	}
	defer func() { _ = client.Disconnect(ctx) }()
	return client.Database("admin").RunCommand(ctx, bson.D{{Key: "ping", Value: 1}}).Err() == nil
}

// build makes the program, unless it was made before out of the same.
func build() (string, error) {
	_, here, _, _ := runtime.Caller(0)
	module := filepath.Join(filepath.Dir(filepath.Dir(here)), "ferret")
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version())
	for _, pattern := range []string{"go.*", "*.go"} {
		files, _ := filepath.Glob(filepath.Join(module, pattern))
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				return "", err
			}
			h.Write(b)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "crier-test")
	program := filepath.Join(cache, "ferret-"+hex.EncodeToString(h.Sum(nil)[:8]))
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	part := fmt.Sprintf("%s.%d", program, os.Getpid())
	cmd := exec.Command("go", "build", "-C", module, "-o", part, ".")
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		first, _, _ := strings.Cut(string(out), "\n")
		return "", fmt.Errorf("%w: %s", err, first)
	}
	return program, os.Rename(part, program)
}

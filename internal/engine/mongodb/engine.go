// Package mongodb is an engine in a MongoDB 5 or later, or in a FerretDB, for
// one Crier or several at once.
//
// Whatever happens to a domain is a document in a row of consecutive numbers,
// the domain's chain: a block of messages, a new epoch, a trim, a delete. Who
// inserts the next number first has it, and the others read on and try again:
// that one insert is the commit, so that nothing needs a transaction, and
// nothing leaves a hole. Each node replays the chain into a replica without
// the messages' data (memory.Log), which answers every question as the engine
// in memory does; data are read from the blocks. The registry is a chain too.
//
// A checkpoint is a document that says what the documents before it came to,
// so that those that hold no messages any more can be deleted.
package mongodb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"

	"crier/internal/engine"
	"crier/internal/topic"
)

// defaultDatabase is where everything is if the URL names no database.
const defaultDatabase = "crier"

// Config is what an engine needs; all but URL may be left out.
type Config struct {
	URL string // such as mongodb://127.0.0.1:27017/crier
	// Durability is what the operator vouches that the server keeps; "": what
	// it is documented to keep.
	Durability engine.Durability
	Now        func() time.Time
	Logger     *slog.Logger
	Run        func() string // names the server's run in tests
}

// Engine is a database. Its methods may be called concurrently.
type Engine struct {
	cfg      Config
	db       *mongo.Database
	info     serverInfo
	claims   []engine.Durability
	registry *Registry
	writer   bson.ObjectID // of this engine

	life    context.Context // ends with Close
	end     context.CancelFunc
	tasks   sync.WaitGroup
	cuts    atomic.Int64 // how often the connection was lost
	polling atomic.Int64 // logs that somebody listens to

	gate      sync.RWMutex
	abandoned bool

	mu     sync.Mutex // guards the fields below
	closed bool
	logs   map[string]*opening
}

// opening is a log that is open or being opened.
type opening struct {
	done chan struct{}
	log  *Log
	err  error
}

var _ engine.Engine = (*Engine)(nil)

// Open connects to a server, which must answer, and reads the registry.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cs, err := connstring.ParseAndValidate(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("MongoDB's URL: %w", hideURL(err, cfg.URL))
	}
	name := cs.Database
	if name == "" {
		name = defaultDatabase
	}
	e := &Engine{cfg: cfg, logs: map[string]*opening{}, writer: bson.NewObjectID()}
	e.life, e.end = context.WithCancel(context.Background())
	o := options.Client().ApplyURI(cfg.URL).SetRetryWrites(false).SetAppName("crier")
	if cs.ServerSelectionTimeout == 0 {
		o.SetServerSelectionTimeout(2 * time.Second) // who publishes while it is away is told so soon
	}
	o.SetPoolMonitor(&event.PoolMonitor{Event: func(v *event.PoolEvent) {
		if v.Type == event.ConnectionPoolCleared {
			e.cuts.Add(1)
		}
	}})
	client, err := mongo.Connect(o)
	if err != nil {
		return nil, fmt.Errorf("connect to MongoDB: %w", hideURL(err, cfg.URL))
	}
	e.db = client.Database(name)
	if err := e.start(ctx); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// hideURL keeps a URL, in which there may be a password, out of an error.
func hideURL(err error, url string) error {
	return errors.New(strings.ReplaceAll(err.Error(), url, "…"))
}

func (e *Engine) start(ctx context.Context) error {
	info, err := e.ask(ctx)
	if err != nil {
		return err
	}
	e.info, e.claims = info, claims(info, e.cfg.Durability)
	if info.replicated {
		e.db = e.db.Client().Database(e.db.Name(), options.Database().SetReadConcern(readconcern.Majority()))
	}
	if info.ferret && e.cfg.Durability == "" {
		e.logger().Warn("the MongoDB is a FerretDB, which does not say how durable it is: domains claim durability memory, although messages are kept; if you know better, say so with --mongodb-durability")
	}
	e.registry, err = openRegistry(ctx, e)
	return err
}

// now is the engine's clock, in whole microseconds.
func (e *Engine) now() time.Time { return e.cfg.Now().UTC().Truncate(time.Microsecond) }

// Log opens the log of a domain, or makes it.
func (e *Engine) Log(ctx context.Context, domain string, d engine.Durability) (engine.Log, error) {
	if err := topic.CheckDomain(domain); err != nil {
		return nil, err
	}
	for {
		e.mu.Lock()
		if e.closed {
			e.mu.Unlock()
			return nil, engine.ErrClosed
		}
		if err := e.checkDurability(d); err != nil {
			e.mu.Unlock()
			return nil, fmt.Errorf("log of domain %s: %w", domain, err)
		}
		o := e.logs[domain]
		mine := o == nil
		if mine {
			o = &opening{done: make(chan struct{})}
			e.logs[domain] = o
		}
		e.mu.Unlock()
		if mine {
			o.log, o.err = openLog(ctx, e, domain, d)
			if o.err != nil {
				e.forget(domain, o)
			}
			close(o.done)
		}
		select {
		case <-o.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("log of domain %s: %w", domain, ctx.Err())
		}
		switch {
		case o.err != nil && mine:
			return nil, fmt.Errorf("log of domain %s: %w", domain, o.err)
		case o.err != nil: // of another's context, perhaps
			continue
		case o.log.isDropped():
			e.forget(domain, o)
			_ = o.log.close()
			continue
		}
		return o.log, nil
	}
}

func (e *Engine) forget(domain string, o *opening) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.logs[domain] == o {
		delete(e.logs, domain)
	}
}

// Drop deletes a domain's log, or returns [engine.ErrNotFound].
func (e *Engine) Drop(ctx context.Context, domain string) error {
	e.mu.Lock()
	o, closed := e.logs[domain], e.closed
	e.mu.Unlock()
	if closed {
		return engine.ErrClosed
	}
	c := newChain(e, "messages", domain)
	if o == nil {
		newest, err := c.newest(ctx)
		if err != nil {
			return fmt.Errorf("drop domain %s: %w", domain, err)
		}
		var d document
		found, err := c.get(ctx, newest, &d, lean)
		if err != nil {
			return fmt.Errorf("drop domain %s: %w", domain, err)
		}
		if !found || d.Kind == kindDropped {
			return fmt.Errorf("drop domain %s: %w", domain, engine.ErrNotFound)
		}
	}
	l, err := e.Log(ctx, domain, e.Strongest())
	if err != nil {
		return fmt.Errorf("drop domain %s: %w", domain, err)
	}
	if err := l.(*Log).drop(ctx); err != nil {
		return fmt.Errorf("drop domain %s: %w", domain, err)
	}
	e.mu.Lock()
	if o := e.logs[domain]; o != nil && o.log == l {
		delete(e.logs, domain)
	}
	e.mu.Unlock()
	return l.(*Log).close()
}

// Registry returns the engine's registry.
func (e *Engine) Registry() engine.Registry { return e.registry }

// Ping asks whether the server answers.
func (e *Engine) Ping(ctx context.Context) error {
	e.mu.Lock()
	closed := e.closed
	e.mu.Unlock()
	if closed {
		return engine.ErrClosed
	}
	return e.call(ctx, func(ctx context.Context) error {
		return e.db.RunCommand(ctx, bson.D{{Key: "ping", Value: 1}}).Err()
	})
}

// Close ends all calls and waits for them.
func (e *Engine) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	logs := e.logs
	e.logs = nil
	e.mu.Unlock()
	e.end()
	for _, o := range logs {
		<-o.done
		if o.log != nil {
			_ = o.log.close()
		}
	}
	if e.registry != nil {
		e.registry.close()
	}
	e.tasks.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	if err := e.db.Client().Disconnect(ctx); err != nil {
		return fmt.Errorf("disconnect from MongoDB: %w", err)
	}
	return nil
}

// join gives a context that ends with the caller's and with the engine.
func (e *Engine) join(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(e.life, cancel)
	return ctx, func() { stop(); cancel() }
}

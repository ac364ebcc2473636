package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"crier/internal/engine"
	"crier/internal/engine/embedded/registry"
	"crier/internal/seglog"
	"crier/internal/topic"
)

// domainsDir has a directory for each domain, see newDirName.
const domainsDir = "domains"

// Engine is an open data directory. Its methods may be called concurrently.
type Engine struct {
	cfg      Config
	lock     *os.File
	ownFS    *seglog.Dir // closed with the engine; nil if the FS was given
	fs       seglog.FS
	registry *registry.Registry
	control  *controlLog
	journal  *journal
	commit   *committer
	syncer   *syncer
	indexer  *indexer
	strings  *interner
	requests sync.Pool // of *request

	opening sync.Mutex // one log is opened, or dropped, at a time
	pinging sync.Mutex

	mu       sync.Mutex // guards the fields below
	closed   bool
	dirs     map[string]string // of the domains that have one
	logs     map[string]logCloser
	replayed map[string]*Log // opened by the journal, for whoever asks for them first
}

// logCloser is a log, on disk or in memory.
type logCloser interface {
	engine.Log
	close() error
}

var _ engine.Engine = (*Engine)(nil)

// Open opens a data directory, or makes it. It returns [ErrLocked] while
// another process has it. What a crash left behind is put in order first.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	cfg = cfg.withDefaults()
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		cfg: cfg, lock: lock, fs: cfg.FS, strings: newInterner(),
		dirs: map[string]string{}, logs: map[string]logCloser{}, replayed: map[string]*Log{},
	}
	e.requests.New = func() any { return &request{done: make(chan struct{}, 1)} }
	if err := e.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open data directory %s: %w", cfg.Dir, err), e.Close())
	}
	return e, nil
}

func (e *Engine) open(ctx context.Context) (err error) {
	if e.fs == nil {
		if e.ownFS, err = seglog.OpenDir(e.cfg.Dir); err != nil {
			return err
		}
		e.fs = e.ownFS
	}
	if e.registry, err = registry.Open(filepath.Join(e.cfg.Dir, "registry.db"), registry.Config{Now: e.cfg.Now}); err != nil {
		return err
	}
	if err := e.fs.MkdirAll(domainsDir); err != nil {
		return err
	}
	if e.control, err = openControl(e.fs, e.cfg.Logger); err != nil {
		return err
	}
	if err := e.findDirs(); err != nil {
		return err
	}
	e.indexer = newIndexer()
	if e.journal, err = openJournal(e); err != nil {
		return err
	}
	if err := e.journal.replay(ctx); err != nil {
		return err
	}
	e.journal.start()
	e.syncer = newSyncer(e)
	e.commit = newCommitter(e)
	return nil
}

// findDirs lists the domains, after it ended what a crash left of a Drop.
func (e *Engine) findDirs() error {
	for _, dir := range e.control.dropped() {
		e.destroy(dir)
	}
	names, err := e.fs.ReadDir(domainsDir)
	if err != nil {
		return err
	}
	for _, name := range names {
		domain, ok := domainOf(name)
		switch {
		case e.control.get(name).Dropped: // could not be removed
		case !ok || topic.CheckDomain(domain) != nil:
			e.cfg.Logger.Warn("a name in the data directory that is none of ours", "name", domainsDir+"/"+name)
		case e.dirs[domain] != "":
			// Made twice: a crash came between the directory and the answer.
			// The one that the control log knows is good.
			if len(e.control.get(e.dirs[domain]).Epochs) == 0 {
				e.dirs[domain] = name
			}
		default:
			e.dirs[domain] = name
		}
	}
	return nil
}

// Registry holds the small facts.
func (e *Engine) Registry() engine.Registry { return e.registry }

// Log opens the log of a domain, or makes it.
func (e *Engine) Log(ctx context.Context, domain string, d engine.Durability) (engine.Log, error) {
	if err := topic.CheckDomain(domain); err != nil {
		return nil, err
	}
	if _, err := engine.ParseDurability(string(d)); err != nil {
		return nil, fmt.Errorf("log of domain %s: %w: %w", domain, engine.ErrDurability, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("log of domain %s: %w", domain, err)
	}
	e.opening.Lock()
	defer e.opening.Unlock()
	l, dir, err := e.find(domain)
	if err != nil || l != nil {
		return l, err
	}
	if d == engine.Memory {
		l, err = e.openMemory(domain)
	} else {
		l, err = e.openLog(domain, dir, d == engine.Fsync)
	}
	if err != nil {
		return nil, failed("log of domain "+domain, err)
	}
	return l, nil
}

// find gives the log of a domain if it is open, else its directory, "" if it
// has none.
func (e *Engine) find(domain string) (l engine.Log, dir string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, "", engine.ErrClosed
	}
	if l, ok := e.logs[domain]; ok {
		return l, "", nil
	}
	return nil, e.dirs[domain], nil
}

// openLog opens a log that is not open. The caller holds opening.
func (e *Engine) openLog(domain, dir string, fsync bool) (engine.Log, error) {
	l := e.replayed[domain]
	switch {
	case l != nil:
		l.fsync.Store(fsync)
	case dir == "":
		dir = newDirName(domain)
		if err := e.fs.MkdirAll(domainsDir + "/" + dir); err != nil {
			return nil, err
		}
		fallthrough
	default:
		var err error
		if l, err = e.openSeg(domain, dir, fsync); err != nil {
			return nil, err
		}
		err = e.journal.makeUp(l)
		if err == nil {
			err = l.load(l.seg.Recovery().Clean)
		}
		if err != nil {
			return nil, errors.Join(err, l.seg.Close())
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.replayed, domain)
	e.dirs[domain], e.logs[domain] = dir, l
	return l, nil
}

// Close commits what waits, syncs and closes everything.
func (e *Engine) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	e.mu.Unlock()
	e.opening.Lock() // whoever opens a log is done
	defer e.opening.Unlock()

	if e.commit != nil {
		e.commit.close()
	}
	if e.syncer != nil {
		e.syncer.close()
	}
	if e.indexer != nil {
		e.indexer.close()
	}
	var errs []error
	for _, l := range e.logs {
		errs = append(errs, l.close())
	}
	for _, l := range e.replayed {
		errs = append(errs, l.close())
	}
	clean := errors.Join(errs...) == nil
	if e.journal != nil {
		errs = append(errs, e.journal.close(clean))
	}
	if e.control != nil {
		errs = append(errs, e.control.close())
	}
	if e.registry != nil {
		errs = append(errs, e.registry.Close())
	}
	if e.ownFS != nil {
		errs = append(errs, e.ownFS.Close())
	}
	errs = append(errs, e.lock.Close())
	return errors.Join(errs...)
}

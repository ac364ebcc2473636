package wire

import "sync"

// task is work for a socket that may block.
type task struct {
	socket *Socket
	work   func(w *Worker) (again bool)
}

// pool does work away from the loops, first come first served. It has a
// goroutine for each task that is under way, up to a limit, and none while
// there is nothing to do. There are never more tasks than sockets.
type pool struct {
	engine *Engine
	most   int
	wg     sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	tasks  []task
	busy   int
	closed bool
}

func newPool(e *Engine, most int) *pool { return &pool{engine: e, most: most} }

func (p *pool) submit(t task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return // the socket is about to be closed
	}
	p.tasks = append(p.tasks, t)
	if p.busy < p.most {
		p.busy++
		p.wg.Go(p.work)
	}
}

// take returns the next task.
func (p *pool) take() (t task, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.tasks) == 0 || p.closed {
		p.busy--
		return t, false
	}
	t = p.tasks[0]
	p.tasks[0] = task{}
	if p.tasks = p.tasks[1:]; len(p.tasks) == 0 {
		p.tasks = nil
	}
	return t, true
}

func (p *pool) work() {
	w := p.engine.workers.Get().(*Worker)
	defer p.engine.workers.Put(w)
	for {
		t, ok := p.take()
		if !ok {
			return
		}
		t.socket.left()
		again := t.work(w)
		w.over()
		if again {
			p.again(t)
			continue
		}
		t.socket.back(w)
	}
}

// again puts a task behind the others.
func (p *pool) again(t task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tasks = append(p.tasks, t)
}

// close drops what waits, and waits for what is under way.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.tasks = nil
	p.mu.Unlock()
	p.wg.Wait()
}

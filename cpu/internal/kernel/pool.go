package kernel

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Pool runs work on a fixed number of workers. The goroutine that calls a method of the pool is worker 0; the others
// are goroutines that live until Close. Methods of a Pool may be called from several goroutines, which then take
// turns; they must not be called from inside a function that the same pool is running.
type Pool struct {
	isa     ISA
	workers []*Worker
	spinFor atomic.Int32 // rounds

	mu     sync.Mutex // held during a call
	closed bool

	// The call in progress.
	f       func(w *Worker, lo, hi int)
	n, each int
	pending atomic.Int32
	waiting atomic.Bool
	done    chan struct{}
	failed  atomic.Pointer[WorkerPanic]

	gemm     *Gemm
	grid     grid
	nextPart atomic.Int32
	gemmPart func(w *Worker, lo, hi int)

	partial []float32 // sums over blocks of rows
	sums    []float64
}

// Worker is one of a pool's threads with its scratch memory. Its methods run on the caller's goroutine.
type Worker struct {
	pool *Pool
	isa  ISA
	id   int

	packA, packB []float32
	tile         []float32

	seq    atomic.Uint32
	parked atomic.Bool
	wake   chan struct{}
	stop   bool
	_      [64]byte
}

// WorkerPanic is the value with which Run panics after a function panicked on one of the workers.
type WorkerPanic struct {
	Value any    // what the function panicked with
	Stack []byte // of the worker
}

// Error gives the value and the worker's stack.
func (p *WorkerPanic) Error() string {
	return fmt.Sprintf("kernel: panic in a worker: %v\n%s", p.Value, p.Stack)
}

// NewPool starts a pool of the given number of workers (at least one) for one instruction set, which must be one that
// Available lists. Close frees its goroutines.
func NewPool(threads int, isa ISA) *Pool {
	if !supported(isa) {
		panic(fmt.Sprintf("kernel: NewPool: the processor does not support %v", isa))
	}
	p := &Pool{isa: isa, done: make(chan struct{}, 1)}
	p.gemmPart = p.runGemmPart
	threads = max(1, threads)
	if threads <= runtime.GOMAXPROCS(0) {
		p.spinFor.Store(spinRounds)
	}
	for i := range threads {
		w := &Worker{pool: p, isa: isa, id: i, wake: make(chan struct{}, 1)}
		p.workers = append(p.workers, w)
		if i > 0 {
			go w.loop(0)
		}
	}
	return p
}

// Threads is the number of workers.
func (p *Pool) Threads() int { return len(p.workers) }

// ISA is the pool's instruction set.
func (p *Pool) ISA() ISA { return p.isa }

// Close ends the workers. The pool must not be used afterwards; closing it twice is harmless.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	for _, w := range p.workers[1:] {
		w.stop = true
		w.signal()
	}
}

// ID is the worker's number, from 0 to Threads()-1.
func (w *Worker) ID() int { return w.id }

// ISA is the instruction set of the worker's pool.
func (w *Worker) ISA() ISA { return w.isa }

// Run splits 0..n-1 into contiguous chunks of at least grain indices, at most one for each worker, and calls f for
// each at the same time: f(w, lo, hi) for lo <= i < hi. It returns when all are done. Chunks begin at multiples of
// grain. If f panics, the other chunks still finish and Run then panics with a *WorkerPanic (with f's own value where
// there is one chunk only).
func (p *Pool) Run(n, grain int, f func(w *Worker, lo, hi int)) {
	if n <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.run(n, grain, f)
}

// run is Run for callers that hold p.mu.
func (p *Pool) run(n, grain int, f func(w *Worker, lo, hi int)) {
	if p.closed {
		panic("kernel: use of a closed pool")
	}
	grain = max(1, grain)
	units := (n + grain - 1) / grain
	each := (units + len(p.workers) - 1) / len(p.workers) * grain
	chunks := (n + each - 1) / each
	if chunks == 1 {
		f(p.workers[0], 0, n)
		return
	}
	p.f, p.n, p.each = f, n, each
	p.pending.Store(int32(chunks - 1))
	for _, w := range p.workers[1:chunks] {
		w.signal()
	}
	p.call(p.workers[0])
	p.wait()
	p.f = nil
	if e := p.failed.Swap(nil); e != nil {
		panic(e)
	}
}

// call runs one worker's chunk and keeps the first panic.
func (p *Pool) call(w *Worker) {
	defer func() {
		if v := recover(); v != nil {
			e, ok := v.(*WorkerPanic)
			if !ok {
				e = &WorkerPanic{v, debug.Stack()}
			}
			p.failed.CompareAndSwap(nil, e)
		}
	}()
	lo := w.id * p.each
	p.f(w, lo, min(p.n, lo+p.each))
}

// spinRounds is how often a thread looks for news before it parks: some microseconds, the time between two of the
// calls that a small model makes in a row.
const spinRounds = 2000

func (p *Pool) wait() {
	for range p.spinFor.Load() {
		if p.pending.Load() == 0 {
			return
		}
		pause()
	}
	// A worker of an earlier call that comes late may answer for this one, hence the loop.
	for p.pending.Load() != 0 {
		p.waiting.Store(true)
		if p.pending.Load() == 0 && p.waiting.CompareAndSwap(true, false) {
			return
		}
		<-p.done
	}
}

// finish tells the caller that one worker is done.
func (p *Pool) finish() {
	if p.pending.Add(-1) == 0 && p.waiting.CompareAndSwap(true, false) {
		p.done <- struct{}{}
	}
}

// signal gives the worker something to do.
func (w *Worker) signal() {
	w.seq.Add(1)
	if w.parked.CompareAndSwap(true, false) {
		w.wake <- struct{}{}
	}
}

func (w *Worker) loop(seen uint32) {
	p := w.pool
	working := false
	defer func() {
		if working { // the function called runtime.Goexit, which takes this goroutine with it
			p.failed.CompareAndSwap(nil, &WorkerPanic{Value: "the function called runtime.Goexit"})
			go w.loop(seen + 1)
			p.finish()
		}
	}()
	for ; ; seen++ {
		w.await(seen)
		if w.stop {
			return
		}
		working = true
		p.call(w)
		working = false
		p.finish()
	}
}

// await returns when the worker's sequence number is no longer seen.
func (w *Worker) await(seen uint32) {
	for {
		for range w.pool.spinFor.Load() {
			if w.seq.Load() != seen {
				return
			}
			pause()
		}
		w.parked.Store(true)
		if w.seq.Load() != seen && w.parked.CompareAndSwap(true, false) {
			return
		}
		<-w.wake
		// A thread that signalled may be interrupted between the number and the look at parked: the worker, which
		// spun, has done that work and parked anew by the time it is woken for it. Only the number counts.
		if w.seq.Load() != seen {
			return
		}
	}
}

package kernel

import (
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestRunCoversEachIndexOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 7} {
		p := newPool(t, threads, Generic)
		for _, n := range []int{0, 1, 2, 5, 64, 1000} {
			for _, grain := range []int{0, 1, 3, 64, 5000} {
				seen := make([]atomic.Int32, n)
				var calls atomic.Int32
				p.Run(n, grain, func(w *Worker, lo, hi int) {
					calls.Add(1)
					if lo >= hi || lo%max(1, grain) != 0 || w.ID() < 0 || w.ID() >= threads {
						t.Errorf("n %d, grain %d: worker %d got [%d, %d)", n, grain, w.ID(), lo, hi)
					}
					for i := lo; i < hi; i++ {
						seen[i].Add(1)
					}
				})
				for i := range seen {
					if c := seen[i].Load(); c != 1 {
						t.Fatalf("%d threads, n %d, grain %d: index %d seen %d times", threads, n, grain, i, c)
					}
				}
				if c := int(calls.Load()); c > threads {
					t.Fatalf("%d calls on %d threads", c, threads)
				}
			}
		}
	}
}

// TestRunManySmall crosses the paths on which threads spin, park and wake.
func TestRunManySmall(t *testing.T) {
	for _, spin := range []int{0, 3, spinRounds} {
		p := newPool(t, 4, Generic)
		p.spinFor.Store(int32(spin))
		var sum atomic.Int64
		for i := range 3000 {
			p.Run(4, 1, func(w *Worker, lo, hi int) { sum.Add(1) })
			if i%1000 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		if sum.Load() != 12000 {
			t.Fatalf("spin %d: %d calls, want 12000", spin, sum.Load())
		}
	}
}

func TestPanicInWorker(t *testing.T) {
	p := newPool(t, 3, Generic)
	boom := errors.New("boom")
	for _, id := range []int{0, 1, 2} {
		var ran atomic.Int32
		func() {
			defer func() {
				e, ok := recover().(*WorkerPanic)
				if !ok || e.Value != boom || !strings.Contains(e.Error(), "boom") || len(e.Stack) == 0 {
					t.Errorf("worker %d: recovered %v", id, e)
				}
			}()
			p.Run(3, 1, func(w *Worker, lo, hi int) {
				if w.ID() == id {
					panic(boom)
				}
				ran.Add(1)
			})
		}()
		if ran.Load() != 2 {
			t.Errorf("worker %d panicked: %d others ran, want 2", id, ran.Load())
		}
	}
	// The pool still works, also after a goroutine was lost.
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic after Goexit")
			}
		}()
		p.Run(3, 1, func(w *Worker, lo, hi int) {
			if w.ID() == 2 {
				runtime.Goexit()
			}
		})
	}()
	var n atomic.Int32
	p.Run(3, 1, func(w *Worker, lo, hi int) { n.Add(1) })
	if n.Load() != 3 {
		t.Errorf("%d calls after a panic, want 3", n.Load())
	}
}

func TestClose(t *testing.T) {
	before := runtime.NumGoroutine()
	p := NewPool(4, Generic)
	p.Run(4, 1, func(*Worker, int, int) {})
	p.Close()
	p.Close()
	for range 200 {
		if runtime.NumGoroutine() <= before {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines after Close, %d before NewPool", n, before)
	}
	defer func() {
		if recover() == nil {
			t.Error("Run on a closed pool did not panic")
		}
	}()
	p.Run(1, 1, func(*Worker, int, int) {})
}

func TestSelect(t *testing.T) {
	if i, err := Select(""); err != nil || i != Detect() {
		t.Errorf("Select of nothing: %v, %v", i, err)
	}
	if _, err := Select("sse9"); err == nil || !strings.Contains(err.Error(), "sse9") {
		t.Errorf("unknown name: error %v", err)
	}
	for _, i := range []ISA{Generic, AVX2, AVX512} {
		got, err := Select(i.String())
		if supported(i) != (err == nil) || err == nil && got != i {
			t.Errorf("Select(%q) = %v, %v; supported: %v", i, got, err, supported(i))
		}
	}
}

// A wake-up that comes late, for work that the worker found by spinning, is no second call.
func TestLateWake(t *testing.T) {
	p := newPool(t, 2, Generic)
	p.spinFor.Store(1 << 30)
	p.Run(2, 1, func(*Worker, int, int) {}) // from here on the worker spins
	time.Sleep(20 * time.Millisecond)
	p.spinFor.Store(0) // it parks after the next piece of work
	w := p.workers[1]
	var calls atomic.Int64
	p.mu.Lock()
	p.f, p.n, p.each = func(*Worker, int, int) { calls.Add(1) }, 2, 1
	p.pending.Store(1)
	w.seq.Add(1) // the first half of signal
	for p.pending.Load() != 0 {
		time.Sleep(time.Millisecond)
	}
	for !w.parked.Load() {
		time.Sleep(time.Millisecond)
	}
	if !w.parked.CompareAndSwap(true, false) { // the second half
		t.Fatal("the worker is not parked")
	}
	w.wake <- struct{}{}
	for !w.parked.Load() {
		time.Sleep(time.Millisecond)
	}
	p.mu.Unlock()
	if n := calls.Load(); n != 1 || p.pending.Load() != 0 {
		t.Fatalf("%d calls, pending %d; want 1 and 0", n, p.pending.Load())
	}
	var sum atomic.Int64
	for range 100 {
		p.Run(2, 1, func(*Worker, int, int) { sum.Add(1) })
	}
	if sum.Load() != 200 {
		t.Errorf("%d calls afterwards, want 200", sum.Load())
	}
}

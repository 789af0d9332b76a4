package eval

import (
	"context"
	"sync"
	"sync/atomic"
)

// parallel calls f for 0..n-1 on the given number of goroutines and returns the error of the smallest i, so that what
// a user reads does not depend on timing. progress may come from any goroutine, one call at a time.
func parallel(ctx context.Context, n, workers int, f func(i int) error, progress func(done, total int)) error {
	var next, stop atomic.Int64
	stop.Store(int64(n))
	var mu sync.Mutex
	var firstErr error
	firstAt, done := n, 0
	var wg sync.WaitGroup
	for range max(1, min(workers, n)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1) - 1)
				if i >= int(stop.Load()) || ctx.Err() != nil {
					return
				}
				err := f(i)
				mu.Lock()
				if err != nil && i < firstAt {
					firstAt, firstErr = i, err
					stop.Store(int64(i))
				}
				done++
				if progress != nil {
					progress(done, n)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if firstErr != nil {
		return firstErr
	}
	return ctx.Err()
}

package main

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vbauerster/mpb/v8"
)

// Bars that are drawn all the time, stages that follow each other quickly and updates from several goroutines must
// not wait for each other.
func TestBarsDoNotDeadlock(t *testing.T) {
	p := &progress{bars: mpb.New(mpb.WithOutput(io.Discard), mpb.WithAutoRefresh(), mpb.WithRefreshRate(50*time.Microsecond))}
	done := make(chan bool)
	go func() {
		for i := range 60 {
			n := 40
			p.Stage("stage", "steps", n)
			var wg sync.WaitGroup
			for w := range 2 {
				wg.Go(func() {
					for k := w; k < n; k += 2 {
						p.Update(k, "note")
					}
				})
			}
			wg.Wait()
			if i%3 > 0 { // some stages are left incomplete
				p.Update(n, "last")
			}
			p.Note("a line")
		}
		p.close()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(60 * time.Second):
		panic("progress hangs") // with all goroutines' stacks
	}
}

func TestPlainProgress(t *testing.T) {
	var b bytes.Buffer
	p := &progress{w: &b}
	p.Stage("reading", "images", 3)
	p.Update(3, "mnist")
	p.Note("chosen")
	p.Stage("testing", "images", 5)
	p.Update(2, "alpha 0.10")
	p.close()
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "reading: 3/3 images, 0.0 s") || lines[1] != "chosen" || !strings.HasPrefix(lines[2], "testing: 2/5 images, 0.0 s") {
		t.Errorf("%q", lines)
	}
	b.Reset()
	p = &progress{w: &b, quiet: true}
	p.Stage("reading", "images", 3)
	p.Update(3, "")
	p.Note("chosen")
	p.close()
	if b.Len() > 0 {
		t.Errorf("quiet, but: %q", b.String())
	}
}

package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// progress shows how a job goes on: bars with rates and time left on a terminal, a line now and then elsewhere.
// It writes to standard error only.
type progress struct {
	w     io.Writer
	quiet bool
	bars  *mpb.Progress // nil when not on a terminal

	// mu is never held in a call of mpb, which waits for goroutines that show a stage.
	mu  sync.Mutex
	bar *mpb.Bar
	now *stage // nil before the first and after the last
}

// stage is what is shown of one stage; a finished one keeps its last words.
type stage struct {
	name, unit string
	total      int
	began      time.Time

	mu   sync.Mutex
	note string
	done int
	said time.Time
	took time.Duration // 0 until it is over
}

// quietFlag adds --quiet.
func quietFlag(c *cobra.Command, p *bool) {
	c.Flags().BoolVarP(p, "quiet", "q", false, "no progress on standard error")
}

func newProgress(c *cobra.Command, quiet bool) *progress {
	p := &progress{w: c.ErrOrStderr(), quiet: quiet}
	if f, ok := p.w.(*os.File); ok && !quiet && term.IsTerminal(int(f.Fd())) {
		p.bars = mpb.New(mpb.WithOutput(f), mpb.WithWidth(30), mpb.WithRefreshRate(150*time.Millisecond))
	}
	return p
}

// Stage implements experiment.Progress.
func (p *progress) Stage(name, unit string, total int) {
	p.finish()
	now := time.Now()
	st := &stage{name: name, unit: unit, total: total, began: now, said: now}
	var bar *mpb.Bar
	if p.bars != nil {
		bar = p.bars.AddBar(int64(total),
			mpb.PrependDecorators(decor.Name(name, decor.WC{W: 26, C: decor.DindentRight}), decor.CountersNoUnit("%d/%d", decor.WC{W: 15})),
			mpb.AppendDecorators(
				decor.Any(func(decor.Statistics) string { return st.pace() }, decor.WC{W: 34, C: decor.DindentRight}),
				decor.Any(func(decor.Statistics) string { return st.remark() })))
	}
	p.mu.Lock()
	p.now, p.bar = st, bar
	p.mu.Unlock()
}

// Update implements experiment.Progress.
func (p *progress) Update(done int, note string) {
	p.mu.Lock()
	st, bar := p.now, p.bar
	p.mu.Unlock()
	st.mu.Lock()
	st.done, st.note = done, note
	say := bar == nil && !p.quiet && time.Since(st.said) >= 5*time.Second && done < st.total
	if say {
		st.said = time.Now()
	}
	st.mu.Unlock()
	if say {
		fmt.Fprintln(p.w, st.line())
	}
	if bar != nil {
		bar.SetCurrent(int64(done))
	}
}

// Note implements experiment.Progress.
func (p *progress) Note(line string) {
	if p.quiet {
		return
	}
	p.mu.Lock()
	st := p.now
	p.mu.Unlock()
	if st != nil && st.complete() { // what follows a stage is written below it
		p.finish()
	}
	if p.bars != nil {
		fmt.Fprintln(p.bars, line)
		return
	}
	fmt.Fprintln(p.w, line)
}

// close ends the last stage; nothing is drawn afterwards.
func (p *progress) close() {
	p.finish()
	if p.bars != nil {
		p.bars.Wait()
	}
}

func (p *progress) finish() {
	p.mu.Lock()
	st, bar := p.now, p.bar
	p.now, p.bar = nil, nil
	p.mu.Unlock()
	if st == nil {
		return
	}
	st.mu.Lock()
	st.took = max(1, time.Since(st.began))
	st.mu.Unlock()
	switch {
	case bar != nil:
		if !st.complete() {
			bar.Abort(false)
		}
		bar.Wait()
	case !p.quiet:
		fmt.Fprintln(p.w, st.line())
	}
}

func (st *stage) complete() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.done >= st.total
}

func (st *stage) line() string {
	pace, remark := st.pace(), st.remark()
	st.mu.Lock()
	defer st.mu.Unlock()
	s := fmt.Sprintf("%s: %d/%d %s", st.name, st.done, st.total, st.unit)
	for _, more := range []string{pace, remark} {
		if more != "" {
			s += ", " + more
		}
	}
	return s
}

// remark is the note on the last unit, empty once the stage is over.
func (st *stage) remark() string {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.took > 0 {
		return ""
	}
	return st.note
}

// pace is the rate so far and the time left, or the time taken once the stage is over.
func (st *stage) pace() string {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.took > 0 {
		return fmt.Sprintf("%.1f s", st.took.Seconds())
	}
	s := time.Since(st.began).Seconds()
	if st.done == 0 || s < 0.2 {
		return ""
	}
	rate := float64(st.done) / s
	return fmt.Sprintf("%.1f %s/s, %.0f s left", rate, st.unit, float64(st.total-st.done)/rate)
}

package report

import (
	"fmt"
	"math"
	"sort"
	"strings"
)

// AlphaSVG draws accuracy against alpha on the validation split: a thin line for each task, a thick one for the means,
// and a vertical line at the chosen alpha. It stands alone as SVG's picture does.
func AlphaSVG(run *Run) []byte {
	return alphaSVG(run, wide, frame{id: "alpha", standalone: true})
}

// series is one line of a chart with its label.
type series struct {
	name        string
	class, text string
	dot         string
	pts         []xy
	rank        int // lower is drawn later, on top
}

// maxLabels is how many tasks a chart labels; beyond it only patching tasks and means carry a name.
const maxLabels = 26

func alphaSVG(run *Run, sz size, f frame) []byte {
	c := newCanvas(sz, f)
	pts := run.points()
	f.title = "Accuracy against alpha"
	f.desc = alphaDesc(run, pts)
	if len(pts) == 0 {
		c.note(emptyReason(run, pts))
		return c.svg(f)
	}
	all := run.series(pts)
	labelled := all
	if len(all) > maxLabels {
		labelled = nil
		for _, s := range all {
			if s.rank < 2 {
				labelled = append(labelled, s)
			}
		}
		if len(labelled) > maxLabels {
			labelled = labelled[:maxLabels]
		}
	}
	if need := float64(len(labelled))*15 + 110; need > c.h {
		c.h = need
	}
	var ys []float64
	var wlab float64
	for _, s := range all {
		for _, p := range s.pts {
			ys = append(ys, p.y)
		}
	}
	most := 190.0
	if sz.compact {
		most = 116
	}
	for _, s := range labelled {
		wlab = math.Max(wlab, math.Min(most, 1.12*textWidth(s.name, 12)))
	}
	ticks := 7
	if sz.compact {
		ticks = 4
	}
	plot := box{48, 60, c.w - wlab - 26, c.h - 52}
	var xs []float64
	for _, p := range pts {
		xs = append(xs, p.Alpha)
	}
	x := newAxis(xs, 0.1, math.Inf(-1), math.Inf(1), plot.x1+4, plot.x2, ticks)
	// Lines run to the edge of the plot, where their labels begin.
	if last := pts[len(pts)-1].Alpha; last > pts[0].Alpha {
		x.lo, x.hi = pts[0].Alpha, last
		x.ticks = trim(x.ticks, x.lo, x.hi)
	}
	y := newAxis(ys, 1, 0, 100, plot.y2, plot.y1, ticks)
	c.axes(x, y, plot, "accuracy, %", "alpha")

	if i := run.chosen(pts); i >= 0 {
		cx := x.px(pts[i].Alpha)
		c.line("chosen", cx, plot.y1-8, cx, plot.y2)
		anchor, tx := "middle", cx
		head := "chosen alpha " + run.alphaText(pts[i].Alpha)
		if half := textWidth(head, 13) / 2; cx-half < plot.x1-36 {
			anchor, tx = "start", plot.x1
		} else if cx+half > c.w-8 {
			anchor, tx = "end", c.w-8
		}
		c.text("t-strong", anchor, tx, plot.y1-14, head, true)
	}
	for i := len(all) - 1; i >= 0; i-- {
		s := all[i]
		px := make([]xy, len(s.pts))
		for j, p := range s.pts {
			px[j] = xy{x.px(p.x), y.px(p.y)}
		}
		c.polyline(s.class, px)
		if len(px) == 1 {
			c.circle(s.dot, px[0].x, px[0].y, 3.5)
		}
	}
	c.endLabels(labelled, x, y, plot, wlab)
	fmt.Fprintf(&c.buf, `<line %s x1="-20" x2="-20" y1="%s" y2="%s"/>`+"\n", attrs("pick-line"), fx(plot.y1), fx(plot.y2))
	px := make([]xy, len(pts))
	for i, p := range pts {
		px[i] = xy{x.px(p.Alpha), 0}
	}
	f.data += coordinates(px)
	return c.svg(f)
}

func trim(ticks []float64, lo, hi float64) []float64 {
	var out []float64
	for _, t := range ticks {
		if t >= lo-1e-9 && t <= hi+1e-9 {
			out = append(out, t)
		}
	}
	return out
}

// series lists the lines, the most important first.
func (run *Run) series(pts []Point) []series {
	var out []series
	meanOf := func(name, class, text, dot string, v func(Point) float64) {
		s := series{name: name, class: class, text: text, dot: dot}
		for _, p := range pts {
			s.pts = append(s.pts, xy{p.Alpha, 100 * v(p)})
		}
		out = append(out, s)
	}
	if len(run.Patching) > 1 {
		meanOf("patching mean", "p-mean", "t-p strong", "p-dot", func(p Point) float64 { return p.Patching })
	}
	if len(run.Support) > 1 {
		meanOf("supported mean", "s-mean", "t-s strong", "s-dot", func(p Point) float64 { return p.Supported })
	}
	for _, name := range run.names() {
		s := series{name: name}
		switch run.role(name) {
		case "patching":
			s.class, s.text, s.dot, s.rank = "p-line", "t-p", "p-dot", 1
			if len(run.Patching) == 1 {
				s.class, s.text, s.rank = "p-mean", "t-p strong", 0
			}
		case "supported":
			s.class, s.text, s.dot, s.rank = "s-line", "t-s", "s-dot", 2
			if len(run.Support) == 1 {
				s.class, s.text, s.rank = "s-mean", "t-s strong", 0
			}
		default:
			s.class, s.text, s.dot, s.rank = "o-line", "t-o", "dot", 3
		}
		for _, p := range pts {
			if a, ok := p.Accuracy[name]; ok {
				s.pts = append(s.pts, xy{p.Alpha, 100 * a.Top1})
			}
		}
		if len(s.pts) > 0 {
			out = append(out, s)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].rank < out[j].rank })
	return out
}

// endLabels names the lines at their right ends: in the order of the ends, moved apart where they would touch, with a
// fine leader where a label had to move.
func (c *canvas) endLabels(all []series, x, y axis, plot box, room float64) {
	type tag struct {
		s    series
		from xy
		y    float64
	}
	tags := make([]tag, 0, len(all))
	for _, s := range all {
		last := s.pts[len(s.pts)-1]
		p := xy{x.px(last.x), y.px(last.y)}
		tags = append(tags, tag{s, p, p.y})
	}
	sort.SliceStable(tags, func(i, j int) bool { return tags[i].y < tags[j].y })
	ys := make([]float64, len(tags))
	for i, t := range tags {
		ys[i] = t.y
	}
	spread(ys, 15, plot.y1-4, plot.y2-2)
	for i, t := range tags {
		tx := plot.x2 + 16
		if math.Abs(ys[i]-t.from.y) > 1.5 {
			c.polyline("leader", []xy{{t.from.x + 3, t.from.y}, {tx - 3, ys[i]}})
		}
		c.text(t.s.text, "start", tx, ys[i]+4, shorten(t.s.name, 12, room), false)
	}
}

// spread moves ascending positions as little as it can so that neighbours are gap apart and all lie in lo to hi (where
// they fit). Positions that touch form a block, which is centred on the mean of its members' wishes.
func spread(ys []float64, gap, lo, hi float64) {
	type block struct {
		first, n int
		sum      float64 // of wish minus offset within the block
	}
	place := func(b block) float64 {
		top := b.sum / float64(b.n)
		return math.Max(lo, math.Min(top, hi-gap*float64(b.n-1)))
	}
	var blocks []block
	for i, y := range ys {
		blocks = append(blocks, block{i, 1, y})
		for len(blocks) > 1 {
			a, b := blocks[len(blocks)-2], blocks[len(blocks)-1]
			if place(a)+gap*float64(a.n) <= place(b) {
				break
			}
			merged := block{a.first, a.n + b.n, a.sum + b.sum - float64(b.n)*gap*float64(a.n)}
			blocks = append(blocks[:len(blocks)-2], merged)
		}
	}
	for _, b := range blocks {
		top := place(b)
		for k := 0; k < b.n; k++ {
			ys[b.first+k] = top + gap*float64(k)
		}
	}
}

func alphaDesc(run *Run, pts []Point) string {
	if len(pts) == 0 {
		return emptyReason(run, pts)
	}
	var b strings.Builder
	first, last := pts[0], pts[len(pts)-1]
	fmt.Fprintf(&b, "Accuracy on the %s split from alpha %s to %s.", splitOf(pts), run.alphaText(first.Alpha), run.alphaText(last.Alpha))
	names := run.names()
	for i, name := range names {
		if i == maxLabels {
			fmt.Fprintf(&b, " And %d more tasks.", len(names)-i)
			break
		}
		a, ok1 := first.Accuracy[name]
		z, ok2 := last.Accuracy[name]
		if !ok1 || !ok2 {
			continue
		}
		fmt.Fprintf(&b, " %s (%s): %s to %s %%.", name, run.role(name), pct(a.Top1), pct(z.Top1))
	}
	if i := run.chosen(pts); i >= 0 {
		fmt.Fprintf(&b, " A vertical line marks the chosen alpha, %s.", run.alphaText(pts[i].Alpha))
	}
	return b.String()
}

// lossSVG draws the loss of fine-tuning over its steps.
func lossSVG(run *Run, sz size, f frame) []byte {
	c := newCanvas(size{sz.w, sz.h * 0.62, sz.compact}, f)
	tr := thin(run.Training, 600)
	f.title = "Training loss by step"
	if len(tr) == 0 {
		f.desc = "This run has no training record."
		c.note(f.desc)
		return c.svg(f)
	}
	last := tr[len(tr)-1]
	f.desc = fmt.Sprintf("Loss %.3g at step %d, %.3g at step %d.", tr[0].Loss, tr[0].Step, last.Loss, last.Step)
	var xs, ys []float64
	low := math.Inf(1)
	for _, t := range tr {
		xs, ys = append(xs, float64(t.Step)), append(ys, t.Loss)
		low = math.Min(low, t.Loss)
	}
	if low > 0 {
		ys = append(ys, 0) // a loss is read against zero
	}
	plot := box{52, 44, c.w - 20, c.h - 52}
	ticks := 6
	if sz.compact {
		ticks = 3
	}
	x := newAxis(xs, 1, math.Inf(-1), math.Inf(1), plot.x1, plot.x2, ticks)
	if len(tr) > 1 && last.Step > tr[0].Step {
		x.lo, x.hi = float64(tr[0].Step), float64(last.Step)
		x.ticks = trim(x.ticks, x.lo, x.hi)
	}
	y := newAxis(ys, 1e-3, math.Inf(-1), math.Inf(1), plot.y2, plot.y1, 4)
	if low > 0 {
		y.lo = 0
		y.ticks = trim(y.ticks, 0, y.hi)
	}
	c.axes(x, y, plot, "loss", "step")
	px := make([]xy, len(tr))
	for i, t := range tr {
		px[i] = xy{x.px(float64(t.Step)), y.px(t.Loss)}
	}
	c.polyline("curve", px)
	if len(px) == 1 {
		c.circle("dot", px[0].x, px[0].y, 3.5)
	}
	return c.svg(f)
}

// thin keeps at most n points, evenly, with the first and the last.
func thin(tr []TrainPoint, n int) []TrainPoint {
	if len(tr) <= n {
		return tr
	}
	out := make([]TrainPoint, n)
	for i := range out {
		out[i] = tr[i*(len(tr)-1)/(n-1)]
	}
	return out
}

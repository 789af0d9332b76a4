package report

import (
	"fmt"
	"math"
	"strings"
)

// size is the outline of a picture; compact is for telephones.
type size struct {
	w, h    float64
	compact bool
}

var (
	wide   = size{720, 500, false}
	narrow = size{360, 400, true}
)

// SVG draws the frontier: supported mean accuracy across, patching accuracy upwards, in percent on the validation split,
// with the curve over alpha, the two ends, the chosen point, and the corner that a change without any trade-off would
// reach. It stands alone: white background, explicit colours, title and description, no script, no reference to anything
// outside. A run without a curve gives a picture that says so.
func SVG(run *Run) []byte {
	return frontierSVG(run, wide, frame{id: "frontier", standalone: true})
}

// frontierPoints are the curve's points in percent.
func frontierPoints(pts []Point) []xy {
	out := make([]xy, len(pts))
	for i, p := range pts {
		out[i] = xy{100 * p.Supported, 100 * p.Patching}
	}
	return out
}

func frontierSVG(run *Run, sz size, f frame) []byte {
	c := newCanvas(sz, f)
	pts := run.points()
	f.title = "Accuracy on " + run.patchingName() + " against accuracy on supported tasks, by alpha"
	f.desc = frontierDesc(run, pts)
	if len(pts) == 0 || len(run.Support) == 0 || len(run.Patching) == 0 {
		c.note(emptyReason(run, pts))
		return c.svg(f)
	}
	vals := frontierPoints(pts)
	zs, ft, best := at(pts, 0), at(pts, 1), run.chosen(pts)
	var xs, ys []float64
	for _, v := range vals {
		xs, ys = append(xs, v.x), append(ys, v.y)
	}
	ticks := 7
	if sz.compact {
		ticks = 4
	}
	plot := box{48, 44, sz.w - 20, sz.h - 52}
	x := newAxis(xs, 1, 0, 100, plot.x1, plot.x2, ticks)
	y := newAxis(ys, 1, 0, 100, plot.y2, plot.y1, ticks)
	c.axes(x, y, plot, run.patchingName()+", %", run.supportedName()+", %")

	pl := &placer{bounds: box{plot.x1 + 2, plot.y1 - 6, plot.x2 + 16, plot.y2 - 2}}
	px := make([]xy, len(vals))
	for i, v := range vals {
		px[i] = xy{x.px(v.x), y.px(v.y)}
		if i > 0 {
			pl.sample(px[i-1], px[i], true)
		}
	}
	corner := zs >= 0 && ft >= 0
	if ft >= 0 {
		c.line("ideal", plot.x1, px[ft].y, plot.x2, px[ft].y)
		pl.sample(xy{plot.x1, px[ft].y}, xy{plot.x2, px[ft].y}, false)
	}
	if zs >= 0 {
		c.line("ideal", px[zs].x, plot.y1, px[zs].x, plot.y2)
		pl.sample(xy{px[zs].x, plot.y1}, xy{px[zs].x, plot.y2}, false)
	}
	c.polyline("curve", px)
	for i, q := range px {
		if i != zs && i != ft && i != best {
			c.circle("dot", q.x, q.y, 2.5)
		}
	}
	// The chosen point may be an end; it is then drawn over it, larger, so both stay visible.
	mark := func(i int, r float64) {
		pl.boxes = append(pl.boxes, box{px[i].x - r, px[i].y - r, px[i].x + r, px[i].y + r})
	}
	if zs >= 0 {
		mark(zs, 7)
		if zs == best {
			c.circle("best", px[zs].x, px[zs].y, 10)
		}
		c.circle("end", px[zs].x, px[zs].y, 5)
	}
	if ft >= 0 {
		mark(ft, 7)
		if ft == best {
			c.circle("best", px[ft].x, px[ft].y, 10)
		}
		c.square("end", px[ft].x, px[ft].y, 4.5)
	}
	if best >= 0 && best != zs && best != ft {
		mark(best, 8)
		c.circle("best", px[best].x, px[best].y, 7)
	}
	if corner {
		cx, cy := px[zs].x, px[ft].y
		c.line("corner", cx-6, cy, cx+6, cy)
		c.line("corner", cx, cy-6, cx, cy+6)
		pl.boxes = append(pl.boxes, box{cx - 6, cy - 6, cx + 6, cy + 6})
	}
	// The most important label takes its place first.
	value := func(i int) string { return fmt.Sprintf("%.1f / %.1f", vals[i].x, vals[i].y) }
	r := func(i int) float64 {
		if i == best {
			return 9
		}
		return 6
	}
	if best >= 0 {
		head := "patched, alpha " + run.alphaText(pts[best].Alpha)
		switch best {
		case zs:
			head = "zero-shot, kept (alpha " + run.alphaText(0) + ")"
		case ft:
			head = "fine-tuned, chosen (alpha " + run.alphaText(1) + ")"
		}
		pl.label(c, []string{"t-best", "t-quiet"}, []string{head, value(best)}, px[best].x, px[best].y, r(best), 0)
	}
	if zs >= 0 && zs != best {
		pl.label(c, []string{"t-strong", "t-quiet"}, []string{"zero-shot", value(zs)}, px[zs].x, px[zs].y, 6, 0)
	}
	if ft >= 0 && ft != best {
		pl.label(c, []string{"t-strong", "t-quiet"}, []string{"fine-tuned", value(ft)}, px[ft].x, px[ft].y, 6, 0)
	}
	if corner {
		pl.label(c, []string{"t-quiet"}, []string{"optimal corner"}, px[zs].x, px[ft].y, 4, 6)
	}
	for _, want := range []float64{0.25, 0.5, 0.75} { // a few alphas along the way, where there is room
		if i := nearest(pts, want, 0.1); i >= 0 && i != zs && i != ft && i != best {
			pl.label(c, []string{"t-quiet"}, []string{"\u03b1 " + run.alphaText(pts[i].Alpha)}, px[i].x, px[i].y, 1, 1)
		}
	}
	c.circle("pick", -20, -20, 10)
	f.data += coordinates(px)
	return c.svg(f)
}

// nearest is the point whose alpha is nearest to want and no farther than within, or -1.
func nearest(pts []Point, want, within float64) int {
	best, dist := -1, within
	for i, p := range pts {
		if d := math.Abs(p.Alpha - want); d <= dist {
			best, dist = i, d
		}
	}
	return best
}

// coordinates puts the points' pixels into a data attribute, so that the page's script need not know the scales.
func coordinates(px []xy) string {
	parts := make([]string, len(px))
	for i, p := range px {
		parts[i] = fx(p.x) + "," + fx(p.y)
	}
	return ` data-points="` + strings.Join(parts, " ") + `"`
}

func emptyReason(run *Run, pts []Point) string {
	switch {
	case len(pts) == 0:
		return "This run has no points over alpha."
	case len(run.Patching) == 0:
		return "This run names no patching task."
	}
	return "This run names no supported task."
}

// note fills a picture that has nothing to show with the reason.
func (c *canvas) note(s string) {
	c.h = 120
	c.text("t-quiet", "middle", c.w/2, 64, s, false)
}

// axes draws light grid lines, tick labels, and the axis titles written horizontally at their ends.
func (c *canvas) axes(x, y axis, plot box, yName, xName string) {
	for _, t := range y.ticks {
		c.line("grid", plot.x1, y.px(t), plot.x2, y.px(t))
		c.text("t-tick", "end", plot.x1-8, y.px(t)+4, y.label(t), false)
	}
	c.line("axis", plot.x1, plot.y2, plot.x2, plot.y2)
	for _, t := range x.ticks {
		c.line("axis", x.px(t), plot.y2, x.px(t), plot.y2+4)
		c.text("t-tick", "middle", x.px(t), plot.y2+19, x.label(t), false)
	}
	c.text("t-axis", "start", c.left, 20, "\u2191 "+shorten(yName, 13, c.w-40), false)
	c.text("t-axis", "end", plot.x2, plot.y2+42, shorten(xName, 13, c.w-60)+" \u2192", false)
}

// frontierDesc says in words what the picture shows.
func frontierDesc(run *Run, pts []Point) string {
	if len(pts) == 0 || len(run.Support) == 0 || len(run.Patching) == 0 {
		return emptyReason(run, pts)
	}
	var b strings.Builder
	if len(pts) == 1 {
		fmt.Fprintf(&b, "One point on the %s split.", splitOf(pts))
	} else {
		fmt.Fprintf(&b, "A curve of %d points from alpha %s to %s on the %s split.", len(pts),
			run.alphaText(pts[0].Alpha), run.alphaText(pts[len(pts)-1].Alpha), splitOf(pts))
	}
	say := func(name string, i int) {
		if i >= 0 {
			fmt.Fprintf(&b, " %s: supported %s %%, patching %s %%.", name, pct(pts[i].Supported), pct(pts[i].Patching))
		}
	}
	zs, ft := at(pts, 0), at(pts, 1)
	say("Zero-shot", zs)
	say("Fine-tuned", ft)
	if i := run.chosen(pts); i >= 0 {
		say("Chosen, alpha "+run.alphaText(pts[i].Alpha), i)
	}
	if zs >= 0 && ft >= 0 {
		fmt.Fprintf(&b, " Dotted lines meet in the optimal corner, supported %s %% and patching %s %%: the zero-shot model's"+
			" supported accuracy with the fine-tuned model's patching accuracy.", pct(pts[zs].Supported), pct(pts[ft].Patching))
	}
	return b.String()
}

func splitOf(pts []Point) string {
	if len(pts) > 0 && pts[0].Split != "" {
		return pts[0].Split
	}
	return "validation"
}

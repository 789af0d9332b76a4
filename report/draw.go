package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The pictures carry explicit colours as presentation attributes, so they stand alone, and the same classes, through
// which the page's style sheet recolours them for dark screens: a style rule overrides a presentation attribute.
// The two hues are vermilion and blue of Okabe and Ito's palette, which people with any colour vision can tell apart;
// shape and label repeat what colour says.
var paints = map[string]string{
	"bg":         `fill="#ffffff"`,
	"grid":       `stroke="#e6e4df" stroke-width="1"`,
	"axis":       `stroke="#8a877f" stroke-width="1"`,
	"ideal":      `stroke="#8a877f" stroke-width="1" stroke-dasharray="2 4"`,
	"chosen":     `stroke="#1d1c1a" stroke-width="1"`,
	"pick":       `stroke="#1d1c1a" stroke-width="1.5" fill="none"`,
	"pick-line":  `stroke="#1d1c1a" stroke-width="1.5" stroke-dasharray="4 3"`,
	"leader":     `stroke="#b5b2aa" stroke-width="0.75" fill="none"`,
	"curve":      `stroke="#6a675f" stroke-width="1.5" fill="none" stroke-linejoin="round"`,
	"dot":        `fill="#6a675f"`,
	"end":        `fill="#ffffff" stroke="#1d1c1a" stroke-width="1.75"`,
	"best":       `fill="#d55e00" stroke="#ffffff" stroke-width="1.5"`,
	"corner":     `stroke="#8a877f" stroke-width="1.5" fill="none"`,
	"p-line":     `stroke="#d55e00" stroke-width="1.1" stroke-opacity="0.6" fill="none" stroke-linejoin="round"`,
	"p-mean":     `stroke="#d55e00" stroke-width="2.5" fill="none" stroke-linejoin="round"`,
	"s-line":     `stroke="#0072b2" stroke-width="1.1" stroke-opacity="0.5" fill="none" stroke-linejoin="round"`,
	"s-mean":     `stroke="#0072b2" stroke-width="2.5" fill="none" stroke-linejoin="round"`,
	"o-line":     `stroke="#6a675f" stroke-width="1" stroke-dasharray="1 2" fill="none" stroke-linejoin="round"`,
	"p-dot":      `fill="#d55e00"`,
	"s-dot":      `fill="#0072b2"`,
	"t-tick":     `fill="#6a675f" font-size="12"`,
	"t-axis":     `fill="#4a4843" font-size="13"`,
	"t-label":    `fill="#1d1c1a" font-size="13"`,
	"t-strong":   `fill="#1d1c1a" font-size="13" font-weight="600"`,
	"t-best":     `fill="#b34f00" font-size="13" font-weight="600"`,
	"t-quiet":    `fill="#6a675f" font-size="12"`,
	"t-p":        `fill="#b34f00" font-size="12"`,
	"t-s":        `fill="#005f95" font-size="12"`,
	"t-o":        `fill="#6a675f" font-size="12"`,
	"t-p strong": `fill="#b34f00" font-size="12" font-weight="600"`,
	"t-s strong": `fill="#005f95" font-size="12" font-weight="600"`,
}

const fontFamily = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

// haloPaint lets a label cross a line and stay readable.
const haloPaint = ` stroke="#ffffff" stroke-width="3" stroke-linejoin="round" paint-order="stroke"`

// canvas collects the elements of one picture.
type canvas struct {
	buf  bytes.Buffer
	w, h float64
	left float64 // where the title of the y axis begins
}

// newCanvas leaves a margin around a picture that stands alone; on the page it lines up with the text.
func newCanvas(sz size, f frame) *canvas {
	c := &canvas{w: sz.w, h: sz.h}
	if f.standalone {
		c.left = 10
	}
	return c
}

func esc(s string) string {
	var b bytes.Buffer
	// Writes to a bytes.Buffer do not fail; characters XML cannot hold become U+FFFD.
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

// fx writes a coordinate with one decimal at most.
func fx(v float64) string {
	s := strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
	if s == "-0" {
		return "0"
	}
	return s
}

func attrs(class string) string { return fmt.Sprintf(`class="%s" %s`, class, paints[class]) }

func (c *canvas) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(&c.buf, `<line %s x1="%s" y1="%s" x2="%s" y2="%s"/>`+"\n", attrs(class), fx(x1), fx(y1), fx(x2), fx(y2))
}

func (c *canvas) circle(class string, x, y, r float64) {
	fmt.Fprintf(&c.buf, `<circle %s cx="%s" cy="%s" r="%s"/>`+"\n", attrs(class), fx(x), fx(y), fx(r))
}

func (c *canvas) square(class string, x, y, r float64) {
	fmt.Fprintf(&c.buf, `<rect %s x="%s" y="%s" width="%s" height="%s"/>`+"\n", attrs(class), fx(x-r), fx(y-r), fx(2*r), fx(2*r))
}

func (c *canvas) polyline(class string, pts []xy) {
	if len(pts) < 2 {
		return
	}
	fmt.Fprintf(&c.buf, `<path %s d="`, attrs(class))
	for i, p := range pts {
		cmd := "L"
		if i == 0 {
			cmd = "M"
		}
		c.buf.WriteString(cmd + fx(p.x) + " " + fx(p.y))
	}
	c.buf.WriteString("\"/>\n")
}

func (c *canvas) text(class, anchor string, x, y float64, s string, halo bool) {
	h := ""
	if halo {
		h = haloPaint
		class += ` halo`
	}
	base := strings.TrimSuffix(class, " halo")
	fmt.Fprintf(&c.buf, `<text class="%s" %s%s text-anchor="%s" x="%s" y="%s">%s</text>`+"\n", class, paints[base], h, anchor, fx(x), fx(y), esc(s))
}

// frame is how a picture is wrapped: its element ids need a prefix where several share a page.
type frame struct {
	id          string // prefix of ids
	class       string // of the svg element
	data        string // further attributes, already escaped
	title, desc string
	standalone  bool
}

func (c *canvas) svg(f frame) []byte {
	var out bytes.Buffer
	if f.standalone {
		fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="%s" `, fx(c.w), fx(c.h))
	} else {
		fmt.Fprintf(&out, `<svg class="%s" `, f.class)
	}
	fmt.Fprintf(&out, `viewBox="0 0 %s %s" role="img" aria-labelledby="%s-title %s-desc" font-family="%s"%s>`+"\n",
		fx(c.w), fx(c.h), f.id, f.id, fontFamily, f.data)
	fmt.Fprintf(&out, "<title id=\"%s-title\">%s</title>\n<desc id=\"%s-desc\">%s</desc>\n", f.id, esc(f.title), f.id, esc(f.desc))
	if f.standalone {
		fmt.Fprintf(&out, "<rect %s width=\"%s\" height=\"%s\"/>\n", attrs("bg"), fx(c.w), fx(c.h))
	}
	out.Write(c.buf.Bytes())
	out.WriteString("</svg>\n")
	return out.Bytes()
}

type xy struct{ x, y float64 }

// axis maps values to a range of pixels; ticks are multiples of 1, 2 or 5 times a power of ten.
type axis struct {
	lo, hi   float64 // values at the ends
	from, to float64 // pixels at the ends
	ticks    []float64
	decimals int
}

func (a axis) px(v float64) float64 { return a.from + (v-a.lo)/(a.hi-a.lo)*(a.to-a.from) }

func (a axis) label(v float64) string {
	if math.Abs(v) >= 1e7 {
		return strconv.FormatFloat(v, 'g', 6, 64)
	}
	s := strconv.FormatFloat(v, 'f', a.decimals, 64)
	if strings.Trim(s, "-0.") == "" { // the tick at zero is k*step with k = -0
		return strings.TrimPrefix(s, "-")
	}
	return s
}

// newAxis covers values with some room at both ends, at least least wide, with about n ticks between min and max.
func newAxis(values []float64, least, min, max, from, to float64, n int) axis {
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if finite(v) {
			lo, hi = math.Min(lo, v), math.Max(hi, v)
		}
	}
	if lo > hi {
		lo, hi = math.Max(min, 0), math.Max(min, 0)+least
	}
	mid := (lo + hi) / 2
	least = math.Max(least, 1e-6*math.Abs(mid)) // a range that its ends' rounding does not swallow
	if hi-lo < least {
		lo, hi = mid-least/2, mid+least/2
	}
	room := 0.06 * (hi - lo)
	a := axis{lo: lo - room, hi: hi + room, from: from, to: to}
	step := niceStep((a.hi - a.lo) / float64(n))
	a.decimals = int(math.Max(0, -math.Floor(math.Log10(step)+1e-9)))
	for k := math.Ceil(a.lo/step - 1e-9); k*step <= a.hi+1e-9*step && len(a.ticks) < 100; k++ {
		if v := k * step; v >= min-1e-9 && v <= max+1e-9 {
			a.ticks = append(a.ticks, v)
		}
	}
	return a
}

func niceStep(raw float64) float64 {
	if !(raw > 0) || !finite(raw) {
		return 1
	}
	pow := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		if m*pow >= raw*0.999 {
			return m * pow
		}
	}
	return 10 * pow
}

// textWidth estimates the width of s in pixels from the proportions of common sans-serif faces.
func textWidth(s string, size float64) float64 {
	var em float64
	for _, r := range s {
		switch {
		case strings.ContainsRune("ijl.,:;'|!()[]ftr -", r):
			em += 0.34
		case strings.ContainsRune("mwMW%@", r):
			em += 0.88
		case r >= 'A' && r <= 'Z':
			em += 0.69
		case r >= 0x2e80:
			em += 1
		default:
			em += 0.58
		}
	}
	return em * size * 1.06 // faces differ; too wide a guess costs less than an overlap
}

// shorten cuts s to a width in pixels.
func shorten(s string, size, width float64) string {
	if textWidth(s, size) <= width {
		return s
	}
	runes := []rune(s)
	for len(runes) > 1 && textWidth(string(runes)+"\u2026", size) > width {
		runes = runes[:len(runes)-1]
	}
	return strings.TrimRight(string(runes), " ") + "\u2026"
}

type box struct{ x1, y1, x2, y2 float64 }

func (b box) overlap(o box) float64 {
	w := math.Min(b.x2, o.x2) - math.Max(b.x1, o.x1)
	h := math.Min(b.y2, o.y2) - math.Max(b.y1, o.y1)
	if w <= 0 || h <= 0 {
		return 0
	}
	return w * h
}

func (b box) grow(d float64) box { return box{b.x1 - d, b.y1 - d, b.x2 + d, b.y2 + d} }

// placer puts labels beside points where they cover least: the plot's edge, other labels and marks count heavily,
// thin lines little.
type placer struct {
	bounds box
	boxes  []box // labels and marks
	lines  []xy  // points sampled along thin lines
	dots   []xy  // points sampled along the curve
}

func (p *placer) sample(a, b xy, curve bool) {
	n := int(math.Hypot(b.x-a.x, b.y-a.y)/4) + 1
	for i := 0; i <= n; i++ {
		t := float64(i) / float64(n)
		q := xy{a.x + t*(b.x-a.x), a.y + t*(b.y-a.y)}
		if curve {
			p.dots = append(p.dots, q)
		} else {
			p.lines = append(p.lines, q)
		}
	}
}

func (p *placer) cost(b box) float64 {
	var c float64
	area := (b.x2 - b.x1) * (b.y2 - b.y1)
	inside := b.overlap(p.bounds)
	c += 50 * (area - inside) / area
	for _, o := range p.boxes {
		c += 40 * b.overlap(o) / area
		if b.overlap(o) > 0 {
			c += 2
		}
	}
	g := b.grow(1)
	for _, q := range p.dots {
		if q.x > g.x1 && q.x < g.x2 && q.y > g.y1 && q.y < g.y2 {
			c += 0.5
		}
	}
	for _, q := range p.lines {
		if q.x > g.x1 && q.x < g.x2 && q.y > g.y1 && q.y < g.y2 {
			c += 0.12
		}
	}
	return c
}

// label writes lines of text near (x, y), clear of a mark of radius r. With limit > 0 it gives up, and reports false,
// where the best place costs more than limit.
func (p *placer) label(c *canvas, classes, lines []string, x, y, r, limit float64) bool {
	const size, lead = 13.0, 16.0
	var w float64
	for _, s := range lines {
		w = math.Max(w, textWidth(s, size))
	}
	h := lead * float64(len(lines))
	type candidate struct {
		b      box
		anchor string
		tx     float64
		bias   float64
	}
	var best candidate
	bestCost := math.Inf(1)
	for _, d := range []float64{r + 5, r + 14, r + 26, r + 44} {
		near := 0.25 * (d - r - 5) / 10
		for _, k := range []candidate{
			{box{x + d, y - h/2, x + d + w, y + h/2}, "start", x + d, 0},
			{box{x - d - w, y - h/2, x - d, y + h/2}, "end", x - d, 0.1},
			{box{x + d*0.7, y - h - d*0.7, x + d*0.7 + w, y - d*0.7}, "start", x + d*0.7, 0.15},
			{box{x + d*0.7, y + d*0.7, x + d*0.7 + w, y + h + d*0.7}, "start", x + d*0.7, 0.15},
			{box{x - d*0.7 - w, y - h - d*0.7, x - d*0.7, y - d*0.7}, "end", x - d*0.7, 0.2},
			{box{x - d*0.7 - w, y + d*0.7, x - d*0.7, y + h + d*0.7}, "end", x - d*0.7, 0.2},
			{box{x - w/2, y - h - d, x + w/2, y - d}, "middle", x, 0.2},
			{box{x - w/2, y + d, x + w/2, y + h + d}, "middle", x, 0.2},
		} {
			if cost := p.cost(k.b) + k.bias + near; cost < bestCost {
				best, bestCost = k, cost
			}
		}
	}
	if limit > 0 && bestCost > limit {
		return false
	}
	for i, s := range lines {
		c.text(classes[i], best.anchor, best.tx, best.b.y1+lead*float64(i)+12, s, true)
	}
	p.boxes = append(p.boxes, best.b)
	return true
}

package report

import (
	"bytes"
	_ "embed" // the page's template
	"errors"
	"fmt"
	"html/template"
	"slices"
	"strconv"
)

//go:embed compare.html.tmpl
var compareSource string

var compareTemplate = parsePage("compare", compareSource)

// Named is a run with the name it goes by in a comparison, such as its directory.
type Named struct {
	Name string
	Run  *Run
}

type compareRow struct {
	Number                                     int
	Name, Model, Patching, Alpha, Rule, Split  string
	PatchFrom, PatchTo, SupportFrom, SupportTo string
	PatchDiff, SupportDiff                     numCI
}

type comparePage struct {
	Policy, Title, Caption   string
	CSS                      template.CSS
	Notes                    []string
	Frontier, FrontierNarrow template.HTML
	Rows                     []compareRow
	Tasks                    *gridTable
}

// Compare is one self-contained page over several runs, in the order given: their frontiers in one picture and their
// results in two tables. It says so where the runs do not measure the same tasks, for then their means do not compare.
func Compare(runs []Named) ([]byte, error) {
	if len(runs) == 0 {
		return nil, errors.New("comparing runs: no run given")
	}
	p := &comparePage{Policy: policy(pageCSS, ""), CSS: template.CSS(pageCSS), Title: fmt.Sprintf("%d runs compared", len(runs)),
		Caption: "Top-1 accuracy in percent, zero-shot to patched; below it the change in points with its 95 % interval, paired by image"}
	if len(runs) == 1 {
		p.Title = "One run"
	}
	first := runs[0].Run
	samePatch, sameSupport, sameModel := true, true, true
	var splits []string
	for i, n := range runs {
		r := n.Run
		s := r.summary()
		if !slices.Contains(splits, s.Split) {
			splits = append(splits, s.Split)
		}
		samePatch = samePatch && sameSet(r.Patching, first.Patching)
		sameSupport = sameSupport && sameSet(r.Support, first.Support)
		sameModel = sameModel && r.Model.Hash == first.Model.Hash
		zs, _ := s.line("zero_shot")
		pt, ok := s.line("patched")
		row := compareRow{Number: i + 1, Name: n.Name, Model: orMissing(r.Model.Name), Patching: list(r.Patching, 6), Alpha: missing,
			Rule: orMissing(r.Rule), Split: s.Split, PatchFrom: zs.Patching.num(), SupportFrom: zs.Supported.num(),
			PatchTo: pt.Patching.num(), SupportTo: pt.Supported.num()}
		if r.Alpha != nil {
			row.Alpha = r.alphaText(*r.Alpha)
		}
		if ok {
			row.PatchDiff = numCI{s.DiffPatch.diffNum(minus), s.DiffPatch.diffCI(minus)}
			row.SupportDiff = numCI{s.DiffSupport.diffNum(minus), s.DiffSupport.diffCI(minus)}
		} else {
			row.PatchDiff.Num, row.SupportDiff.Num = missing, missing
		}
		p.Rows = append(p.Rows, row)
	}
	if !sameModel {
		p.Notes = append(p.Notes, "The runs start from different models.")
	}
	if !samePatch {
		p.Notes = append(p.Notes, "The runs patch different tasks: their patching accuracies are not on one scale.")
	}
	if !sameSupport {
		p.Notes = append(p.Notes, "The runs measure different supported tasks: their supported means are not on one scale.")
	}
	if len(splits) > 1 {
		p.Notes = append(p.Notes, "Some runs have no test results; the table says which split each row is from.")
	}
	p.Tasks = compareTasks(runs)
	p.Frontier = template.HTML(compareSVG(runs, wide, frame{id: "f-wide", class: "wide"}))
	p.FrontierNarrow = template.HTML(compareSVG(runs, narrow, frame{id: "f-narrow", class: "narrow"}))
	var buf bytes.Buffer
	if err := compareTemplate.Execute(&buf, p); err != nil {
		return nil, fmt.Errorf("comparing runs: %w", err)
	}
	return buf.Bytes(), nil
}

func sameSet(a, b []string) bool {
	x, y := slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(x, y)
}

func compareTasks(runs []Named) *gridTable {
	g := &gridTable{}
	var names []string
	summaries := make([]summary, len(runs))
	for i, n := range runs {
		g.Columns = append(g.Columns, fmt.Sprintf("%d. %s", i+1, n.Name))
		summaries[i] = n.Run.summary()
		for _, name := range n.Run.names() {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	for _, name := range names {
		row := tableRow{Name: name}
		for _, s := range summaries {
			pt, _ := s.line("patched")
			v := pt.Tasks[name]
			c := numCI{Num: v.num()}
			if d := s.Diff[name]; v.OK && d.OK {
				c.CI = "(" + d.diffNum(minus) + ")"
			}
			row.Cells = append(row.Cells, c)
		}
		g.Rows = append(g.Rows, row)
	}
	return g
}

// compareHues are Okabe and Ito's, without yellow, which vanishes on white; dashes tell the second round apart.
var compareHues = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"}

func compareSVG(runs []Named, sz size, f frame) []byte {
	c := newCanvas(sz, f)
	f.title = "Frontiers of " + strconv.Itoa(len(runs)) + " runs: patching accuracy against supported accuracy"
	var xs, ys []float64
	for i, n := range runs {
		if len(n.Run.Support) == 0 || len(n.Run.Patching) == 0 {
			continue
		}
		for _, v := range frontierPoints(n.Run.points()) {
			xs, ys = append(xs, v.x), append(ys, v.y)
		}
		f.desc += fmt.Sprintf("%d, %s: %s ", i+1, n.Name, frontierDesc(n.Run, n.Run.points()))
	}
	if len(xs) == 0 {
		f.desc = "No run has points over alpha."
		c.note(f.desc)
		return c.svg(f)
	}
	ticks := 7
	if sz.compact {
		ticks = 4
	}
	plot := box{48, 44, sz.w - 130, sz.h - 52} // names stand to the right of the curves' corners
	if sz.compact {
		plot.x2 = sz.w - 24
	}
	x := newAxis(xs, 1, 0, 100, plot.x1, plot.x2, ticks)
	y := newAxis(ys, 1, 0, 100, plot.y2, plot.y1, ticks)
	c.axes(x, y, plot, "patching accuracy, %", "supported accuracy, %")
	pl := &placer{bounds: box{plot.x1 + 2, plot.y1 - 6, sz.w - 4, plot.y2 - 2}}
	type mark struct {
		at   xy
		text string
	}
	var marks []mark
	for i, n := range runs {
		if len(n.Run.Support) == 0 || len(n.Run.Patching) == 0 || len(n.Run.Curve) == 0 {
			continue
		}
		pts := n.Run.points()
		px := make([]xy, len(pts))
		for j, v := range frontierPoints(pts) {
			px[j] = xy{x.px(v.x), y.px(v.y)}
			if j > 0 {
				pl.sample(px[j-1], px[j], true)
			}
		}
		hue := compareHues[i%len(compareHues)]
		dash := ""
		if round := i / len(compareHues); round > 0 {
			dash = fmt.Sprintf(` stroke-dasharray="%d 3"`, 2+4*round)
		}
		c.buf.WriteString(`<g stroke="` + hue + `" fill="none" stroke-width="2" stroke-linejoin="round">` + "\n")
		if len(px) > 1 {
			c.buf.WriteString(`<path` + dash + ` d="`)
			for j, q := range px {
				c.buf.WriteString(map[bool]string{true: "M", false: "L"}[j == 0] + fx(q.x) + " " + fx(q.y))
			}
			c.buf.WriteString("\"/>\n")
		}
		label := px[len(px)/2]
		for j, q := range px {
			switch {
			case j == n.Run.chosen(pts):
				fmt.Fprintf(&c.buf, `<circle fill="%s" cx="%s" cy="%s" r="6"/>`+"\n", hue, fx(q.x), fx(q.y))
				label = q
			case j == at(pts, 0):
				fmt.Fprintf(&c.buf, `<circle class="hollow" fill="#ffffff" cx="%s" cy="%s" r="4.5"/>`+"\n", fx(q.x), fx(q.y))
			case j == at(pts, 1):
				fmt.Fprintf(&c.buf, `<rect class="hollow" fill="#ffffff" x="%s" y="%s" width="8" height="8"/>`+"\n", fx(q.x-4), fx(q.y-4))
			}
		}
		c.buf.WriteString("</g>\n")
		pl.boxes = append(pl.boxes, box{label.x - 7, label.y - 7, label.x + 7, label.y + 7})
		name := strconv.Itoa(i + 1)
		if !sz.compact {
			name += ". " + shorten(n.Name, 13, 150)
		}
		marks = append(marks, mark{label, name})
	}
	for _, m := range marks {
		pl.label(c, []string{"t-strong"}, []string{m.text}, m.at.x, m.at.y, 7, 0)
	}
	return c.svg(f)
}

package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page's template, style sheet and script
	"encoding/base64"
	"fmt"
	"html/template"
	"strings"
	"time"
)

//go:embed page.html.tmpl
var pageSource string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

var pageTemplate = parsePage("page", pageSource)

func parsePage(name, source string) *template.Template {
	return template.Must(template.New(name).Funcs(template.FuncMap{"breakable": breakable}).Parse(source))
}

// breakable lets a name break after the marks that join its words, as in "traffic_signs".
func breakable(s string) template.HTML {
	return template.HTML(strings.NewReplacer("_", "_<wbr>", "-", "-<wbr>", "/", "/<wbr>").Replace(template.HTMLEscapeString(s)))
}

// policy lets the page use its own style sheet and script, told by their hashes, and nothing else: whatever a name from
// outside might smuggle in would neither run nor load.
func policy(css, js string) string {
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	script := "'none'"
	if js != "" {
		script = hash(js)
	}
	return "default-src 'none'; style-src " + hash(css) + "; script-src " + script + "; img-src data:; base-uri 'none'; form-action 'none'"
}

type link struct{ ID, Name string }

type headline struct {
	Class, Name, From, To string
	Subs                  []string
}

type numCI struct{ Num, CI string }

type tableRow struct {
	Class, Name, Kind, Value, Diff string
	Cells                          []numCI
	Values                         []string
	Bar                            template.HTML
}

type explore struct {
	Alpha, Split, Versus string
	Max, Start           int
	Rows                 []tableRow
	Data                 []curveRow
}

// curveRow is what the page's script shows at one alpha, ready to print.
type curveRow struct {
	Alpha string   `json:"alpha"`
	Says  string   `json:"says"`
	Cells []string `json:"cells"`
}

type results struct {
	Split, Lead, TaskCaption string
	Columns, TaskColumns     []string
	Summary, Tasks           []tableRow
	Bars, Stack              bool
}

type gridTable struct {
	Split   string
	Chosen  bool
	Columns []string
	Rows    []tableRow
}

type dataRow struct {
	Class, Name, Classes, Train, Validation, Test, Source, License, Split, ClassList string
	Templates                                                                        []string
	Checksums                                                                        []setting
	More                                                                             bool
}

type page struct {
	Policy, Title, Kicker, Why, Split, LossCaption, Command, Footer string

	CSS      template.CSS
	JS       template.JS
	Headline []headline
	Contents []link
	Corner   bool

	Frontier, FrontierNarrow, Alpha, AlphaNarrow, Loss, LossNarrow template.HTML

	Explore  *explore
	Results  *results
	Grid     *gridTable
	Change   []setting
	Data     []dataRow
	Model    []setting
	Settings []setting
	Machine  []setting
}

// HTML is the report as one self-contained page: no request leaves it, it reads without scripts, prints, and follows the
// reader's light or dark setting. With scripts a slider walks along alpha; "#alpha=0.5" in the address starts it there.
// Every name from the run is escaped, and the page's content policy admits no script but its own.
func HTML(run *Run) ([]byte, error) {
	pts := run.points()
	p := &page{
		Policy: policy(pageCSS, pageJS), CSS: template.CSS(pageCSS), JS: template.JS(pageJS),
		Title: run.title(), Kicker: run.kicker(), Why: run.Why, Split: capital(splitOf(pts)),
		Corner:   at(pts, 0) >= 0 && at(pts, 1) >= 0 && len(run.Support) > 0 && len(run.Patching) > 0,
		Headline: run.headlines(), Explore: run.explore(pts), Results: run.results(), Grid: run.gridTable(pts),
		Change: run.changeFacts(), Data: run.dataRows(), Model: run.modelFacts(), Settings: run.settings(),
		Machine: run.machineFacts(), Command: run.Command, Footer: run.footer(),
	}
	// These pictures are this package's own markup with every string in them escaped.
	p.Frontier = template.HTML(frontierSVG(run, wide, frame{id: "f-wide", class: "wide"}))
	p.FrontierNarrow = template.HTML(frontierSVG(run, narrow, frame{id: "f-narrow", class: "narrow"}))
	p.Alpha = template.HTML(alphaSVG(run, wide, frame{id: "a-wide", class: "wide"}))
	p.AlphaNarrow = template.HTML(alphaSVG(run, narrow, frame{id: "a-narrow", class: "narrow"}))
	p.Contents = []link{{"frontier", "Frontier"}, {"alpha", "Alpha"}}
	if p.Results != nil {
		p.Contents = append(p.Contents, link{"results", "Results"})
	}
	if p.Grid != nil {
		p.Contents = append(p.Contents, link{"grid", "Every alpha"})
	}
	if n := len(run.Training); n > 0 {
		p.Loss = template.HTML(lossSVG(run, wide, frame{id: "l-wide", class: "wide"}))
		p.LossNarrow = template.HTML(lossSVG(run, narrow, frame{id: "l-narrow", class: "narrow"}))
		last := run.Training[n-1]
		p.LossCaption = fmt.Sprintf("Training loss, %s logged steps; the last is step %s with loss %.3g.", grouped(n), grouped(last.Step), last.Loss)
	}
	if p.Loss != "" || p.Change != nil {
		p.Contents = append(p.Contents, link{"training", "Fine-tuning"})
	}
	if p.Data != nil {
		p.Contents = append(p.Contents, link{"data", "Data"})
	}
	p.Contents = append(p.Contents, link{"configuration", "Configuration"}, link{"machine", "Machine"})
	if p.Command != "" {
		p.Contents = append(p.Contents, link{"reproduce", "Run it again"})
	}
	var buf bytes.Buffer
	if err := pageTemplate.Execute(&buf, p); err != nil {
		return nil, fmt.Errorf("writing report.html: %w", err)
	}
	return buf.Bytes(), nil
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func (run *Run) kicker() string {
	parts := []string{"paint " + orMissing(run.Version), orMissing(run.Kind)}
	if t := date(run.Started); t != "" {
		parts = append(parts, t)
	}
	return strings.Join(parts, "  ·  ")
}

func orMissing(s string) string {
	if s == "" {
		return missing
	}
	return s
}

// date is the day of an RFC 3339 time in words, or the text as it is.
func date(s string) string {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.Format("2 January 2006")
	}
	return s
}

func (run *Run) headlines() []headline {
	s := run.summary()
	if len(s.Lines) == 0 {
		return nil
	}
	zs, _ := s.line("zero_shot")
	pt, patched := s.line("patched")
	ft, tuned := s.line("fine_tuned")
	after := pt
	if !patched {
		after = ft
	}
	make1 := func(class, name string, before, now, tunedOnly, diff stat, n int) headline {
		h := headline{Class: class, Name: name, From: before.num(), To: now.num()}
		if !patched && !tuned {
			h.From, h.To = "", before.num()
		}
		if diff.OK {
			t := signed(diff.V, minus) + " points"
			if diff.CI {
				t += " " + diff.diffCI(minus)
			}
			h.Subs = append(h.Subs, t)
		}
		t := s.Split + " split"
		if n > 0 {
			t += ", n = " + grouped(n)
		}
		h.Subs = append(h.Subs, t)
		if patched && tuned && tunedOnly.OK {
			h.Subs = append(h.Subs, "fine-tuned alone: "+tunedOnly.num())
		}
		return h
	}
	count := func(tasks []string) (n int) {
		for _, t := range tasks {
			n += run.imagesOf(t, s.Split)
		}
		return n
	}
	var out []headline
	if len(run.Patching) > 0 {
		name := "Patching: " + run.patchingName()
		if len(run.Patching) > 1 {
			name = capital(run.patchingName())
		}
		out = append(out, make1("p", name, zs.Patching, after.Patching, ft.Patching, s.DiffPatch, count(run.Patching)))
	}
	if len(run.Support) > 0 {
		name := "Supported: " + run.supportedName()
		if len(run.Support) > 1 {
			name = capital(run.supportedName())
		}
		out = append(out, make1("s", name, zs.Supported, after.Supported, ft.Supported, s.DiffSupport, count(run.Support)))
	}
	a := headline{Class: "a", Name: "Alpha", To: missing, Subs: []string{"none chosen"}}
	if run.Alpha != nil {
		a.To = run.alphaText(*run.Alpha)
		a.Subs = []string{"chosen on validation"}
		if run.Rule != "" {
			a.Subs = []string{"rule " + run.Rule, "chosen on validation"}
		}
	}
	return append(out, a)
}

// explore is the slider and its table; nil without a curve.
func (run *Run) explore(pts []Point) *explore {
	if len(pts) == 0 {
		return nil
	}
	start := run.chosen(pts)
	if start < 0 {
		start = 0
	}
	zs := at(pts, 0)
	base, versus := zs, "Against zero-shot"
	if zs < 0 {
		base, versus = 0, "Against alpha "+run.alphaText(pts[0].Alpha)
	}
	e := &explore{Alpha: run.alphaText(pts[start].Alpha), Split: splitOf(pts), Versus: versus, Max: len(pts) - 1, Start: start}
	type item struct {
		row tableRow
		v   func(Point) stat
	}
	var items []item
	for _, name := range run.names() {
		class := ""
		if run.role(name) == "patching" {
			class = "p"
		}
		items = append(items, item{tableRow{Class: class, Name: name, Kind: run.role(name)}, func(p Point) stat {
			a, ok := p.Accuracy[name]
			return statOf(a, ok)
		}})
	}
	if len(run.Patching) > 1 {
		items = append(items, item{tableRow{Class: "mean p", Name: "Patching mean"}, func(p Point) stat { return stat{V: p.Patching, OK: true} }})
	}
	if len(run.Support) > 1 {
		items = append(items, item{tableRow{Class: "mean", Name: "Supported mean"}, func(p Point) stat { return stat{V: p.Supported, OK: true} }})
	}
	for i, p := range pts {
		row := curveRow{Alpha: run.alphaText(p.Alpha), Cells: []string{run.alphaText(p.Alpha)}}
		var says []string
		if len(run.Patching) > 0 {
			says = append(says, "patching "+pct(p.Patching)+" %")
		}
		if len(run.Support) > 0 {
			says = append(says, "supported "+pct(p.Supported)+" %")
		}
		row.Says = strings.Join(says, ", ")
		for _, it := range items {
			v, b := it.v(p), it.v(pts[base])
			d := stat{V: v.V - b.V, OK: v.OK && b.OK}
			row.Cells = append(row.Cells, v.num(), d.diffNum(minus))
			if i == start {
				it.row.Value, it.row.Diff = v.num(), d.diffNum(minus)
				e.Rows = append(e.Rows, it.row)
			}
		}
		e.Data = append(e.Data, row)
	}
	return e
}

func (run *Run) results() *results {
	s := run.summary()
	if len(s.Lines) == 0 {
		return nil
	}
	r := &results{Split: s.Split, Lead: "These images took no part in training or in the choice of alpha; they were scored for the two ends and the chosen alpha only."}
	if s.Split != "test" {
		r.Lead = "This run has no test results. Alpha was chosen on these images, so the figures of the chosen alpha lean to the good side."
	}
	if n := len(run.Patching); n > 0 && n <= maxTaskColumns {
		r.Columns = append(r.Columns, run.Patching...)
	}
	if len(run.Patching) > 1 {
		r.Columns = append(r.Columns, "Patching mean")
	}
	if len(run.Support) > 0 {
		r.Columns = append(r.Columns, capitalMean(run.supportedName(), len(run.Support)))
	}
	for _, l := range s.Lines {
		row := tableRow{Name: capital(l.Label)}
		if n := len(run.Patching); n > 0 && n <= maxTaskColumns {
			for _, name := range run.Patching {
				row.Cells = append(row.Cells, cellOf(l.Tasks[name]))
			}
		}
		if len(run.Patching) > 1 {
			row.Cells = append(row.Cells, cellOf(l.Patching))
		}
		if len(run.Support) > 0 {
			row.Cells = append(row.Cells, cellOf(l.Supported))
		}
		r.Summary = append(r.Summary, row)
	}
	r.Stack = len(r.Columns) > 2
	zs, hasZS := s.line("zero_shot")
	pt, hasPT := s.line("patched")
	r.TaskColumns = []string{"Images"}
	r.TaskCaption = "Top-1 accuracy in percent with 95 % intervals"
	for _, l := range s.Lines {
		r.TaskColumns = append(r.TaskColumns, capital(strings.SplitN(l.Label, " (", 2)[0]))
	}
	if hasZS && hasPT {
		r.TaskColumns = append(r.TaskColumns, "Change")
		r.Bars = true
		r.TaskCaption += "; the change is patched minus zero-shot in points, paired by image"
	}
	for _, name := range run.names() {
		row := tableRow{Name: name}
		if run.role(name) == "patching" {
			row.Class = "p"
		}
		n := missing
		if v := run.imagesOf(name, s.Split); v > 0 {
			n = grouped(v)
		}
		row.Cells = append(row.Cells, numCI{Num: n})
		for _, l := range s.Lines {
			row.Cells = append(row.Cells, cellOf(l.Tasks[name]))
		}
		if r.Bars {
			d := s.Diff[name]
			row.Cells = append(row.Cells, numCI{d.diffNum(minus), d.diffCI(minus)})
			row.Bar = template.HTML(bar(zs.Tasks[name], pt.Tasks[name], run.role(name)))
		}
		r.Tasks = append(r.Tasks, row)
	}
	return r
}

func capitalMean(name string, n int) string {
	if n == 1 {
		return name
	}
	return capital(name)
}

func cellOf(s stat) numCI { return numCI{s.num(), s.ci()} }

// bar is a small picture for a table row: from the hollow mark (zero-shot) to the full one (patched) on a scale from 0 to
// 100. The numbers beside it say the same, so it is hidden from screen readers.
func bar(a, b stat, role string) string {
	if !a.OK || !b.OK {
		return ""
	}
	c := &canvas{}
	x := func(v float64) float64 { return 5 + 90*v }
	line, dot := "s-mean", "s-dot"
	switch role {
	case "patching":
		line, dot = "p-mean", "p-dot"
	case "other":
		line, dot = "curve", "dot"
	}
	fmt.Fprintf(&c.buf, `<line class="bar-base" stroke="#dedbd3" x1="5" x2="95" y1="7" y2="7"/>`)
	c.line(line, x(a.V), 7, x(b.V), 7)
	c.circle("end", x(a.V), 7, 3)
	c.circle(dot, x(b.V), 7, 3.5)
	return `<svg width="100" height="14" viewBox="0 0 100 14" aria-hidden="true">` + strings.ReplaceAll(c.buf.String(), "\n", "") + `</svg>`
}

func (run *Run) gridTable(pts []Point) *gridTable {
	if len(pts) == 0 {
		return nil
	}
	g := &gridTable{Split: splitOf(pts), Chosen: run.chosen(pts) >= 0}
	if len(run.Patching) > 1 {
		g.Columns = append(g.Columns, "Patching mean")
	}
	if len(run.Support) > 1 {
		g.Columns = append(g.Columns, "Supported mean")
	}
	names := run.names()
	g.Columns = append(g.Columns, names...)
	for i, p := range pts {
		row := tableRow{Name: run.alphaText(p.Alpha)}
		if i == run.chosen(pts) {
			row.Class = "chosen"
		}
		if len(run.Patching) > 1 {
			row.Values = append(row.Values, pct(p.Patching))
		}
		if len(run.Support) > 1 {
			row.Values = append(row.Values, pct(p.Supported))
		}
		for _, name := range names {
			a, ok := p.Accuracy[name]
			row.Values = append(row.Values, statOf(a, ok).num())
		}
		g.Rows = append(g.Rows, row)
	}
	return g
}

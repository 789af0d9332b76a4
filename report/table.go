package report

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Table writes the result for a terminal: zero-shot, patched and fine-tuned over the patching tasks and the supported
// mean; then every task with its paired difference; then why this alpha. Percent with one decimal and 95 % intervals.
// Plain text without colour; names from outside cannot move the cursor.
func Table(w io.Writer, run *Run) error {
	var buf bytes.Buffer
	s := run.summary()
	fmt.Fprintf(&buf, "%s\n", clean(run.title()))
	if len(s.Lines) == 0 {
		buf.WriteString("No results in this run.\n")
	} else {
		fmt.Fprintf(&buf, "Top-1 accuracy in percent, %s split, [95 %% interval]\n\n", s.Split)
		run.summaryGrid(s).write(&buf)
		buf.WriteString("\n")
		run.taskGrid(s).write(&buf)
	}
	if run.Why != "" {
		fmt.Fprintf(&buf, "\n%s\n", clean(run.Why))
	}
	if _, err := w.Write(buf.Bytes()); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	return nil
}

// maxTaskColumns is how many patching tasks get a column of their own in the summary.
const maxTaskColumns = 3

func (run *Run) summaryGrid(s summary) grid {
	g := grid{head: []cell{{}}}
	if n := len(run.Patching); n > 0 && n <= maxTaskColumns {
		for _, name := range run.Patching {
			g.head = append(g.head, cell{text: name})
		}
	}
	if len(run.Patching) > 1 {
		g.head = append(g.head, cell{text: "patching mean"})
	}
	if n := len(run.Support); n == 1 {
		g.head = append(g.head, cell{text: run.Support[0]})
	} else if n > 1 {
		g.head = append(g.head, cell{text: fmt.Sprintf("supported mean (%d tasks)", n)})
	}
	for _, l := range s.Lines {
		row := []cell{{text: l.Label}}
		if n := len(run.Patching); n > 0 && n <= maxTaskColumns {
			for _, name := range run.Patching {
				row = append(row, statCell(l.Tasks[name]))
			}
		}
		if len(run.Patching) > 1 {
			row = append(row, statCell(l.Patching))
		}
		if len(run.Support) > 0 {
			row = append(row, statCell(l.Supported))
		}
		g.rows = append(g.rows, row)
	}
	return g
}

func (run *Run) taskGrid(s summary) grid {
	g := grid{head: []cell{{text: "task"}, {text: "kind"}, {text: "n", right: true}}}
	zs, hasZS := s.line("zero_shot")
	pt, hasPT := s.line("patched")
	ft, hasFT := s.line("fine_tuned")
	if hasZS {
		g.head = append(g.head, cell{text: "zero-shot"})
	}
	if hasPT {
		g.head = append(g.head, cell{text: "patched"})
	} else if hasFT {
		g.head = append(g.head, cell{text: "fine-tuned"})
	}
	if hasZS && hasPT {
		g.head = append(g.head, cell{text: "difference"})
	}
	for _, name := range run.names() {
		n := missing
		if v := run.imagesOf(name, s.Split); v > 0 {
			n = strconv.Itoa(v)
		}
		row := []cell{{text: name}, {text: run.role(name)}, {text: n, right: true}}
		if hasZS {
			row = append(row, statCell(zs.Tasks[name]))
		}
		if hasPT {
			row = append(row, statCell(pt.Tasks[name]))
		} else if hasFT {
			row = append(row, statCell(ft.Tasks[name]))
		}
		if hasZS && hasPT {
			d := s.Diff[name]
			row = append(row, cell{num: d.diffNum("-"), ci: d.diffCI("-")})
		}
		g.rows = append(g.rows, row)
	}
	return g
}

// imagesOf is how many images of task were scored on split.
func (run *Run) imagesOf(task, split string) int {
	if split == "test" {
		for _, m := range []map[string]Accuracy{run.Final.ZeroShot, run.Final.Patched, run.Final.FineTuned} {
			if a, ok := m[task]; ok && a.N > 0 {
				return a.N
			}
		}
	} else {
		for _, p := range run.Curve {
			if a, ok := p.Accuracy[task]; ok && a.N > 0 {
				return a.N
			}
		}
	}
	return run.Tasks[task].N[split]
}

// cell is text, or a number and its interval, which line up separately.
type cell struct {
	text    string
	right   bool
	num, ci string
}

func statCell(s stat) cell { return cell{num: s.num(), ci: s.ci()} }

type grid struct {
	head []cell
	rows [][]cell
}

// gap is the space between columns.
const gap = "   "

func (g grid) write(buf *bytes.Buffer) {
	widths := make([]int, len(g.head))
	nums, cis := make([]int, len(g.head)), make([]int, len(g.head))
	for _, row := range g.rows {
		for i, c := range row {
			nums[i], cis[i] = max(nums[i], columns(c.num)), max(cis[i], columns(c.ci))
		}
	}
	render := func(i int, c cell) string {
		switch {
		case c.num == "" && c.ci == "":
			return clean(c.text)
		case cis[i] == 0:
			return pad(c.num, nums[i], true)
		}
		return pad(c.num, nums[i], true) + " " + pad(c.ci, cis[i], false)
	}
	all := append([][]cell{g.head}, g.rows...)
	for _, row := range all {
		for i, c := range row {
			widths[i] = max(widths[i], columns(render(i, c)))
		}
	}
	for r, row := range all {
		var b strings.Builder
		for i, c := range row {
			if i > 0 {
				b.WriteString(gap)
			}
			b.WriteString(pad(render(i, c), widths[i], c.right))
		}
		buf.WriteString(strings.TrimRight(b.String(), " "))
		buf.WriteByte('\n')
		if r == 0 {
			for i, w := range widths {
				if i > 0 {
					buf.WriteString(gap)
				}
				buf.WriteString(strings.Repeat("-", w))
			}
			buf.WriteByte('\n')
		}
	}
}

func pad(s string, n int, right bool) string {
	fill := strings.Repeat(" ", max(0, n-columns(s)))
	if right {
		return fill + s
	}
	return s + fill
}

// columns is how many terminal columns s takes: East Asian wide characters take two, combining marks none.
func columns(s string) int {
	n := 0
	for _, r := range s {
		if unicode.In(r, unicode.Mn, unicode.Me) {
			continue
		}
		switch width.LookupRune(r).Kind() {
		case width.EastAsianWide, width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}

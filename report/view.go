package report

import (
	"encoding/json"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"unicode"
)

// Everything below derives from a Run what the table, the card, the pictures and the page all show, so that they cannot
// disagree.

// names lists the tasks: patching, supported, then any other that was measured, by name.
func (run *Run) names() []string {
	seen := make(map[string]bool)
	var names []string
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	for _, n := range run.Patching {
		add(n)
	}
	for _, n := range run.Support {
		add(n)
	}
	others := make(map[string]bool)
	for _, p := range run.Curve {
		for n := range p.Accuracy {
			others[n] = true
		}
	}
	for _, m := range []map[string]Accuracy{run.Final.ZeroShot, run.Final.FineTuned, run.Final.Patched} {
		for n := range m {
			others[n] = true
		}
	}
	for _, n := range sortedKeys(others) {
		add(n)
	}
	return names
}

// role is "patching", "supported" or "other".
func (run *Run) role(name string) string {
	for _, n := range run.Patching {
		if n == name {
			return "patching"
		}
	}
	for _, n := range run.Support {
		if n == name {
			return "supported"
		}
	}
	return "other"
}

// points is the curve by ascending alpha; the record itself is left as it is.
func (run *Run) points() []Point {
	pts := append([]Point(nil), run.Curve...)
	sort.SliceStable(pts, func(i, j int) bool { return pts[i].Alpha < pts[j].Alpha })
	return pts
}

// at is the index in pts of alpha, or -1. Grids are computed, so equality is up to rounding.
func at(pts []Point, alpha float64) int {
	for i, p := range pts {
		if math.Abs(p.Alpha-alpha) < 1e-9 {
			return i
		}
	}
	return -1
}

// chosen is the index in pts of the run's alpha, or -1.
func (run *Run) chosen(pts []Point) int {
	if run.Alpha == nil {
		return -1
	}
	return at(pts, *run.Alpha)
}

// stat is a value with an interval, either of which may be missing.
type stat struct {
	V, Lo, Hi float64
	OK, CI    bool
}

func statOf(a Accuracy, ok bool) stat {
	return stat{V: a.Top1, Lo: a.CI95[0], Hi: a.CI95[1], OK: ok, CI: ok && a.CI95 != [2]float64{}}
}

func statOfDiff(d Difference, ok bool) stat {
	return stat{V: d.Value, Lo: d.CI95[0], Hi: d.CI95[1], OK: ok, CI: ok && (d.CI95 != [2]float64{} || d.Value == 0)}
}

// line is one model state (zero-shot, patched, fine-tuned) in the summary.
type line struct {
	Key, Label string
	Tasks      map[string]stat
	Patching   stat // mean over the patching tasks
	Supported  stat // mean over the supported tasks
}

// summary is the ends and the chosen alpha on one split: test where the run has it, otherwise validation.
type summary struct {
	Split string
	Lines []line
	// Diff is patched minus zero-shot by task; the means are under meanPatching and meanSupported. Empty without a
	// chosen alpha.
	Diff                   map[string]stat
	DiffPatch, DiffSupport stat
}

func (s summary) line(key string) (line, bool) {
	for _, l := range s.Lines {
		if l.Key == key {
			return l, true
		}
	}
	return line{}, false
}

// mean averages what is known of tasks; an interval is only taken over when there is a single task, whose interval it is.
func mean(tasks []string, m map[string]stat) stat {
	if len(tasks) == 0 {
		return stat{}
	}
	if len(tasks) == 1 {
		return m[tasks[0]]
	}
	var sum float64
	for _, t := range tasks {
		s, ok := m[t]
		if !ok || !s.OK {
			return stat{}
		}
		sum += s.V
	}
	return stat{V: sum / float64(len(tasks)), OK: true}
}

func (run *Run) summary() summary {
	patchedLabel := "patched"
	if run.Alpha != nil {
		patchedLabel = "patched (alpha " + run.alphaText(*run.Alpha) + ")"
	}
	f := run.Final
	if len(f.ZeroShot)+len(f.FineTuned)+len(f.Patched) > 0 {
		s := summary{Split: "test", Diff: make(map[string]stat)}
		mp, okp := f.Means["patching"]
		ms, oks := f.Means["supported"]
		for _, c := range []struct {
			key, label string
			m          map[string]Accuracy
			p, s       Accuracy
		}{
			{"zero_shot", "zero-shot", f.ZeroShot, mp.ZeroShot, ms.ZeroShot},
			{"patched", patchedLabel, f.Patched, mp.Patched, ms.Patched},
			{"fine_tuned", "fine-tuned", f.FineTuned, mp.FineTuned, ms.FineTuned},
		} {
			if len(c.m) == 0 {
				continue
			}
			l := line{Key: c.key, Label: c.label, Tasks: make(map[string]stat)}
			for name, a := range c.m {
				l.Tasks[name] = statOf(a, true)
			}
			l.Patching, l.Supported = mean(run.Patching, l.Tasks), mean(run.Support, l.Tasks)
			if okp && c.p != (Accuracy{}) {
				l.Patching = statOf(c.p, true)
			}
			if oks && c.s != (Accuracy{}) {
				l.Supported = statOf(c.s, true)
			}
			s.Lines = append(s.Lines, l)
		}
		for name, d := range f.Difference {
			s.Diff[name] = statOfDiff(d, true)
		}
		if _, ok := s.line("patched"); ok {
			if okp {
				s.DiffPatch = statOfDiff(mp.Difference, true)
			}
			if oks {
				s.DiffSupport = statOfDiff(ms.Difference, true)
			}
		}
		s.fillDiff(run)
		return s
	}
	s := summary{Split: "validation", Diff: make(map[string]stat)}
	pts := run.points()
	for _, c := range []struct {
		key, label string
		i          int
	}{{"zero_shot", "zero-shot", at(pts, 0)}, {"patched", patchedLabel, run.chosen(pts)}, {"fine_tuned", "fine-tuned", at(pts, 1)}} {
		if c.i < 0 {
			continue
		}
		p := pts[c.i]
		l := line{Key: c.key, Label: c.label, Tasks: make(map[string]stat)}
		for name, a := range p.Accuracy {
			l.Tasks[name] = statOf(a, true)
		}
		l.Patching, l.Supported = mean(run.Patching, l.Tasks), mean(run.Support, l.Tasks)
		if len(run.Patching) > 1 || (len(run.Patching) == 1 && !l.Patching.OK) {
			l.Patching = stat{V: p.Patching, OK: true}
		}
		if len(run.Support) > 1 || (len(run.Support) == 1 && !l.Supported.OK) {
			l.Supported = stat{V: p.Supported, OK: true}
		}
		s.Lines = append(s.Lines, l)
	}
	s.fillDiff(run)
	return s
}

// fillDiff adds differences, without intervals, where the run records none.
func (s *summary) fillDiff(run *Run) {
	zs, ok1 := s.line("zero_shot")
	pt, ok2 := s.line("patched")
	if !ok1 || !ok2 {
		return
	}
	sub := func(a, b stat) stat { return stat{V: a.V - b.V, OK: a.OK && b.OK} }
	for _, name := range run.names() {
		if d, ok := s.Diff[name]; !ok || !d.OK {
			s.Diff[name] = sub(pt.Tasks[name], zs.Tasks[name])
		}
	}
	if !s.DiffPatch.OK {
		s.DiffPatch = sub(pt.Patching, zs.Patching)
		if len(run.Patching) == 1 {
			s.DiffPatch = s.Diff[run.Patching[0]]
		}
	}
	if !s.DiffSupport.OK {
		s.DiffSupport = sub(pt.Supported, zs.Supported)
		if len(run.Support) == 1 {
			s.DiffSupport = s.Diff[run.Support[0]]
		}
	}
}

// pct is a fraction as a percentage with one decimal and never "-0.0".
func pct(v float64) string {
	s := strconv.FormatFloat(100*v, 'f', 1, 64)
	if s == "-0.0" {
		return "0.0"
	}
	return s
}

const (
	minus   = "\u2212"
	missing = "\u2013"
)

// signed is a difference in points, "+3.0" or "-0.4", with sign as the minus sign.
func signed(v float64, sign string) string {
	s := pct(v)
	switch {
	case s == "0.0":
		return s
	case s[0] == '-':
		return sign + s[1:]
	}
	return "+" + s
}

func (s stat) num() string {
	if !s.OK {
		return missing
	}
	return pct(s.V)
}

func (s stat) ci() string {
	if !s.CI {
		return ""
	}
	return "[" + pct(s.Lo) + ", " + pct(s.Hi) + "]"
}

func (s stat) diffNum(sign string) string {
	if !s.OK {
		return missing
	}
	return signed(s.V, sign)
}

func (s stat) diffCI(sign string) string {
	if !s.CI {
		return ""
	}
	return "[" + signed(s.Lo, sign) + ", " + signed(s.Hi, sign) + "]"
}

// alphaText writes alpha with as many decimals as the grid needs, two to four, so that the alphas of a run line up.
func (run *Run) alphaText(alpha float64) string {
	decimals := 2
	for _, p := range run.Curve {
		for decimals < 4 && math.Abs(p.Alpha*math.Pow10(decimals)-math.Round(p.Alpha*math.Pow10(decimals))) > 1e-6 {
			decimals++
		}
	}
	for decimals < 4 && math.Abs(alpha*math.Pow10(decimals)-math.Round(alpha*math.Pow10(decimals))) > 1e-6 {
		decimals++
	}
	return strconv.FormatFloat(alpha, 'f', decimals, 64)
}

// list joins names for a sentence and stops after limit of them.
func list(names []string, limit int) string {
	switch {
	case len(names) == 0:
		return "no task"
	case len(names) == 1:
		return names[0]
	case len(names) > limit:
		return strings.Join(names[:limit-1], ", ") + fmt.Sprintf(" and %d more tasks", len(names)-limit+1)
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// title names the run: "ViT-B-32 patched on mnist".
func (run *Run) title() string {
	model := strings.TrimPrefix(run.Model.Name, "hf-hub:")
	if model == "" {
		model = "Model"
	}
	if run.Kind == "sweep" && run.Alpha == nil {
		return model + ", a sweep of alpha on " + list(run.Patching, 4)
	}
	return model + " patched on " + list(run.Patching, 4)
}

// supportedName is the heading of the supported mean: the task's own name where there is one.
func (run *Run) supportedName() string {
	switch n := len(run.Support); n {
	case 0:
		return "supported"
	case 1:
		return run.Support[0]
	default:
		return fmt.Sprintf("mean of %d supported tasks", n)
	}
}

func (run *Run) patchingName() string {
	switch n := len(run.Patching); n {
	case 0:
		return "patching"
	case 1:
		return run.Patching[0]
	default:
		return fmt.Sprintf("mean of %d patching tasks", n)
	}
}

// setting is one configuration value.
type setting struct{ Key, Value string }

// settings flattens the configuration: nested keys are joined by dots, values are JSON.
func (run *Run) settings() []setting {
	var out []setting
	var walk func(prefix string, v any)
	walk = func(prefix string, v any) {
		if m, ok := v.(map[string]any); ok && len(m) > 0 {
			for _, k := range sortedKeys(m) {
				key := k
				if prefix != "" {
					key = prefix + "." + k
				}
				walk(key, m[k])
			}
			return
		}
		out = append(out, setting{prefix, valueText(v)})
	}
	if len(run.Config) > 0 {
		walk("", run.Config)
	}
	return out
}

func valueText(v any) string {
	switch x := v.(type) {
	case string:
		return x
	case []any:
		parts := make([]string, len(x))
		for i, e := range x {
			parts[i] = valueText(e)
		}
		return strings.Join(parts, ", ")
	}
	b, err := json.Marshal(v)
	if err != nil { // a value that came from JSON has one; a caller's own may not
		return fmt.Sprint(v)
	}
	return string(b)
}

// clean makes a string from outside safe for a terminal line: control and format characters, which could move the
// cursor or turn the text around, become U+FFFD.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// seconds is a duration for people.
func seconds(s float64) string {
	switch {
	case s < 0 || !finite(s):
		return missing
	case s < 1:
		return fmt.Sprintf("%.0f ms", 1000*s)
	case s < 60:
		return fmt.Sprintf("%.1f s", s)
	case s < 3600:
		t := int(math.Round(s))
		return fmt.Sprintf("%d min %02d s", t/60, t%60)
	}
	t := int(math.Round(s / 60))
	return fmt.Sprintf("%d h %02d min", t/60, t%60)
}

func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d bytes", n)
}

// grouped writes an integer with thin groups of thousands: "151,277,313".
func grouped(n int) string {
	s := strconv.Itoa(n)
	neg := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	if neg {
		return "-" + s
	}
	return s
}

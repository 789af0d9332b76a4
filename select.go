package paint

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// maxAlphas bounds a grid.
const maxAlphas = 10001

// Alphas parses a grid: "first:last:step", both ends included ("0:1:0.05"), or a list ("0,0.1,0.5"). The values are
// decimal steps, rounded to nine digits, ascending and distinct, each in [0, 1]. The grid is what was asked for: the
// rule max-drop needs the point at alpha 0, so a grid for it must hold 0.
func Alphas(spec string) ([]float64, error) {
	fail := func(format string, args ...any) ([]float64, error) {
		return nil, fmt.Errorf("parsing alphas %q: %s", spec, fmt.Sprintf(format, args...))
	}
	var out []float64
	if fields := strings.Split(spec, ":"); len(fields) == 3 {
		var v [3]float64
		for i, f := range fields {
			x, err := strconv.ParseFloat(strings.TrimSpace(f), 64)
			if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
				return fail("%q is no number", f)
			}
			v[i] = x
		}
		first, last, step := v[0], v[1], v[2]
		if step <= 0 || last < first {
			return fail("want first:last:step with first <= last and step > 0")
		}
		n := math.Floor((last-first)/step + 1e-9)
		if n >= maxAlphas {
			return fail("%g values, at most %d", n+1, maxAlphas)
		}
		for i := range int(n) + 1 {
			out = append(out, first+float64(i)*step)
		}
		if !same(out[len(out)-1], last) {
			out = append(out, last)
		}
	} else if len(fields) == 1 {
		for _, f := range strings.Split(spec, ",") {
			x, err := strconv.ParseFloat(strings.TrimSpace(f), 64)
			if err != nil {
				return fail("%q is no number", f)
			}
			out = append(out, x)
		}
		if len(out) > maxAlphas {
			return fail("%d values, at most %d", len(out), maxAlphas)
		}
	} else {
		return fail("want first:last:step or a list")
	}
	for i, a := range out {
		out[i] = math.Round(a*1e9) / 1e9
		if !(out[i] >= 0 && out[i] <= 1) {
			return fail("%g is not in 0 to 1", a)
		}
		if i > 0 && out[i] <= out[i-1] {
			return fail("%g comes after %g, want ascending values", out[i], out[i-1])
		}
	}
	return out, nil
}

// Rule says how alpha is chosen. The zero value is not a rule.
type Rule struct {
	kind string  // "mean" or "max-drop"
	drop float64 // percentage points
}

// ParseRule parses "mean" or "max-drop=X", X in percentage points.
//
//   - mean: the best mean of the patching tasks' and the supported tasks' mean accuracy. The paper takes the mean over
//     supported and patching tasks; that each kind weighs half, however many tasks it has, is this package's reading.
//   - max-drop=X: the best patching accuracy among the alphas whose mean supported accuracy is at most X points below
//     that of alpha 0.
func ParseRule(s string) (Rule, error) {
	if s == "mean" {
		return Rule{kind: "mean"}, nil
	}
	if v, ok := strings.CutPrefix(s, "max-drop="); ok {
		x, err := strconv.ParseFloat(v, 64)
		if err != nil || !(x >= 0 && x <= 100) {
			return Rule{}, fmt.Errorf("parsing rule %q: %q is no number of points from 0 to 100", s, v)
		}
		return Rule{"max-drop", x}, nil
	}
	return Rule{}, fmt.Errorf("parsing rule %q: want mean or max-drop=X", s)
}

// String is what ParseRule reads.
func (r Rule) String() string {
	if r.kind == "max-drop" {
		x := strconv.FormatFloat(r.drop, 'f', -1, 64)
		if !strings.Contains(x, ".") {
			x += ".0"
		}
		return "max-drop=" + x
	}
	return r.kind
}

// Choice is the point that a rule chose.
type Choice struct {
	Index int
	Alpha float64
	Why   string // one sentence with the figures
}

// ErrTestSplit is wrapped by Select's error for points that were measured on test data.
var ErrTestSplit = errors.New("alpha is never chosen on test data")

// Select applies the rule. Of equal points the one with the smaller alpha wins. Points of the test split, accuracies
// outside [0, 1], points of different tasks or splits, and max-drop without a point at alpha 0 are errors.
func Select(points []Point, rule Rule) (Choice, error) {
	if len(points) == 0 {
		return Choice{}, errors.New("selecting alpha: no points")
	}
	zero := -1
	for i, p := range points {
		if p.Split == "test" {
			return Choice{}, fmt.Errorf("selecting alpha: point at alpha %g is of the test split: %w", p.Alpha, ErrTestSplit)
		}
		if err := p.check(points[0]); err != nil {
			return Choice{}, fmt.Errorf("selecting alpha: %w", err)
		}
		if same(p.Alpha, 0) {
			zero = i
		}
	}
	if rule.kind == "max-drop" && zero < 0 && len(points[0].Supported) > 0 {
		return Choice{}, fmt.Errorf("selecting alpha: rule %v needs the point at alpha 0", rule)
	}
	score := func(p Point) float64 {
		if rule.kind == "mean" && len(p.Supported) > 0 {
			return (p.PatchingMean() + p.SupportedMean()) / 2
		}
		return p.PatchingMean()
	}
	allowed := func(p Point) bool {
		if rule.kind != "max-drop" || len(p.Supported) == 0 {
			return true
		}
		// The tolerance keeps a drop that is X up to rounding.
		return 100*(points[zero].SupportedMean()-p.SupportedMean()) <= rule.drop+1e-9
	}
	switch rule.kind {
	case "mean", "max-drop":
	default:
		return Choice{}, errors.New("selecting alpha: no rule given")
	}
	best := -1
	for i, p := range points {
		if !allowed(p) {
			continue
		}
		if best < 0 || score(p) > score(points[best])+1e-12 || score(p) > score(points[best])-1e-12 && p.Alpha < points[best].Alpha {
			best = i
		}
	}
	c := Choice{Index: best, Alpha: points[best].Alpha}
	c.Why = why(points, best, zero, rule)
	return c, nil
}

// check refuses points that cannot be compared with the first: other tasks, another split, accuracies that are none.
func (p Point) check(first Point) error {
	switch {
	case math.IsNaN(p.Alpha) || math.IsInf(p.Alpha, 0):
		return fmt.Errorf("a point has alpha %g", p.Alpha)
	case len(p.Patching) == 0:
		return fmt.Errorf("no patching accuracy at alpha %g", p.Alpha)
	case p.Split != first.Split:
		return fmt.Errorf("point at alpha %g is of the split %q, that at alpha %g of %q", p.Alpha, p.Split, first.Alpha, first.Split)
	}
	for _, kind := range []struct {
		name       string
		got, first map[string]float64
	}{{"patching", p.Patching, first.Patching}, {"supported", p.Supported, first.Supported}} {
		for _, task := range slices.Sorted(maps.Keys(kind.got)) {
			if _, ok := kind.first[task]; !ok {
				return fmt.Errorf("%s task %q is at alpha %g, not at alpha %g", kind.name, task, p.Alpha, first.Alpha)
			}
			if a := kind.got[task]; !(a >= 0 && a <= 1) {
				return fmt.Errorf("%s task %q at alpha %g has accuracy %g, want a fraction", kind.name, task, p.Alpha, a)
			}
		}
		for _, task := range slices.Sorted(maps.Keys(kind.first)) {
			if _, ok := kind.got[task]; !ok {
				return fmt.Errorf("%s task %q is at alpha %g, not at alpha %g", kind.name, task, first.Alpha, p.Alpha)
			}
		}
	}
	return nil
}

// alphaText prints an alpha with two decimals, or as many as it has.
func alphaText(a float64) string {
	if s := strconv.FormatFloat(a, 'f', 2, 64); same(a, math.Round(a*100)/100) {
		return s
	}
	return strconv.FormatFloat(a, 'f', -1, 64)
}

func why(points []Point, best, zero int, rule Rule) string {
	p := points[best]
	pct := func(x float64) string { return strconv.FormatFloat(100*x, 'f', 1, 64) + " %" }
	var s strings.Builder
	fmt.Fprintf(&s, "alpha %s: on %s data ", alphaText(p.Alpha), p.Split)
	switch {
	case len(p.Supported) == 0:
		fmt.Fprintf(&s, "it has the best accuracy on the patching task (%s); there is no supported task to keep", pct(p.PatchingMean()))
	case rule.kind == "mean":
		fmt.Fprintf(&s, "it has the best mean (%s) of patching (%s) and supported (%s) accuracy",
			pct((p.PatchingMean()+p.SupportedMean())/2), pct(p.PatchingMean()), pct(p.SupportedMean()))
	default:
		fmt.Fprintf(&s, "it has the best patching accuracy (%s) of the alphas whose mean supported accuracy is at most %g points below %s",
			pct(p.PatchingMean()), rule.drop, pct(points[zero].SupportedMean()))
		if best == zero {
			s.WriteString("; no other alpha kept within it and did better")
		} else {
			fmt.Fprintf(&s, " (it has %s)", pct(p.SupportedMean()))
		}
	}
	fmt.Fprintf(&s, "; %d alphas were tried.", len(points))
	return s.String()
}

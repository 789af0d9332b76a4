package eval

import (
	"math"
	"math/rand/v2"
	"testing"
)

func near(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if math.Abs(got-want) > tol {
		t.Errorf("%s = %.6f, want %.6f", what, got, want)
	}
}

// Values of statsmodels.stats.proportion.proportion_confint(..., method="wilson").
func TestWilson(t *testing.T) {
	for _, c := range []struct{ p, n, lo, hi float64 }{
		{0.5, 10, 0.2365931, 0.7634069},
		{0, 10, 0, 0.2775328},
		{1, 10, 0.7224672, 1},
		{0.4838, 10000, 0.4740139, 0.4935985},
	} {
		ci := Wilson(c.p, c.n)
		near(t, "low", ci[0], c.lo, 1e-6)
		near(t, "high", ci[1], c.hi, 1e-6)
	}
	if ci := Wilson(0, 0); ci != [2]float64{0, 1} {
		t.Errorf("no trials: %v", ci)
	}
}

func idx(n int) []int {
	g := make([]int, n)
	for i := range g {
		g[i] = i
	}
	return g
}

// Without clusters the interval is Wilson's; with k copies of each image it is that of the distinct images.
func TestScoreClusters(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	n := 400
	one := make([]bool, n)
	for i := range one {
		one[i] = rng.Float64() < 0.7
	}
	a := Score(one, idx(n))
	w := Wilson(a.Top1, float64(n))
	near(t, "low", a.CI95[0], w[0], 1e-4)
	var four []bool
	var groups []int
	for i, c := range one {
		four = append(four, c, c, c, c)
		groups = append(groups, i, i, i, i)
	}
	b := Score(four, groups)
	if b.N != 4*n {
		t.Errorf("n = %d", b.N)
	}
	near(t, "low of copies", b.CI95[0], a.CI95[0], 1e-3)
	near(t, "high of copies", b.CI95[1], a.CI95[1], 1e-3)
	naive := Score(four, idx(4*n))
	if w, v := naive.CI95[1]-naive.CI95[0], b.CI95[1]-b.CI95[0]; w > 0.6*v {
		t.Errorf("independent images should narrow the interval: %.4f against %.4f", w, v)
	}
	if a := Score(nil, nil); a.N != 0 || a.CI95 != [2]float64{0, 1} {
		t.Errorf("no images: %+v", a)
	}
}

// The intervals hold the truth about 95 times in 100, with clusters too.
func TestCoverage(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	const rounds, clusters, views = 2000, 150, 4
	hitScore, hitPaired := 0, 0
	for range rounds {
		var a, b []bool
		var g []int
		for c := range clusters {
			p, q := 0.3+0.6*rng.Float64(), 0.0
			q = p + 0.05 // the second classifier is 5 points better in every cluster
			for range views {
				u := rng.Float64()
				a, b, g = append(a, u < p), append(b, u < q), append(g, c)
			}
		}
		s, d := Score(a, g), Paired(a, b, g)
		if s.CI95[0] <= 0.6 && 0.6 <= s.CI95[1] {
			hitScore++
		}
		if d.CI95[0] <= 0.05 && 0.05 <= d.CI95[1] {
			hitPaired++
		}
	}
	near(t, "coverage of Score", float64(hitScore)/rounds, 0.95, 0.02)
	near(t, "coverage of Paired", float64(hitPaired)/rounds, 0.96, 0.03)
}

func TestPairedSign(t *testing.T) {
	a := []bool{true, false, false, false, true, false}
	b := []bool{true, true, true, false, false, true}
	d := Paired(a, b, idx(6))
	near(t, "difference", d.Value, 2.0/6, 1e-12)
	if r := Paired(b, a, idx(6)); math.Abs(r.Value+d.Value) > 1e-12 || math.Abs(r.CI95[0]+d.CI95[1]) > 1e-12 {
		t.Errorf("not antisymmetric: %+v and %+v", d, r)
	}
	if same := Paired(a, a, idx(6)); same.Value != 0 || same.CI95[0] >= 0 || same.CI95[1] <= 0 {
		t.Errorf("equal classifiers: %+v", same)
	}
}

func TestMeans(t *testing.T) {
	a := Score([]bool{true, true, false, false}, idx(4))
	m := MeanAccuracy([]Accuracy{a, a})
	near(t, "mean", m.Top1, 0.5, 1e-12)
	if w, v := m.CI95[1]-m.CI95[0], 2*z*math.Sqrt(a.variance/2); math.Abs(w-v) > 1e-12 {
		t.Errorf("width %g, want %g", w, v)
	}
	if one := MeanAccuracy([]Accuracy{a}); one.CI95 != a.CI95 {
		t.Errorf("mean of one task: %v, want its own interval %v", one.CI95, a.CI95)
	}
}

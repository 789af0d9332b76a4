package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

var rowLengths = []int{1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 50, 64, 77, 100, 192, 257, 768}

// near fails where got is not within tol*(scale+|want|) of want.
func near(t *testing.T, what string, got []float32, want []float64, tol, scale float64) {
	t.Helper()
	for i, w := range want {
		if !(math.Abs(float64(got[i])-w) <= tol*(scale+math.Abs(w))) {
			t.Fatalf("%s: value %d of %d is %v, want %v", what, i, len(want), got[i], w)
		}
	}
}

func wide(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// rowTest runs f for each instruction set and length, with a source of guarded slices.
func rowTest(t *testing.T, f func(t *testing.T, w *Worker, n int, mk func() []float32)) {
	forEach(t, func(t *testing.T, isa ISA) {
		r := rand.New(rand.NewPCG(1, 9))
		w := newPool(t, 1, isa).workers[0]
		for _, n := range rowLengths {
			var checks []func()
			f(t, w, n, func() []float32 {
				x, check := guarded(t, r, "row", n)
				checks = append(checks, check)
				return x
			})
			for _, c := range checks {
				c()
			}
		}
	})
}

func refNorm(x []float32, eps float64) (mean, rstd float64) {
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	s := 0.0
	for _, v := range x {
		d := float64(v) - mean
		s += d * d / float64(len(x))
	}
	return mean, 1 / math.Sqrt(s+eps)
}

func TestLayerNorm(t *testing.T) {
	rowTest(t, func(t *testing.T, w *Worker, n int, mk func() []float32) {
		x, g, b, dst := mk(), mk(), mk(), mk()
		for i := range x {
			x[i] += 3
		}
		m, s := refNorm(x, 1e-5)
		want := make([]float64, n)
		for i, v := range x {
			want[i] = (float64(v)-m)*s*float64(g[i]) + float64(b[i])
		}
		gm, gs := w.LayerNorm(dst, x, g, b, 1e-5)
		near(t, "mean and rstd", []float32{gm, gs}, []float64{m, s}, 2e-6, 0)
		if n > 1 { // one value minus its mean is nothing but rounding, times rstd
			near(t, "LayerNorm", dst, want, 3e-6, 1)
		}
		w.LayerNorm(x, x, g, b, 1e-5)
		if !slices.Equal(x, dst) {
			t.Fatal("in place differs")
		}
	})
}

func TestLayerNormBackward(t *testing.T) {
	rowTest(t, func(t *testing.T, w *Worker, n int, mk func() []float32) {
		x, g, dy, dx, dg, db := mk(), mk(), mk(), mk(), mk(), mk()
		m, s := refNorm(x, 1e-5)
		if n == 1 {
			s = 1
		}
		wx, wg, wb := wide(dx), wide(dg), wide(db)
		var a, b float64
		for i := range x {
			h := (float64(x[i]) - m) * s
			wg[i] += float64(dy[i]) * h
			wb[i] += float64(dy[i])
			d := float64(dy[i]) * float64(g[i])
			a += d / float64(n)
			b += d * h / float64(n)
		}
		for i := range x {
			h := (float64(x[i]) - m) * s
			wx[i] += s * (float64(dy[i])*float64(g[i]) - a - h*b)
		}
		w.LayerNormBackward(dx, dy, x, g, float32(m), float32(s), dg, db)
		near(t, "dx", dx, wx, 3e-6, 1+s)
		near(t, "dgamma", dg, wg, 2e-6, 1)
		near(t, "dbeta", db, wb, 2e-6, 1)
	})
}

func TestSoftmax(t *testing.T) {
	rowTest(t, func(t *testing.T, w *Worker, n int, mk func() []float32) {
		for _, valid := range []int{n, (n + 1) / 2, 1, 0} {
			x := mk()
			m := math.Inf(-1)
			for i := range x {
				x[i] *= 20
				if i < valid {
					m = max(m, float64(x[i])*0.125)
				}
			}
			want := make([]float64, n)
			s := 0.0
			for i := range valid {
				want[i] = math.Exp(float64(x[i])*0.125 - m)
				s += want[i]
			}
			for i := range valid {
				want[i] /= s
			}
			w.Softmax(x, valid, 0.125)
			near(t, "Softmax", x, want, 3e-6, 1e-9)

			dp, dot := mk(), 0.0
			for i := range valid {
				dot += float64(dp[i]) * want[i]
			}
			back := make([]float64, n)
			for i := range valid {
				back[i] = 0.125 * want[i] * (float64(dp[i]) - dot)
			}
			w.SoftmaxBackward(dp, x, valid, 0.125)
			near(t, "SoftmaxBackward", dp, back, 3e-6, 0.05)
		}
	})
}

func TestSoftmaxNonFinite(t *testing.T) {
	rowTest(t, func(t *testing.T, w *Worker, n int, mk func() []float32) {
		x := mk()
		x[n-1] = float32(math.NaN())
		w.Softmax(x, n, 1)
		for i, v := range x {
			if v == v {
				t.Fatalf("NaN in the row of %d: value %d is %v", n, i, v)
			}
		}
		if n < 2 {
			return
		}
		x = mk()
		x[0] = float32(math.Inf(-1)) // masked
		w.Softmax(x, n, 1)
		if x[0] != 0 || x[n-1] != x[n-1] {
			t.Fatalf("-Inf in the row: %v", x)
		}
	})
}

func refActBack(x float64, act Act) float64 {
	switch act {
	case QuickGELU:
		s := 1 / (1 + math.Exp(-1.702*x))
		return s * (1 + 1.702*x*(1-s))
	case GELU:
		return 0.5*math.Erfc(-x/math.Sqrt2) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
	}
	return 1
}

func TestActivations(t *testing.T) {
	rowTest(t, func(t *testing.T, w *Worker, n int, mk func() []float32) {
		for _, act := range []Act{None, QuickGELU, GELU} {
			x, dst, da := mk(), mk(), mk()
			want, back := make([]float64, n), make([]float64, n)
			for i := range x {
				x[i] *= 4
				want[i] = refAct(float64(x[i]), act)
				back[i] = float64(da[i]) * refActBack(float64(x[i]), act)
			}
			w.Activate(dst, x, act)
			near(t, "Activate", dst, want, 3e-7, 1)
			w.ActivateBackward(da, x, act)
			near(t, "ActivateBackward", da, back, 1e-6, 1)
		}
	})
}

// TestActivationsSweep looks at the whole range, where the tails must be as right as the middle.
func TestActivationsSweep(t *testing.T) {
	forEach(t, func(t *testing.T, isa ISA) {
		w := newPool(t, 1, isa).workers[0]
		x := make([]float32, 0, 60001)
		for i := -30000; i <= 30000; i++ {
			x = append(x, float32(i)/1000)
		}
		y, d := make([]float32, len(x)), make([]float32, len(x))
		for _, act := range []Act{QuickGELU, GELU} {
			w.Activate(y, x, act)
			for i := range d {
				d[i] = 1
			}
			w.ActivateBackward(d, x, act)
			for i, v := range x {
				want, slope := refAct(float64(v), act), refActBack(float64(v), act)
				if e := math.Abs(float64(y[i]) - want); e > 1.5e-7*max(1e-3, math.Abs(want))+6e-8*min(1, math.Abs(float64(v))) {
					t.Fatalf("act %d at %v: %v, want %v", act, v, y[i], want)
				}
				if e := math.Abs(float64(d[i]) - slope); e > 1e-6 { // 1-sigmoid cancels, as in PyTorch's
					t.Fatalf("act %d: slope at %v: %v, want %v", act, v, d[i], slope)
				}
			}
		}
		for _, big := range []float32{-3e4, -1e30} {
			w.Activate(y[:1], []float32{big}, GELU)
			if y[0] != 0 {
				t.Fatalf("GELU(%v) = %v, want 0", big, y[0])
			}
		}
	})
}

// TestExp measures exp through softmax's kernel: of the row {0, x}, whose first value is exp(0-0)/sum and second
// exp(x)/sum.
func TestExp(t *testing.T) {
	worst := 0.0
	for i := -104000; i <= 88700; i++ {
		x := float32(i) / 1000
		want := math.Exp(float64(x))
		got := float64(exp32(x))
		ulp := math.Max(math.Abs(float64(math.Nextafter32(float32(want), float32(math.Inf(1)))))-math.Abs(float64(float32(want))), 1.5e-45)
		worst = max(worst, math.Abs(got-want)/ulp)
	}
	if worst > 2 {
		t.Errorf("exp32 is off by %.2f units in the last place", worst)
	}
	for x, want := range map[float32]float32{-200: 0, 0: 1, 200: float32(math.Inf(1))} {
		if got := exp32(x); got != want {
			t.Errorf("exp32(%v) = %v, want %v", x, got, want)
		}
	}
	forEach(t, func(t *testing.T, isa ISA) {
		w := newPool(t, 1, isa).workers[0]
		worst := 0.0
		for i := 1; i <= 80000; i++ {
			x := -float32(i) / 1000
			row := []float32{0, x}
			w.Softmax(row, 2, 1)
			want := math.Exp(float64(x))
			worst = max(worst, math.Abs(float64(row[1])/float64(row[0])/want-1))
		}
		if worst > 4*6e-8 { // two of exp's units, and the roundings of two products
			t.Errorf("exp is off by %.3g, relatively", worst)
		}
	})
}

func TestLinear(t *testing.T) {
	rowTest(t, func(t *testing.T, w *Worker, n int, mk func() []float32) {
		op := func(what string, run func(d, x []float32), ref func(d, x float64) float64) {
			d, x := mk(), mk()
			want := make([]float64, n)
			for i := range d {
				want[i] = ref(float64(d[i]), float64(x[i]))
			}
			run(d, x)
			near(t, what, d, want, 3e-7, 1)
		}
		op("Add", w.Add, func(d, x float64) float64 { return d + x })
		op("Axpy", func(d, x []float32) { w.Axpy(d, 1.5, x) }, func(d, x float64) float64 { return d + 1.5*x })
		op("ScaleAdd", func(d, x []float32) { w.ScaleAdd(d, 0.75, x, -2) }, func(d, x float64) float64 { return 0.75*d - 2*x })
		op("Scale", func(d, x []float32) { w.Scale(d, 0.75) }, func(d, x float64) float64 { return 0.75 * d })

		x, y := mk(), mk()
		var dot, sq float64
		for i := range x {
			dot += float64(x[i]) * float64(y[i])
			sq += float64(x[i]) * float64(x[i])
		}
		near(t, "Dot, SumSq", []float32{w.Dot(x, y), w.SumSq(x)}, []float64{dot, sq}, 2e-6, math.Sqrt(float64(n)))

		u, d := mk(), mk()
		inv := w.L2Normalize(u, x)
		want, back, yd := make([]float64, n), make([]float64, n), 0.0
		for i := range x {
			want[i] = float64(x[i]) / math.Sqrt(sq)
			yd += want[i] * float64(y[i])
		}
		near(t, "L2Normalize", u, want, 1e-6, 1e-3)
		for i := range back {
			back[i] = (float64(y[i]) - want[i]*yd) / math.Sqrt(sq)
		}
		w.L2NormalizeBackward(d, y, u, inv)
		near(t, "L2NormalizeBackward", d, back, 2e-6, 1/math.Sqrt(sq))
	})
}

func TestCrossEntropy(t *testing.T) {
	x := []float32{1, -2, 0.5, 3}
	var sum, all float64
	for _, v := range x {
		sum += math.Exp(float64(v))
		all += float64(v)
	}
	for _, s := range []float64{0, 0.1} {
		want := math.Log(sum) - (1-s)*0.5 - s*all/4
		d := make([]float32, 4)
		if got := CrossEntropy(d, x, 2, s, 2); math.Abs(got-want) > 1e-12 {
			t.Errorf("smoothing %v: loss %v, want %v", s, got, want)
		}
		for i, v := range x {
			g := math.Exp(float64(v))/sum - s/4
			if i == 2 {
				g -= 1 - s
			}
			near(t, "gradient", d[i:i+1], []float64{2 * g}, 1e-7, 1)
		}
	}
	if got := CrossEntropy(nil, []float32{1000, 0}, 0, 0, 1); got != 0 {
		t.Errorf("sure and right: %v, want 0", got)
	}
	if got := CrossEntropy(nil, []float32{1, float32(math.NaN())}, 0, 0, 1); !math.IsNaN(got) {
		t.Errorf("NaN logit: %v, want NaN", got)
	}
}

func TestRowsDoNotAllocate(t *testing.T) {
	forEach(t, func(t *testing.T, isa ISA) {
		w := newPool(t, 1, isa).workers[0]
		x := make([][]float32, 6)
		for i := range x {
			x[i] = make([]float32, 77)
		}
		n := testing.AllocsPerRun(10, func() {
			m, s := w.LayerNorm(x[0], x[1], x[2], x[3], 1)
			w.LayerNormBackward(x[0], x[1], x[2], x[3], m, s, x[4], x[5])
			w.Softmax(x[0], 70, 1)
			w.SoftmaxBackward(x[1], x[0], 70, 1)
			w.Activate(x[0], x[1], GELU)
			w.ActivateBackward(x[0], x[1], QuickGELU)
			w.Add(x[0], x[1])
			w.ColSum(x[0], x[1], 7, 11, 11)
			w.AdamW(x[0], x[1], x[2], x[3], &AdamW{Step: 1})
		})
		if n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// TestShortRows: a slice that is too short is a panic, also where its capacity would do.
func TestShortRows(t *testing.T) {
	forEach(t, func(t *testing.T, isa ISA) {
		w := newPool(t, 1, isa).workers[0]
		long := make([]float32, 20)
		short := long[:19]
		for name, f := range map[string]func(){
			"Add":       func() { w.Add(short, long) },
			"Dot":       func() { w.Dot(long, short) },
			"LayerNorm": func() { w.LayerNorm(long, long, short, long, 1) },
			"Activate":  func() { w.Activate(short, long, GELU) },
			"Softmax":   func() { w.Softmax(short, 20, 1) },
			"AdamW":     func() { w.AdamW(long, long, short, long, &AdamW{Step: 1}) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: no panic", name)
					}
				}()
				f()
			}()
		}
	})
}

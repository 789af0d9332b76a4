package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// sameOnPools runs f on pools of 1, 2 and 5 workers and checks that its results are the same bits.
func sameOnPools(t *testing.T, isa ISA, f func(p *Pool) []float32) []float32 {
	t.Helper()
	var want []float32
	for _, n := range []int{1, 2, 5} {
		got := f(newPool(t, n, isa))
		if want == nil {
			want = got
			continue
		}
		for i := range want {
			if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
				t.Fatalf("%d workers: value %d is %v, with one worker %v", n, i, got[i], want[i])
			}
		}
	}
	return want
}

func TestMatrixNorm(t *testing.T) {
	forEach(t, func(t *testing.T, isa ISA) {
		r := rand.New(rand.NewPCG(2, 2))
		const rows, n, ld, ldy = 333, 50, 53, 60
		c := &Norm{Rows: rows, N: n, Gamma: noise(r, n), Beta: noise(r, n), Eps: 1e-5, X: noise(r, rows*ld), LDX: ld, Mean: make([]float32, rows), RStd: make([]float32, rows)}
		dy, dx0, g0, b0 := noise(r, rows*ldy), noise(r, rows*ld), noise(r, n), noise(r, n)
		out := sameOnPools(t, isa, func(p *Pool) []float32 {
			y := make([]float32, rows*ldy)
			p.LayerNorm(c, y, ldy)
			dx, dg, db := slices.Clone(dx0), slices.Clone(g0), slices.Clone(b0)
			p.LayerNormBackward(c, dx, ld, dy, ldy, dg, db)
			return slices.Concat(dg, db, y, dx)
		})
		wg, wb := wide(g0), wide(b0)
		for i := range rows {
			m, s := refNorm(c.X[i*ld:][:n], 1e-5)
			for j := range n {
				h := (float64(c.X[i*ld+j]) - m) * s
				wg[j] += float64(dy[i*ldy+j]) * h
				wb[j] += float64(dy[i*ldy+j])
				y := h*float64(c.Gamma[j]) + float64(c.Beta[j])
				near(t, "y", out[2*n+i*ldy+j:], []float64{y}, 3e-6, 1)
			}
		}
		near(t, "dgamma", out[:n], wg, 1e-6, 20)
		near(t, "dbeta", out[n:2*n], wb, 1e-6, 20)
	})
}

func TestColSum(t *testing.T) {
	forEach(t, func(t *testing.T, isa ISA) {
		r := rand.New(rand.NewPCG(2, 3))
		for _, s := range [][3]int{{1, 1, 1}, {63, 5, 5}, {64, 64, 70}, {65, 200, 200}, {1000, 333, 340}, {130, 17, 17}} {
			rows, n, ld := s[0], s[1], s[2]
			x, d0 := noise(r, rows*ld), noise(r, n)
			want := wide(d0)
			for i := range rows {
				for j := range n {
					want[j] += float64(x[i*ld+j])
				}
			}
			got := sameOnPools(t, isa, func(p *Pool) []float32 {
				d := append(slices.Clone(d0), guard)
				p.ColSum(d, x, rows, n, ld)
				return d
			})
			near(t, "ColSum", got[:n], want, 1e-6, math.Sqrt(float64(rows)))
			if got[n] != guard {
				t.Fatalf("%v: wrote behind dst", s)
			}
			d := slices.Clone(d0)
			newPool(t, 1, isa).workers[0].ColSum(d, x, rows, n, ld)
			if !slices.Equal(d, got[:n]) {
				t.Fatalf("%v: Worker.ColSum differs from Pool.ColSum", s)
			}
		}
	})
}

func TestVectors(t *testing.T) {
	forEach(t, func(t *testing.T, isa ISA) {
		r := rand.New(rand.NewPCG(2, 4))
		n := 50_003
		x, y := noise(r, n), noise(r, n)
		var sq float64
		for _, v := range x {
			sq += float64(v) * float64(v)
		}
		sameOnPools(t, isa, func(p *Pool) []float32 {
			d := slices.Clone(x)
			p.Add(d, y)
			for i, v := range d {
				if v != x[i]+y[i] {
					t.Fatalf("Add: value %d is %v, want %v", i, v, x[i]+y[i])
				}
			}
			p.Activate(d, x, GELU)
			e := slices.Clone(y)
			p.ActivateBackward(e, x, QuickGELU)
			s := p.SumSq(x)
			if math.Abs(s/sq-1) > 1e-6 {
				t.Fatalf("SumSq = %v, want %v", s, sq)
			}
			return slices.Concat(d, e, []float32{float32(s), float32(s - float64(float32(s)))})
		})
	})
}

// TestAdamW holds three steps against the formula in float64.
func TestAdamW(t *testing.T) {
	forEach(t, func(t *testing.T, isa ISA) {
		r := rand.New(rand.NewPCG(2, 5))
		n := 20_011
		x0, grads := noise(r, n), [][]float32{noise(r, n), noise(r, n), noise(r, n)}
		o := AdamW{LR: 1e-2, Beta1: 0.9, Beta2: 0.98, Eps: 1e-6, WeightDecay: 0.1, GradScale: 0.5}
		got := sameOnPools(t, isa, func(p *Pool) []float32 {
			x, m, v := slices.Clone(x0), make([]float32, n), make([]float32, n)
			for i, g := range grads {
				o.Step = i + 1
				p.AdamW(x, g, m, v, &o)
			}
			return slices.Concat(x, m, v)
		})
		for i := range n {
			x, m, v := float64(x0[i]), 0.0, 0.0
			for s, gs := range grads {
				g := float64(gs[i]) * o.GradScale
				x *= 1 - o.LR*o.WeightDecay
				m += (1 - o.Beta1) * (g - m)
				v = o.Beta2*v + (1-o.Beta2)*g*g
				b1, b2 := 1-math.Pow(o.Beta1, float64(s+1)), 1-math.Pow(o.Beta2, float64(s+1))
				x -= o.LR / b1 * m / (math.Sqrt(v)/math.Sqrt(b2) + o.Eps)
			}
			near(t, "x", got[i:], []float64{x}, 1e-6, 0.1)
			near(t, "m", got[n+i:], []float64{m}, 1e-6, 0.1)
			near(t, "v", got[2*n+i:], []float64{v}, 1e-6, 0.1)
		}
	})
}

package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func forEach(t *testing.T, f func(t *testing.T, isa ISA)) {
	for _, isa := range Available() {
		t.Run(isa.String(), func(t *testing.T) { f(t, isa) })
	}
}

func newPool(t testing.TB, threads int, isa ISA) *Pool {
	p := NewPool(threads, isa)
	t.Cleanup(p.Close)
	return p
}

const guard = float32(-12345.5)

// guarded returns n values of noise with guard values before and after, and a function that checks these.
func guarded(t *testing.T, r *rand.Rand, name string, n int) ([]float32, func()) {
	const pad = 67
	x := noise(r, n+2*pad)
	for i := range pad {
		x[i], x[pad+n+i] = guard, guard
	}
	return x[pad : pad+n : pad+n], func() {
		t.Helper()
		for i := range pad {
			if x[i] != guard || x[pad+n+i] != guard {
				t.Fatalf("%s: wrote outside its %d values, %d before or %d after", name, n, pad-i, i)
			}
		}
	}
}

func refAct(x float64, act Act) float64 {
	switch act {
	case QuickGELU:
		return x / (1 + math.Exp(-1.702*x))
	case GELU:
		return x * 0.5 * math.Erfc(-x/math.Sqrt2)
	}
	return x
}

func at2(x []float32, ld int, trans bool, i, k int) float64 {
	if trans {
		i, k = k, i
	}
	return float64(x[i*ld+k])
}

// checkGemm computes g in float64 and compares. c0 is C before, where it was accumulated to.
func checkGemm(t *testing.T, g *Gemm, c0 []float32) {
	t.Helper()
	for i := range g.M {
		for j := range g.N {
			var s, size float64
			for k := range g.K {
				v := at2(g.A, g.LDA, g.TransA, i, k) * at2(g.B, g.LDB, g.TransB, k, j)
				s += v
				size += math.Abs(v)
			}
			if g.Accumulate {
				s += float64(c0[i*g.LDC+j])
			}
			if g.Bias != nil {
				s += float64(g.Bias[j])
			}
			tol := 1e-6 * (2 + math.Abs(s) + size)
			if g.Pre != nil {
				if got := float64(g.Pre[i*g.LDC+j]); math.Abs(got-s) > tol {
					t.Fatalf("Pre[%d,%d] = %v, want %v", i, j, got, s)
				}
			}
			s = refAct(s, g.Act)
			if g.Residual != nil {
				s += float64(g.Residual[i*g.LDR+j])
			}
			if got := float64(g.C[i*g.LDC+j]); math.Abs(got-s) > 2*tol {
				t.Fatalf("C[%d,%d] = %v, want %v", i, j, got, s)
			}
		}
	}
}

func randomGemm(t *testing.T, r *rand.Rand, m, n, k int) (g *Gemm, check func()) {
	flip := func() bool { return r.IntN(2) == 0 }
	g = &Gemm{M: m, N: n, K: k, TransA: flip(), TransB: flip(), Accumulate: flip(), Act: Act(r.IntN(3))}
	ld := func(w int) int { return w + r.IntN(3)*r.IntN(9) }
	size := func(rows, cols, ld int) int { return max(0, (rows-1)*ld+cols) }
	ar, ac := m, k
	if g.TransA {
		ar, ac = k, m
	}
	br, bc := k, n
	if g.TransB {
		br, bc = n, k
	}
	g.LDA, g.LDB, g.LDC, g.LDR = ld(ac), ld(bc), ld(n), ld(n)
	var ca, cb, cc, cp func()
	g.A, ca = guarded(t, r, "A", size(ar, ac, g.LDA))
	g.B, cb = guarded(t, r, "B", size(br, bc, g.LDB))
	g.C, cc = guarded(t, r, "C", size(m, n, g.LDC))
	cp = func() {}
	if flip() {
		g.Bias = noise(r, n)
	}
	if flip() {
		g.Pre, cp = guarded(t, r, "Pre", size(m, n, g.LDC))
	}
	if flip() {
		g.Residual = noise(r, size(m, n, g.LDR))
	}
	return g, func() { t.Helper(); ca(); cb(); cc(); cp() }
}

func TestGemm(t *testing.T) {
	forEach(t, func(t *testing.T, isa ISA) {
		r := rand.New(rand.NewPCG(7, 11))
		pools := []*Pool{newPool(t, 1, isa), newPool(t, 3, isa)}
		sizes := [][3]int{{1, 1, 1}, {1, 1, 0}, {5, 7, 0}, {2, 3, 1}, {12, 32, 8}, {13, 33, 9}, {6, 16, 4}, {7, 17, 5}, {241, 40, 5}, {3, 1030, 2}, {25, 50, 800}, {61, 70, 769}, {250, 129, 33}, {50, 1100, 20}, {301, 700, 300}}
		for range 300 {
			sizes = append(sizes, [3]int{1 + r.IntN(80), 1 + r.IntN(80), r.IntN(70)})
		}
		for i, s := range sizes {
			g, guards := randomGemm(t, r, s[0], s[1], s[2])
			name := fmt.Sprintf("%d: %dx%dx%d TransA=%v TransB=%v Accumulate=%v Act=%v Bias=%v Pre=%v Residual=%v", i, g.M, g.N, g.K, g.TransA, g.TransB, g.Accumulate, g.Act, g.Bias != nil, g.Pre != nil, g.Residual != nil)
			c0 := slices.Clone(g.C)
			ok := t.Run(name, func(t *testing.T) {
				pools[i%2].Gemm(g)
				checkGemm(t, g, c0)
				guards()
				for i := range g.M - 1 {
					for j := g.N; j < g.LDC; j++ {
						if at := i*g.LDC + j; g.C[at] != c0[at] {
							t.Fatalf("wrote between the rows of C at %d, %d", i, j)
						}
					}
				}
			})
			if !ok {
				return
			}
		}
	})
}

// TestGemmReproducible: the number of workers, the rows computed along and the columns computed along change no bit.
func TestGemmReproducible(t *testing.T) {
	forEach(t, func(t *testing.T, isa ISA) {
		r := rand.New(rand.NewPCG(3, 5))
		one, three, five := newPool(t, 1, isa), newPool(t, 3, isa), newPool(t, 5, isa)
		sizes := [][3]int{{301, 700, 300}} // enough work for several parts a worker
		for range 24 {
			sizes = append(sizes, [3]int{1 + r.IntN(140), 1 + r.IntN(200), 1 + r.IntN(900)})
		}
		for _, s := range sizes {
			g, _ := randomGemm(t, r, s[0], s[1], s[2])
			g.Accumulate = false
			one.Gemm(g)
			want := slices.Clone(g.C)
			for _, p := range []*Pool{three, five} {
				clear(g.C)
				p.Gemm(g)
				sameRows(t, g, g.C, want, g.N, fmt.Sprintf("%d workers", p.Threads()))
			}
			if g.TransA {
				continue
			}
			// Each row alone, then a part of the rows and columns.
			for i := range g.M {
				h := *g
				h.M, h.A, h.C = 1, g.A[i*g.LDA:], make([]float32, g.N)
				h.LDC = g.N
				if g.Pre != nil {
					h.Pre = make([]float32, g.N)
				}
				if g.Residual != nil {
					h.Residual = g.Residual[i*g.LDR:]
				}
				one.workers[0].Gemm(&h)
				for j := range g.N {
					if math.Float32bits(h.C[j]) != math.Float32bits(want[i*g.LDC+j]) {
						t.Fatalf("row %d alone: column %d of %dx%dx%d is %v, in the batch %v", i, j, g.M, g.N, g.K, h.C[j], want[i*g.LDC+j])
					}
				}
			}
			h := *g
			h.N = 1 + r.IntN(g.N)
			h.C = make([]float32, len(g.C))
			one.Gemm(&h)
			sameRows(t, g, h.C, want, h.N, "fewer columns")
		}
	})
}

func sameRows(t *testing.T, g *Gemm, got, want []float32, n int, what string) {
	t.Helper()
	for i := range g.M {
		for j := range n {
			if a, b := got[i*g.LDC+j], want[i*g.LDC+j]; math.Float32bits(a) != math.Float32bits(b) {
				t.Fatalf("%s: C[%d,%d] of %dx%dx%d is %v, want %v", what, i, j, g.M, g.N, g.K, a, b)
			}
		}
	}
}

// TestGemmNonFinite: NaN and Inf reach exactly the rows and columns they belong to.
func TestGemmNonFinite(t *testing.T) {
	forEach(t, func(t *testing.T, isa ISA) {
		r := rand.New(rand.NewPCG(4, 4))
		p := newPool(t, 1, isa)
		nan, inf := float32(math.NaN()), float32(math.Inf(1))
		for _, act := range []Act{None, QuickGELU, GELU} {
			for _, tb := range []bool{false, true} {
				g := &Gemm{M: 17, N: 45, K: 11, A: noise(r, 17*11), LDA: 11, B: noise(r, 45*11), LDB: 45, TransB: tb, C: make([]float32, 17*45), LDC: 45, Act: act}
				if tb {
					g.LDB = 11
				}
				g.A[16*11+10] = nan
				if tb {
					g.B[44*11+3] = inf
				} else {
					g.B[3*45+44] = inf
				}
				p.Gemm(g)
				for i := range g.M {
					for j := range g.N {
						c := float64(g.C[i*45+j])
						if bad := math.IsNaN(c) || math.IsInf(c, 0); i == 16 && !math.IsNaN(c) || bad && i != 16 && j != 44 {
							t.Fatalf("act %d, TransB %v: C[%d,%d] = %v", act, tb, i, j, c)
						}
						if j == 44 && i < 16 {
							a := float64(g.A[i*11+3])
							if act == None && !math.IsInf(c, int(math.Copysign(1, a))) || act != None && a > 0 && !math.IsInf(c, 1) {
								t.Fatalf("act %d, TransB %v: C[%d,%d] = %v", act, tb, i, j, c)
							}
						}
					}
				}
			}
		}
	})
}

func TestGemmRejectsShortSlices(t *testing.T) {
	p := newPool(t, 1, Generic)
	x := make([]float32, 11)
	for name, g := range map[string]*Gemm{
		"A":        {M: 3, N: 3, K: 4, A: x, LDA: 4, B: make([]float32, 12), LDB: 3, C: make([]float32, 9), LDC: 3},
		"B":        {M: 3, N: 3, K: 4, A: make([]float32, 12), LDA: 4, B: x, LDB: 3, C: make([]float32, 9), LDC: 3},
		"C":        {M: 3, N: 4, K: 1, A: x, LDA: 1, B: x, LDB: 4, C: x, LDC: 4},
		"Residual": {M: 2, N: 2, K: 1, A: x, LDA: 1, B: x, LDB: 2, C: x, LDC: 2, Residual: x[:3], LDR: 2},
		"Bias":     {M: 2, N: 2, K: 1, A: x, LDA: 1, B: x, LDB: 2, C: x, LDC: 2, Bias: x[:1]},
		"stride":   {M: 2, N: 2, K: 1, A: x, LDA: 1, B: x, LDB: 2, C: x, LDC: 1},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Fatal("no panic")
				}
			}()
			p.Gemm(g)
		})
	}
}

func TestGemmDoesNotAllocate(t *testing.T) {
	forEach(t, func(t *testing.T, isa ISA) {
		r := rand.New(rand.NewPCG(4, 4))
		p := newPool(t, 2, isa)
		g := &Gemm{M: 50, N: 53, K: 64, A: noise(r, 50*64), LDA: 64, B: noise(r, 53*64), LDB: 64, TransB: true, C: make([]float32, 50*53), LDC: 53}
		p.Gemm(g)
		if n := testing.AllocsPerRun(20, func() { p.Gemm(g) }); n != 0 {
			t.Errorf("Pool.Gemm: %v allocations a call", n)
		}
		if n := testing.AllocsPerRun(20, func() { p.workers[0].Gemm(g) }); n != 0 {
			t.Errorf("Worker.Gemm: %v allocations a call", n)
		}
	})
}

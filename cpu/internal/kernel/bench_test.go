package kernel

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

var peaks sync.Map

// peakRate measures the peak of one core in GFLOP/s: the best of some short runs.
func peakRate(isa ISA) float64 {
	if v, ok := peaks.Load(isa); ok {
		return v.(float64)
	}
	best := 0.0
	for range 10 {
		t := time.Now()
		f := Peak(isa, 1_000_000)
		best = max(best, f/time.Since(t).Seconds()/1e9)
	}
	peaks.Store(isa, best)
	return best
}

func eachISA(b *testing.B, f func(b *testing.B, isa ISA)) {
	for _, isa := range Available() {
		b.Run(isa.String(), func(b *testing.B) { f(b, isa) })
	}
}

func BenchmarkPeak(b *testing.B) {
	eachISA(b, func(b *testing.B, isa ISA) {
		f := Peak(isa, 100_000)
		for b.Loop() {
			Peak(isa, 100_000)
		}
		b.ReportMetric(f*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	})
}

func noise(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// BenchmarkGemm measures products on one worker: those of ViT-B/32 at batch 32 (forward, gradient of the input, gradient
// of the weight), of a small model, and of attention with heads of 64.
func BenchmarkGemm(b *testing.B) {
	for _, c := range []struct {
		name    string
		m, n, k int
		ta, tb  bool
		lda     int // where it is not the width
	}{
		{"b32/fc", 1600, 3072, 768, false, true, 0},
		{"b32/proj", 1600, 768, 3072, false, true, 0},
		{"b32/dx", 1600, 768, 3072, false, false, 0},
		{"b32/dw", 3072, 768, 1600, true, false, 0},
		{"tiny/fwd", 2368, 384, 128, false, true, 0},
		{"tiny/dx", 2368, 128, 384, false, false, 0},
		{"tiny/dw", 384, 128, 2368, true, false, 0},
		{"attn37/qk", 37, 37, 64, false, true, 2304},
		{"attn50/qk", 50, 50, 64, false, true, 2304},
		{"attn50/pv", 50, 64, 50, false, false, 0},
		{"attn50/dv", 50, 64, 50, true, false, 0},
		{"attn257/qk", 257, 257, 64, false, true, 2304},
		{"attn257/pv", 257, 64, 257, false, false, 0},
		{"row1", 1, 512, 768, false, false, 0},
		{"row1t", 1, 512, 768, false, true, 0},
		{"row8t", 8, 512, 768, false, true, 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			eachISA(b, func(b *testing.B, isa ISA) {
				r := rand.New(rand.NewPCG(1, 2))
				p := NewPool(1, isa)
				defer p.Close()
				g := &Gemm{M: c.m, N: c.n, K: c.k, LDA: c.k, LDB: c.n, LDC: c.n, TransA: c.ta, TransB: c.tb}
				if c.ta {
					g.LDA = c.m
				}
				if c.tb {
					g.LDB = c.k
				}
				if c.lda > 0 {
					g.LDA, g.LDB = c.lda, c.lda
				}
				g.A = noise(r, g.LDA*max(c.m, c.k))
				g.B = noise(r, g.LDB*max(c.n, c.k))
				g.C = make([]float32, c.m*c.n)
				peak := peakRate(isa)
				p.workers[0].Gemm(g)
				for b.Loop() {
					p.workers[0].Gemm(g)
				}
				rate := 2 * float64(c.m) * float64(c.n) * float64(c.k) * float64(b.N) / b.Elapsed().Seconds() / 1e9
				b.ReportMetric(rate, "GFLOP/s")
				b.ReportMetric(100*rate/peak, "%peak")
			})
		})
	}
}

// BenchmarkGemmPool measures the largest of them on pools of one and two workers.
func BenchmarkGemmPool(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	g := &Gemm{M: 1600, N: 3072, K: 768, A: noise(r, 1600*768), LDA: 768, B: noise(r, 3072*768), LDB: 768, TransB: true, C: make([]float32, 1600*3072), LDC: 3072, Bias: noise(r, 3072), Act: QuickGELU, Pre: make([]float32, 1600*3072)}
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("%d", threads), func(b *testing.B) {
			p := newPool(b, threads, Detect())
			p.Gemm(g)
			for b.Loop() {
				p.Gemm(g)
			}
			b.ReportMetric(2*1600*3072*768*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}

func ExamplePool_Gemm() {
	p := NewPool(1, Generic)
	defer p.Close()
	c := make([]float32, 2)
	p.Gemm(&Gemm{M: 1, N: 2, K: 2, A: []float32{1, 2}, LDA: 2, B: []float32{1, 2, 3, 4}, LDB: 2, TransB: true, C: c, LDC: 2})
	fmt.Println(c)
	// Output: [5 11]
}

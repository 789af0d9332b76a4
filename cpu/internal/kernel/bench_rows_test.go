package kernel

import (
	"math/rand/v2"
	"testing"
)

// BenchmarkRows measures the row operations on rows of 768 values (softmax: 50; AdamW and the sums: more rows), in
// values a nanosecond.
func BenchmarkRows(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	const n = 768
	x, y, g, d, e := noise(r, n), noise(r, n), noise(r, n), noise(r, n), noise(r, n)
	dg, db := noise(r, n), noise(r, n)
	big := [4][]float32{noise(r, 1<<16), noise(r, 1<<16), noise(r, 1<<16), make([]float32, 1<<16)}
	row := noise(r, 50)
	for _, c := range []struct {
		name   string
		values int
		run    func(w *Worker)
	}{
		{"layernorm", n, func(w *Worker) { w.LayerNorm(d, x, g, y, 1e-5) }},
		{"layernorm-back", n, func(w *Worker) { clear(e); w.LayerNormBackward(e, y, x, g, 0, 1, dg, db) }},
		{"softmax50", 50, func(w *Worker) { w.Softmax(row, 50, 0.1) }},
		{"softmax50-back", 50, func(w *Worker) { w.SoftmaxBackward(row, x, 50, 0.1) }},
		{"quickgelu", n, func(w *Worker) { w.Activate(d, x, QuickGELU) }},
		{"quickgelu-back", n, func(w *Worker) { copy(d, y); w.ActivateBackward(d, x, QuickGELU) }},
		{"gelu", n, func(w *Worker) { w.Activate(d, x, GELU) }},
		{"gelu-back", n, func(w *Worker) { copy(d, y); w.ActivateBackward(d, x, GELU) }},
		{"add", n, func(w *Worker) { w.Add(d, x) }},
		{"dot", n, func(w *Worker) { w.Dot(d, x) }},
		{"colsum", 1 << 16, func(w *Worker) { w.ColSum(d, big[0], 64, 768, 1024) }},
		{"adamw", 1 << 16, func(w *Worker) {
			w.AdamW(big[0], big[1], big[2], big[3], &AdamW{LR: 1e-9, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: 9, GradScale: 1})
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			eachISA(b, func(b *testing.B, isa ISA) {
				p := newPool(b, 1, isa)
				for b.Loop() {
					c.run(p.workers[0])
				}
				b.ReportMetric(float64(c.values)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "values/ns")
			})
		})
	}
}

// BenchmarkRun is what a call on two workers costs where there is nothing to do.
func BenchmarkRun(b *testing.B) {
	p := newPool(b, 2, Generic)
	for b.Loop() {
		p.Run(2, 1, func(*Worker, int, int) {})
	}
}

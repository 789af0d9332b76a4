package kernel

import (
	"fmt"
	"math"
)

// Operations on matrices, on all workers of a pool.

// rowBlock is the number of rows that are summed before the sums are summed: part of what the results are, so it
// does not depend on the number of workers.
const rowBlock = 64

// Norm describes the layer normalisation of each row of a matrix X [Rows, N].
type Norm struct {
	Rows, N     int
	Gamma, Beta []float32 // [N]
	Eps         float32

	X          []float32 // rows LDX apart
	LDX        int
	Mean, RStd []float32 // [Rows]: written by LayerNorm, read by LayerNormBackward; LayerNorm takes nil
}

// LayerNorm writes the normalised rows to dst, rows ldd apart.
func (p *Pool) LayerNorm(c *Norm, dst []float32, ldd int) {
	p.Run(c.Rows, rowGrain(c.N), func(w *Worker, lo, hi int) {
		for r := lo; r < hi; r++ {
			m, s := w.LayerNorm(dst[r*ldd:][:c.N], c.X[r*c.LDX:][:c.N], c.Gamma, c.Beta, c.Eps)
			if c.Mean != nil {
				c.Mean[r], c.RStd[r] = m, s
			}
		}
	})
}

// LayerNormBackward adds the gradient of LayerNorm's input to dx (rows lddx apart) and those of the parameters to
// dgamma and dbeta [N], from the gradient dy of its output (rows lddy apart).
func (p *Pool) LayerNormBackward(c *Norm, dx []float32, lddx int, dy []float32, lddy int, dgamma, dbeta []float32) {
	if c.Rows <= 0 || c.N <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := c.N
	blocks := (c.Rows + rowBlock - 1) / rowBlock
	part := grow(&p.partial, 2*blocks*n)
	p.run(blocks, 1, func(w *Worker, lo, hi int) {
		for b := lo; b < hi; b++ {
			dg, db := part[2*b*n:][:n], part[(2*b+1)*n:][:n]
			clear(dg)
			clear(db)
			for r := b * rowBlock; r < min(c.Rows, (b+1)*rowBlock); r++ {
				w.LayerNormBackward(dx[r*lddx:][:n], dy[r*lddy:][:n], c.X[r*c.LDX:][:n], c.Gamma, c.Mean[r], c.RStd[r], dg, db)
			}
		}
	})
	p.run(n, 256, func(w *Worker, lo, hi int) {
		for b := range blocks {
			w.Add(dgamma[lo:hi], part[2*b*n:][lo:hi])
			w.Add(dbeta[lo:hi], part[(2*b+1)*n:][lo:hi])
		}
	})
}

// ColSum adds the sums of the columns of x [rows, n], rows ld apart, to dst [n]: the gradient of a bias.
func (p *Pool) ColSum(dst, x []float32, rows, n, ld int) {
	if rows <= 0 {
		return
	}
	p.Run(n, colGrain, func(w *Worker, lo, hi int) { w.sumCols(dst, x, rows, ld, lo, hi) })
}

const colGrain = 64

// ColSum is Pool.ColSum on this worker alone.
func (w *Worker) ColSum(dst, x []float32, rows, n, ld int) {
	if rows > 0 && n > 0 {
		w.sumCols(dst, x, rows, ld, 0, n)
	}
}

// sumCols adds the sums of columns lo..hi-1, block of rows by block of rows, which keeps the rounding error small.
func (w *Worker) sumCols(dst, x []float32, rows, ld, lo, hi int) {
	_ = x[(rows-1)*ld+hi-1]
	for r := 0; r < rows; r += rowBlock {
		w.colSum(dst[lo:hi], x[r*ld+lo:], min(rowBlock, rows-r), ld)
	}
}

// Add adds src to dst.
func (p *Pool) Add(dst, src []float32) {
	p.Run(len(src), vecGrain, func(w *Worker, lo, hi int) { w.Add(dst[lo:hi], src[lo:hi]) })
}

// Activate writes dst = act(pre). dst may be pre.
func (p *Pool) Activate(dst, pre []float32, act Act) {
	p.Run(len(pre), vecGrain/4, func(w *Worker, lo, hi int) { w.Activate(dst[lo:hi], pre[lo:hi], act) })
}

// ActivateBackward multiplies da, the gradient of act's output, by act'(pre).
func (p *Pool) ActivateBackward(da, pre []float32, act Act) {
	p.Run(len(pre), vecGrain/4, func(w *Worker, lo, hi int) { w.ActivateBackward(da[lo:hi], pre[lo:hi], act) })
}

// vecGrain is the least number of values for which another worker is worth waking; a multiple of every vector.
const vecGrain = 1 << 13

// rowGrain is the least number of rows of n values for which another worker is worth waking.
func rowGrain(n int) int { return max(1, vecGrain/max(1, n)) }

// sumBlock is the length of the blocks of SumSq.
const sumBlock = 1 << 12

// SumSq is the sum of the squares of x: in float32 within blocks of 4096 values, the blocks in float64.
func (p *Pool) SumSq(x []float32) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	blocks := (len(x) + sumBlock - 1) / sumBlock
	if blocks == 0 {
		return 0
	}
	if cap(p.sums) < blocks {
		p.sums = make([]float64, blocks)
	}
	sums := p.sums[:blocks]
	p.run(blocks, 4, func(w *Worker, lo, hi int) {
		for b := lo; b < hi; b++ {
			sums[b] = float64(w.SumSq(x[b*sumBlock : min(len(x), (b+1)*sumBlock)]))
		}
	})
	var s float64
	for _, v := range sums {
		s += v
	}
	return s
}

// AdamW holds the constants of one step of AdamW (Loshchilov and Hutter, arXiv:1711.05101) as torch.optim.AdamW
// computes it.
type AdamW struct {
	LR, Beta1, Beta2, Eps float64
	WeightDecay           float64
	Step                  int     // number of this step, from 1
	GradScale             float64 // what the gradient is multiplied by first (clipping); 1 for nothing
}

type adamConsts struct{ gscale, omb1, beta2, omb2, sqrtBias2, eps, decay, step float32 }

func (o *AdamW) consts() adamConsts {
	if o.Step < 1 {
		panic(fmt.Sprintf("kernel: AdamW: step %d", o.Step))
	}
	bias1 := 1 - math.Pow(o.Beta1, float64(o.Step))
	bias2 := 1 - math.Pow(o.Beta2, float64(o.Step))
	return adamConsts{
		gscale: float32(o.GradScale), omb1: float32(1 - o.Beta1), beta2: float32(o.Beta2), omb2: float32(1 - o.Beta2),
		sqrtBias2: float32(math.Sqrt(bias2)), eps: float32(o.Eps),
		decay: float32(1 - o.LR*o.WeightDecay), step: float32(o.LR / bias1),
	}
}

// AdamW updates the parameters x and both moments m and v from the gradient g:
//
//	g = g * GradScale
//	x = x * (1 - LR*WeightDecay)
//	m = m + (1-Beta1)*(g-m)
//	v = Beta2*v + (1-Beta2)*g*g
//	x = x - LR/(1-Beta1^Step) * m / (sqrt(v)/sqrt(1-Beta2^Step) + Eps)
func (p *Pool) AdamW(x, g, m, v []float32, o *AdamW) {
	h := o.consts()
	n := len(x)
	g, m, v = first(g, n), first(m, n), first(v, n)
	p.Run(n, vecGrain, func(w *Worker, lo, hi int) { w.adamW(x[lo:hi], g[lo:hi], m[lo:hi], v[lo:hi], &h) })
}

// AdamW is Pool.AdamW on this worker alone.
func (w *Worker) AdamW(x, g, m, v []float32, o *AdamW) {
	h := o.consts()
	n := len(x)
	w.adamW(x, first(g, n), first(m, n), first(v, n), &h)
}

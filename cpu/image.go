package cpu

import (
	"context"

	"paint/clip"
	"paint/cpu/internal/kernel"
)

func activation(c clip.Config) kernel.Act {
	if c.QuickGELU {
		return kernel.QuickGELU
	}
	return kernel.GELU
}

// imageTower runs the vision transformer: patches and a class token, positions, ln_pre, blocks, ln_post of the class
// token, projection.
type imageTower struct {
	stack
	size, patch, tokens int
}

func newImageTower(c clip.Config, pool *kernel.Pool, sc *scratch) *imageTower {
	v := c.Vision
	return &imageTower{
		stack: newStack(dims{v.Width, v.Heads, v.MLPWidth, c.EmbedDim, false, activation(c), float32(v.LayerNormEps)}, pool, sc),
		size:  v.ImageSize, patch: v.PatchSize, tokens: v.Tokens(),
	}
}

// pixels is the number of values of an image.
func (t *imageTower) pixels() int { return 3 * t.size * t.size }

// patches copies the pixels of n images [n, 3, size, size] into rows of one patch each [n, tokens, 3*patch*patch];
// the class token's row is zero.
func (t *imageTower) patches(dst, pixels []float32, n int) {
	ps, side := t.patch, t.size/t.patch
	k := 3 * ps * ps
	t.pool.Run(n*t.tokens, 64, func(_ *kernel.Worker, lo, hi int) {
		for r := lo; r < hi; r++ {
			row := dst[r*k : (r+1)*k]
			img, i := pixels[r/t.tokens*t.pixels():], r%t.tokens-1
			if i < 0 {
				clear(row)
				continue
			}
			src := img[i/side*ps*t.size+i%side*ps:]
			for c := range 3 {
				for y := range ps {
					copy(row[(c*ps+y)*ps:][:ps], src[(c*t.size+y)*t.size:])
				}
			}
		}
	})
}

// forward encodes n images into p.feat [n, embed].
func (t *imageTower) forward(ctx context.Context, w *imageParams, p *pass, pixels []float32, n int) error {
	p.reset()
	for range n {
		p.add(t.tokens, 0, t.heads)
	}
	rows, d, k := p.rows(), t.width, 3*t.patch*t.patch
	patches := t.sc.wide.get(rows * k)
	t.patches(patches, pixels, n)
	e, x := p.embedded.get(rows*d), p.layer(0).x.get(rows*d)
	t.pool.Gemm(&kernel.Gemm{M: rows, N: d, K: k, A: patches, LDA: k, B: w.conv, LDB: k, TransB: true, C: e, LDC: d})
	mean, rstd := p.mean0.get(rows), p.rstd0.get(rows)
	t.pool.Run(rows, 16, func(kw *kernel.Worker, lo, hi int) {
		for r := lo; r < hi; r++ {
			row, i := e[r*d:(r+1)*d], r%t.tokens
			if i == 0 {
				copy(row, w.cls)
			}
			kw.Add(row, w.pos[i*d:][:d])
			mean[r], rstd[r] = kw.LayerNorm(x[r*d:(r+1)*d], row, w.lnPre.gamma, w.lnPre.beta, t.eps)
		}
	})
	return t.stack.forward(ctx, &w.stackParams, p)
}

// backward writes or adds to g the gradients of all parameters, from dfeat [n, embed] and the pixels that forward
// was given.
func (t *imageTower) backward(ctx context.Context, w, g *imageParams, p *pass, pixels, dfeat []float32, add bool) error {
	dx, err := t.stack.backward(ctx, &w.stackParams, &g.stackParams, p, dfeat, add)
	if err != nil {
		return err
	}
	rows, d, n, k := p.rows(), t.width, p.n(), 3*t.patch*t.patch
	de := t.sc.rowGrad.get(rows * d)
	clear(de)
	t.normGrad(de, dx, p.embedded, w.lnPre, g.lnPre, rows, p.mean0, p.rstd0)
	t.pool.Run(t.tokens, 4, func(kw *kernel.Worker, lo, hi int) {
		for i := lo; i < hi; i++ {
			for b := range n {
				row := de[(b*t.tokens+i)*d:][:d]
				kw.Add(g.pos[i*d:][:d], row)
				if i == 0 {
					kw.Add(g.cls, row)
				}
			}
		}
	})
	patches := t.sc.wide.get(rows * k)
	t.patches(patches, pixels, n)
	t.pool.Gemm(&kernel.Gemm{M: d, N: k, K: rows, A: de, LDA: d, TransA: true, B: patches, LDB: k, C: g.conv, LDC: k, Accumulate: add})
	return nil
}

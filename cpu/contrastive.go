package cpu

import (
	"context"
	"fmt"
	"math"

	"paint/clip"
	"paint/cpu/internal/kernel"
)

// maxLogitScale is where CLIP holds the logarithm of the factor of its cosines.
var maxLogitScale = float32(math.Log(100))

// span is a chunk of a batch.
type span struct{ lo, hi int }

// contrastive is the memory of contrastive steps.
type contrastive struct {
	imageF, textF       buf // features [n, embed]
	imageU, textU       buf // normalised
	imageInv, textInv   buf
	imageD, textD       buf // gradients of the features
	imageCut, textCut   []span
	rowLogits, colLogit buf // [n, n]
}

// StepContrastive implements clip.Trainer. The loss joins all images and texts, so their features have to be known
// before the first backward pass. Where what the backward pass needs is more than Options.KeepBytes, it is not kept
// and every chunk but a tower's only one is run forward once more; the result is the same to the bit.
func (t *Trainer) StepContrastive(ctx context.Context, b clip.ContrastiveBatch, lr float64) (clip.StepStats, error) {
	stats, err := t.stepContrastive(ctx, &b, lr)
	if err != nil {
		return stats, fmt.Errorf("cpu: contrastive training step %d: %w", t.step+1, err)
	}
	return stats, nil
}

func (t *Trainer) stepContrastive(ctx context.Context, b *clip.ContrastiveBatch, lr float64) (stats clip.StepStats, err error) {
	n, err := t.checkContrastive(b, lr)
	if err != nil {
		return stats, err
	}
	c, e := &t.cf, t.cfg.EmbedDim
	c.imageCut, c.textCut = c.imageCut[:0], c.textCut[:0]
	for i, step := 0, evenChunks(n, t.rows/t.imageT.tokens); i < n; i += step {
		c.imageCut = append(c.imageCut, span{i, min(n, i+step)})
	}
	for i := 0; i < n; {
		k := t.textT.chunk(b.IDs[i*t.textT.context:], t.rows)
		c.textCut = append(c.textCut, span{i, i + k})
		i += k
	}
	keepImage := t.opt.Image && (len(c.imageCut) == 1 || int64(n)*t.imageT.kept(t.imageT.tokens, len(t.imageW.blocks)) <= t.keepBytes/2)
	keepText := len(c.textCut) == 1 || int64(n)*t.textT.kept(t.textT.context, len(t.textW.blocks)) <= t.keepBytes/2

	imageF, textF := c.imageF.get(n*e), c.textF.get(n*e)
	for i, s := range c.imageCut {
		if err := t.forwardImages(ctx, t.choose(keepImage, t.imagePass, i), b, s, imageF); err != nil {
			return stats, err
		}
	}
	for i, s := range c.textCut {
		if err := t.forwardTexts(ctx, t.choose(keepText, t.textPass, i), b, s, textF); err != nil {
			return stats, err
		}
	}
	t.text.clearSums(t.pool, t.text.g)
	stats.Loss, stats.Correct = t.infoNCE(n)
	if !finite(stats.Loss) {
		return stats, fmt.Errorf("the loss is %g", stats.Loss)
	}

	groups := []*group{t.text}
	if t.opt.Image {
		groups = []*group{t.image, t.text}
		t.image.clearSums(t.pool, t.image.g)
		for i, s := range c.imageCut {
			p := t.imagePass(i)
			if !keepImage {
				p = t.choose(true, t.imagePass, 0)
				if err := t.forwardImages(ctx, p, b, s, imageF); err != nil {
					return stats, err
				}
			}
			px := t.imageT.pixels()
			if err := t.imageT.backward(ctx, t.imageW, t.imageG, p, b.Pixels[s.lo*px:s.hi*px], c.imageD[s.lo*e:s.hi*e], i > 0); err != nil {
				return stats, err
			}
		}
	}
	for i, s := range c.textCut {
		p := t.textPass(i)
		if !keepText {
			p = t.choose(true, t.textPass, 0)
			if err := t.forwardTexts(ctx, p, b, s, textF); err != nil {
				return stats, err
			}
		}
		if err := t.textT.backward(ctx, t.textW, t.textG, p, c.textD[s.lo*e:s.hi*e], i > 0); err != nil {
			return stats, err
		}
	}
	if stats.GradNorm, err = t.apply(ctx, lr, groups...); err != nil {
		return stats, err
	}
	t.textW.scale[0] = min(t.textW.scale[0], maxLogitScale)
	return stats, nil
}

// choose returns pass i of a tower, set to keep, or the pass that keeps nothing.
func (t *Trainer) choose(keep bool, of func(int) *pass, i int) *pass {
	if !keep {
		return &t.infer
	}
	p := of(i)
	p.keep = true
	return p
}

// kept is about how many bytes the passes of one sequence of the given length keep.
func (s *stack) kept(length, layers int) int64 {
	return 4 * int64(length) * int64(layers) * int64(6*s.width+s.dims.mlp+s.heads*length)
}

func (t *Trainer) checkContrastive(b *clip.ContrastiveBatch, lr float64) (n int, err error) {
	if !t.opt.Text {
		return 0, fmt.Errorf("the text tower is not trained")
	}
	if n, err = imageCount(b.Pixels, t.imageT); err != nil {
		return 0, err
	}
	m, err := textCount(b.IDs, t.textT)
	if err != nil {
		return 0, err
	}
	if n == 0 || n != m {
		return 0, fmt.Errorf("%d images, %d texts", n, m)
	}
	return n, checkRate(lr)
}

func (t *Trainer) forwardImages(ctx context.Context, p *pass, b *clip.ContrastiveBatch, s span, feat []float32) error {
	px := t.imageT.pixels()
	if err := t.imageT.forward(ctx, t.imageW, p, b.Pixels[s.lo*px:s.hi*px], s.hi-s.lo); err != nil {
		return err
	}
	copy(feat[s.lo*t.cfg.EmbedDim:], p.feat)
	return nil
}

func (t *Trainer) forwardTexts(ctx context.Context, p *pass, b *clip.ContrastiveBatch, s span, feat []float32) error {
	if err := t.textT.forward(ctx, t.textW, p, b.IDs[s.lo*t.textT.context:s.hi*t.textT.context]); err != nil {
		return err
	}
	copy(feat[s.lo*t.cfg.EmbedDim:], p.feat)
	return nil
}

// infoNCE computes the loss from the features, their gradients, and that of the logit scale, which it adds to its
// gradient.
func (t *Trainer) infoNCE(n int) (loss float64, correct int) {
	c, e := &t.cf, t.cfg.EmbedDim
	f, g := c.imageU.get(n*e), c.textU.get(n*e)
	fi, gi := c.imageInv.get(n), c.textInv.get(n)
	t.normalise(f, fi, c.imageF, n)
	t.normalise(g, gi, c.textF, n)

	// Cosines, scaled, of images with texts and of texts with images; then, in their place, the loss's gradients.
	scale := float32(math.Exp(float64(t.textW.scale[0])))
	rows, cols := c.rowLogits.get(n*n), c.colLogit.get(n*n)
	t.pool.Gemm(&kernel.Gemm{M: n, N: n, K: e, A: f, LDA: e, B: g, LDB: e, TransB: true, C: rows, LDC: n})
	t.pool.Gemm(&kernel.Gemm{M: n, N: n, K: e, A: g, LDA: e, B: f, LDB: e, TransB: true, C: cols, LDC: n})
	t.resize(2 * n)
	dscale := make([]float64, 2*n)
	t.pool.Run(2*n, 1, func(w *kernel.Worker, lo, hi int) {
		logits := make([]float32, n)
		for i := lo; i < hi; i++ {
			x, j := rows, i
			if i >= n {
				x, j = cols, i-n
			}
			row := x[j*n : (j+1)*n]
			w.Scale(row, scale)
			copy(logits, row)
			t.correct[i] = i < n && argmax(row) == j
			t.losses[i] = kernel.CrossEntropy(row, row, j, 0, 0.5/float64(n))
			for k, d := range row { // logits are proportional to exp(logit_scale)
				dscale[i] += float64(d) * float64(logits[k])
			}
			w.Scale(row, scale)
		}
	})
	loss, correct = t.sum(2 * n)
	var ds float64
	for _, v := range dscale {
		ds += v
	}
	t.textG.scale[0] += float32(ds)

	df, dg := c.imageD.get(n*e), c.textD.get(n*e)
	t.pool.Gemm(&kernel.Gemm{M: n, N: e, K: n, A: rows, LDA: n, B: g, LDB: e, C: df, LDC: e})
	t.pool.Gemm(&kernel.Gemm{M: n, N: e, K: n, A: cols, LDA: n, TransA: true, B: g, LDB: e, C: df, LDC: e, Accumulate: true})
	t.pool.Gemm(&kernel.Gemm{M: n, N: e, K: n, A: rows, LDA: n, TransA: true, B: f, LDB: e, C: dg, LDC: e})
	t.pool.Gemm(&kernel.Gemm{M: n, N: e, K: n, A: cols, LDA: n, B: f, LDB: e, C: dg, LDC: e, Accumulate: true})
	t.normaliseGrad(df, f, fi, n)
	t.normaliseGrad(dg, g, gi, n)
	return loss / float64(2*n), correct
}

package cpu

import (
	"context"
	"fmt"
	"math"

	"paint/clip"
	"paint/cpu/internal/kernel"
	"paint/weights"
)

// trainRows is about how many tokens a training step has in flight: forward and backward passes run over chunks of
// the batch, so that memory does not grow with it. A chunk has to be large enough for the gradients of the weights,
// which every chunk reads and writes once, to cost little.
const trainRows = 1024

// group is one tower's parameters and, where it is trained, what its optimizer needs.
type group struct {
	*layout
	w, g, m, v []float32 // g, m and v are nil in a frozen tower
	step       int
}

func newGroup(l *layout, w *weights.Set, train bool) (*group, error) {
	data, err := l.load(w)
	if err != nil {
		return nil, err
	}
	g := &group{layout: l, w: data}
	if train {
		g.g, g.m, g.v = make([]float32, l.size), make([]float32, l.size), make([]float32, l.size)
	}
	return g, nil
}

// Trainer trains one model or both of its towers.
type Trainer struct {
	pool *kernel.Pool
	cfg  clip.Config
	opt  clip.TrainOptions
	step int
	rows int // tokens at a time

	image, text    *group // nil where no step needs the tower
	imageT         *imageTower
	textT          *textTower
	imageW, imageG *imageParams
	textW, textG   *textParams
	scratch        scratch
	infer          pass
	images, texts  []*pass
	keepBytes      int64
	unit, inv      buf // normalised features and 1/|features|
	dunit          buf
	logits         [2]buf
	losses         []float64
	correct        []bool
	cf             contrastive
}

var _ clip.Trainer = (*Trainer)(nil)

func (e *Engine) newTrainer(cfg clip.Config, w *weights.Set, opt clip.TrainOptions) (*Trainer, error) {
	if err := checkConfig(cfg); err != nil {
		return nil, err
	}
	if err := checkOptions(opt); err != nil {
		return nil, err
	}
	t := &Trainer{pool: e.pool, cfg: cfg, opt: opt, rows: e.trainRows, keepBytes: e.keep}
	il, tl := layouts(cfg)
	var err error
	// A frozen image tower takes part in contrastive steps, which need Text; a frozen text tower in none.
	t.imageT = newImageTower(cfg, e.pool, &t.scratch)
	if t.image, err = newGroup(il, w, opt.Image); err != nil {
		return nil, err
	}
	t.imageW = bindImage(cfg, il, t.image.w)
	if opt.Image {
		t.imageG = bindImage(cfg, il, t.image.g)
	}
	if opt.Text {
		t.textT = newTextTower(cfg, e.pool, &t.scratch)
		if t.text, err = newGroup(tl, w, true); err != nil {
			return nil, err
		}
		t.textW, t.textG = bindText(cfg, tl, t.text.w), bindText(cfg, tl, t.text.g)
	}
	return t, nil
}

func checkOptions(o clip.TrainOptions) error {
	switch {
	case !o.Image && !o.Text:
		return fmt.Errorf("options: neither tower is trained")
	case !(o.Beta1 >= 0 && o.Beta1 < 1) || !(o.Beta2 >= 0 && o.Beta2 < 1):
		return fmt.Errorf("options: betas %g and %g are not in [0, 1)", o.Beta1, o.Beta2)
	case !(o.Eps > 0) || math.IsInf(o.Eps, 0):
		return fmt.Errorf("options: epsilon %g is not positive", o.Eps)
	case !(o.WeightDecay >= 0) || math.IsInf(o.WeightDecay, 0):
		return fmt.Errorf("options: weight decay %g is negative or not finite", o.WeightDecay)
	case !(o.ClipNorm >= 0):
		return fmt.Errorf("options: gradient norm limit %g is negative or not a number", o.ClipNorm)
	}
	return nil
}

func checkRate(lr float64) error {
	if !(lr >= 0) || math.IsInf(lr, 0) {
		return fmt.Errorf("learning rate %g is negative or not finite", lr)
	}
	return nil
}

// StepHead implements clip.Trainer.
func (t *Trainer) StepHead(ctx context.Context, b clip.HeadBatch, lr float64) (clip.StepStats, error) {
	stats, err := t.stepHead(ctx, &b, lr)
	if err != nil {
		return stats, fmt.Errorf("cpu: training step %d: %w", t.step+1, err)
	}
	return stats, nil
}

func (t *Trainer) stepHead(ctx context.Context, b *clip.HeadBatch, lr float64) (stats clip.StepStats, err error) {
	n, err := t.checkHead(b, lr)
	if err != nil {
		return stats, err
	}
	t.image.clearSums(t.pool, t.image.g)
	p := t.imagePass(0)
	p.keep = true
	step := evenChunks(n, t.rows/t.imageT.tokens)
	for i := 0; i < n; i += step {
		c := min(step, n-i)
		pixels := b.Pixels[i*t.imageT.pixels() : (i+c)*t.imageT.pixels()]
		if err := t.imageT.forward(ctx, t.imageW, p, pixels, c); err != nil {
			return stats, err
		}
		dfeat, loss, correct := t.headLoss(p.feat, b, i, c, n)
		stats.Loss += loss / float64(n)
		stats.Correct += correct
		if !finite(stats.Loss) {
			return stats, fmt.Errorf("the loss is %g", stats.Loss)
		}
		if err := t.imageT.backward(ctx, t.imageW, t.imageG, p, pixels, dfeat, i > 0); err != nil {
			return stats, err
		}
	}
	stats.GradNorm, err = t.apply(ctx, lr, t.image)
	return stats, err
}

func (t *Trainer) checkHead(b *clip.HeadBatch, lr float64) (n int, err error) {
	if !t.opt.Image {
		return 0, fmt.Errorf("the image tower is not trained")
	}
	if n, err = imageCount(b.Pixels, t.imageT); err != nil {
		return 0, err
	}
	switch e := t.cfg.EmbedDim; {
	case n == 0:
		return 0, fmt.Errorf("no images")
	case len(b.Labels) != n:
		return 0, fmt.Errorf("%d images, %d labels", n, len(b.Labels))
	case len(b.Head) == 0 || len(b.Head)%e != 0:
		return 0, fmt.Errorf("%d values of the head are no positive multiple of %d features", len(b.Head), e)
	case !(b.LabelSmoothing >= 0 && b.LabelSmoothing < 1):
		return 0, fmt.Errorf("label smoothing %g is not in [0, 1)", b.LabelSmoothing)
	}
	classes := len(b.Head) / t.cfg.EmbedDim
	for i, l := range b.Labels {
		if l < 0 || l >= classes {
			return 0, fmt.Errorf("image %d: label %d, head has %d classes", i, l, classes)
		}
	}
	return n, checkRate(lr)
}

// headLoss is the sum of the losses of images first to first+n-1 of a batch of total, whose features it is given, and
// the gradient of the batch's mean loss for those features.
func (t *Trainer) headLoss(feat []float32, b *clip.HeadBatch, first, n, total int) (dfeat []float32, loss float64, correct int) {
	e := t.cfg.EmbedDim
	classes := len(b.Head) / e
	unit, inv := t.unit.get(n*e), t.inv.get(n)
	logits, dunit := t.logits[0].get(n*classes), t.dunit.get(n*e)
	t.resize(n)
	t.normalise(unit, inv, feat, n)
	t.pool.Gemm(&kernel.Gemm{M: n, N: classes, K: e, A: unit, LDA: e, B: b.Head, LDB: e, TransB: true, C: logits, LDC: classes})
	t.pool.Run(n, 1, func(_ *kernel.Worker, lo, hi int) {
		for i := lo; i < hi; i++ {
			row, label := logits[i*classes:(i+1)*classes], b.Labels[first+i]
			t.correct[i] = argmax(row) == label
			t.losses[i] = kernel.CrossEntropy(row, row, label, b.LabelSmoothing, 1/float64(total))
		}
	})
	t.pool.Gemm(&kernel.Gemm{M: n, N: e, K: classes, A: logits, LDA: classes, B: b.Head, LDB: e, C: dunit, LDC: e})
	t.normaliseGrad(dunit, unit, inv, n)
	loss, correct = t.sum(n)
	return dunit, loss, correct
}

func (t *Trainer) resize(n int) {
	if len(t.losses) < n {
		t.losses, t.correct = make([]float64, n), make([]bool, n)
	}
}

func (t *Trainer) sum(n int) (loss float64, correct int) {
	for i := range n {
		loss += t.losses[i]
		if t.correct[i] {
			correct++
		}
	}
	return loss, correct
}

// normalise divides the rows of feat [n, embed] by their lengths.
func (t *Trainer) normalise(unit, inv, feat []float32, n int) {
	e := t.cfg.EmbedDim
	t.pool.Run(n, 16, func(w *kernel.Worker, lo, hi int) {
		for i := lo; i < hi; i++ {
			inv[i] = w.L2Normalize(unit[i*e:(i+1)*e], feat[i*e:(i+1)*e])
		}
	})
}

// normaliseGrad turns the gradient of normalised features into that of the features.
func (t *Trainer) normaliseGrad(d, unit, inv []float32, n int) {
	e := t.cfg.EmbedDim
	t.pool.Run(n, 16, func(w *kernel.Worker, lo, hi int) {
		for i := lo; i < hi; i++ {
			w.L2NormalizeBackward(d[i*e:(i+1)*e], d[i*e:(i+1)*e], unit[i*e:(i+1)*e], inv[i])
		}
	})
}

func argmax(x []float32) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// apply clips the groups' gradients together and takes AdamW's step. It returns the norm before clipping.
func (t *Trainer) apply(ctx context.Context, lr float64, groups ...*group) (float64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	var sq float64
	for _, g := range groups {
		sq += t.pool.SumSq(g.g)
	}
	norm := math.Sqrt(sq)
	if !finite(norm) {
		return norm, fmt.Errorf("the gradient's norm is %g", norm)
	}
	o := kernel.AdamW{LR: lr, Beta1: t.opt.Beta1, Beta2: t.opt.Beta2, Eps: t.opt.Eps, WeightDecay: t.opt.WeightDecay, GradScale: 1}
	if t.opt.ClipNorm > 0 { // as torch.nn.utils.clip_grad_norm_
		o.GradScale = min(1, t.opt.ClipNorm/(norm+1e-6))
	}
	for _, g := range groups {
		g.step++
		o.Step = g.step
		t.pool.AdamW(g.w, g.g, g.m, g.v, &o)
	}
	t.step++
	return norm, nil
}

func (t *Trainer) imagePass(i int) *pass { return nth(&t.images, i) }
func (t *Trainer) textPass(i int) *pass  { return nth(&t.texts, i) }

func nth(s *[]*pass, i int) *pass {
	for len(*s) <= i {
		*s = append(*s, &pass{})
	}
	return (*s)[i]
}

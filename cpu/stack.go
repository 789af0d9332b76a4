package cpu

import (
	"context"
	"math"

	"paint/cpu/internal/kernel"
)

// dims are a tower's constants.
type dims struct {
	width, heads, mlp, embed int
	causal                   bool
	act                      kernel.Act
	eps                      float32
}

func (d *dims) headDim() int { return d.width / d.heads }

// scoreScale is what attention scores are multiplied by.
func (d *dims) scoreScale() float32 { return float32(1 / math.Sqrt(float64(d.headDim()))) }

// seqs says which rows of a matrix [rows, ...] belong to which sequence: sequence b has rows off[b] to off[b+1]-1.
// Texts have no rows after the token at which they are pooled: attention is causal, so those rows count for nothing.
type seqs struct {
	off   []int // [n+1]
	score []int // [n+1]: where the heads*len*len attention weights of a sequence begin
	pool  []int // [n]: the row at which each sequence is pooled
}

func (s *seqs) n() int    { return len(s.pool) }
func (s *seqs) rows() int { return s.off[len(s.pool)] }

func (s *seqs) reset() {
	s.off, s.score, s.pool = append(s.off[:0], 0), append(s.score[:0], 0), s.pool[:0]
}

// add appends a sequence of n rows that is pooled at its row pool.
func (s *seqs) add(n, pool, heads int) {
	s.pool = append(s.pool, s.rows()+pool)
	i := len(s.off) - 1
	s.off = append(s.off, s.off[i]+n)
	s.score = append(s.score, s.score[i]+heads*n*n)
}

// buf is memory that is kept from one pass to the next. Its contents after get are arbitrary.
type buf []float32

func (b *buf) get(n int) []float32 {
	if cap(*b) < n {
		*b = make([]float32, n)
	}
	*b = (*b)[:n]
	return *b
}

// scratch is memory that no pass needs after it: all passes of a model share it.
type scratch struct {
	hidden, rowGrad, stream buf    // [rows, width]
	wide, wideGrad          buf    // [rows, MLP width], or patches
	qkvGrad                 buf    // [rows, 3 width]
	pooled                  [4]buf // [n, width]
	pooledWide, pooledGrad  buf    // [n, MLP width]
	scores                  []buf  // one for each worker: [len, len]
}

// layerState is what one block's forward pass computes and its backward pass needs. Normalised rows and activations
// are not kept: they are cheaper to compute again than to hold. The last block attends only from the pooled rows: its
// qkv holds keys and values [rows, 2 width] and q the queries [n, width]; attn, mid and pre have n rows.
type layerState struct {
	x                          buf // [rows, width], the block's input
	qkv, q                     buf
	p                          buf // attention weights
	attn                       buf // [rows, width], heads side by side
	mid                        buf // [rows, width], after attention
	pre                        buf // [rows, MLP width], before the activation
	mean1, rstd1, mean2, rstd2 buf // [rows]
}

// pass is the state of one forward pass: with keep for each block, for a backward pass to come, else for one block
// at a time.
type pass struct {
	seqs
	keep         bool
	layers       []*layerState
	last         buf // [n, width]: the pooled rows after the last block
	meanE, rstdE buf // [n]
	feat         buf // [n, embed]

	embedded     buf // the image tower's embeddings before ln_pre [rows, width]
	mean0, rstd0 buf
	ids          []int32 // the text tower's token ids [rows]
}

func (p *pass) layer(i int) *layerState {
	if !p.keep {
		i = 0
	}
	for len(p.layers) <= i {
		p.layers = append(p.layers, &layerState{})
	}
	return p.layers[i]
}

// stack runs the part that both towers share.
type stack struct {
	dims
	pool *kernel.Pool
	sc   *scratch
}

func newStack(d dims, pool *kernel.Pool, sc *scratch) stack {
	for len(sc.scores) < pool.Threads() {
		sc.scores = append(sc.scores, nil)
	}
	return stack{d, pool, sc}
}

// norm normalises rows of x [rows, width] into dst and keeps the statistics where mean is not nil.
func (s *stack) norm(dst, x []float32, n norm, rows int, mean, rstd []float32) {
	s.pool.LayerNorm(&kernel.Norm{Rows: rows, N: s.width, Gamma: n.gamma, Beta: n.beta, Eps: s.eps,
		X: x, LDX: s.width, Mean: mean, RStd: rstd}, dst, s.width)
}

// product computes c = act(x w^T + b) + residual for w [out, in], with rows of every matrix adjacent.
func (s *stack) product(c, x []float32, l linear, rows, in, out int, residual, pre []float32, act kernel.Act) {
	s.pool.Gemm(&kernel.Gemm{M: rows, N: out, K: in, A: x, LDA: in, B: l.w, LDB: in, TransB: true, C: c, LDC: out,
		Bias: l.b, Act: act, Pre: pre, Residual: residual, LDR: out})
}

// gather copies the pooled rows of x [rows, width] to dst [n, width].
func (s *stack) gather(dst, x []float32, sq *seqs) {
	for b, r := range sq.pool {
		copy(dst[b*s.width:(b+1)*s.width], x[r*s.width:])
	}
}

// forward runs the blocks over p.layer(0).x, then the final LayerNorm and the projection of the pooled rows into
// p.feat.
func (s *stack) forward(ctx context.Context, w *stackParams, p *pass) error {
	for i := range w.blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		if i == len(w.blocks)-1 {
			s.lastBlock(&w.blocks[i], p, p.layer(i))
			break
		}
		l := p.layer(i)
		s.block(&w.blocks[i], p, l, p.layer(i+1))
	}
	n := p.n()
	h := s.sc.pooled[0].get(n * s.width)
	s.norm(h, p.last, w.lnEnd, n, p.meanE.get(n), p.rstdE.get(n))
	s.pool.Gemm(&kernel.Gemm{M: n, N: s.embed, K: s.width, A: h, LDA: s.width, B: w.proj, LDB: s.embed,
		C: p.feat.get(n * s.embed), LDC: s.embed})
	return nil
}

// block reads l.x and writes next.x. next may be l: x is read for the last time before it is written.
func (s *stack) block(w *block, p *pass, l, next *layerState) {
	rows, d := p.rows(), s.width
	h := s.sc.hidden.get(rows * d)
	s.norm(h, l.x, w.ln1, rows, l.mean1.get(rows), l.rstd1.get(rows))
	s.product(l.qkv.get(rows*3*d), h, w.in, rows, d, 3*d, nil, nil, kernel.None)
	s.attention(p, l)
	s.product(l.mid.get(rows*d), l.attn, w.out, rows, d, d, l.x, nil, kernel.None)
	s.mlp(next.x.get(rows*d), h, s.sc.wide.get(rows*s.mlpWidth()), w, rows, p, l)
}

func (s *stack) mlpWidth() int { return s.dims.mlp }

// mlp computes dst = l.mid + MLP(LN2(l.mid)) by way of the scratch matrices h [rows, width] and a [rows, MLP width].
func (s *stack) mlp(dst, h, a []float32, w *block, rows int, p *pass, l *layerState) {
	s.norm(h, l.mid, w.ln2, rows, l.mean2.get(rows), l.rstd2.get(rows))
	var pre []float32
	if p.keep {
		pre = l.pre.get(rows * s.mlpWidth())
	}
	s.product(a, h, w.fc, rows, s.width, s.mlpWidth(), nil, pre, s.act)
	s.product(dst, a, w.proj, rows, s.mlpWidth(), s.width, l.mid, nil, kernel.None)
}

// lastBlock computes the pooled rows only: keys and values come from all rows, the rest from n rows.
func (s *stack) lastBlock(w *block, p *pass, l *layerState) {
	rows, n, d := p.rows(), p.n(), s.width
	h := s.sc.hidden.get(rows * d)
	s.norm(h, l.x, w.ln1, rows, l.mean1.get(rows), l.rstd1.get(rows))
	hp, xp := s.sc.pooled[0].get(n*d), s.sc.pooled[1].get(n*d)
	s.gather(hp, h, &p.seqs)
	s.gather(xp, l.x, &p.seqs)
	wq, wkv := w.in.split(d)
	s.product(l.q.get(n*d), hp, wq, n, d, d, nil, nil, kernel.None)
	s.product(l.qkv.get(rows*2*d), h, wkv, rows, d, 2*d, nil, nil, kernel.None)
	s.poolAttention(p, l)
	s.product(l.mid.get(n*d), l.attn, w.out, n, d, d, xp, nil, kernel.None)
	s.mlp(p.last.get(n*d), hp, s.sc.pooledWide.get(n*s.mlpWidth()), w, n, p, l)
}

// split cuts a projection to queries, keys and values into that of the queries and that of the others.
func (l linear) split(d int) (q, kv linear) {
	return linear{l.w[:d*d], l.b[:d]}, linear{l.w[d*d:], l.b[d:]}
}

// linearGrad writes (or, with add, adds) the gradients of a linear layer from its input x [rows, in] and the gradient
// dy [rows, out] of its output; the bias's is always added to.
func (s *stack) linearGrad(g linear, x, dy []float32, rows, in, out int, add bool) {
	s.pool.ColSum(g.b, dy, rows, out, out)
	s.pool.Gemm(&kernel.Gemm{M: out, N: in, K: rows, A: dy, LDA: out, TransA: true, B: x, LDB: in, C: g.w, LDC: in, Accumulate: add})
}

// inputGrad writes dx [rows, in] = dy [rows, out] w.
func (s *stack) inputGrad(dx, dy []float32, w []float32, rows, in, out int) {
	s.pool.Gemm(&kernel.Gemm{M: rows, N: in, K: out, A: dy, LDA: out, B: w, LDB: in, C: dx, LDC: in})
}

// normGrad adds to dx the gradient of a LayerNorm's input x, and to g that of its parameters.
func (s *stack) normGrad(dx, dy, x []float32, n, g norm, rows int, mean, rstd []float32) {
	s.pool.LayerNormBackward(&kernel.Norm{Rows: rows, N: s.width, Gamma: n.gamma, Beta: n.beta, Eps: s.eps, X: x, LDX: s.width,
		Mean: mean, RStd: rstd}, dx, s.width, dy, s.width, g.gamma, g.beta)
}

// backward takes dfeat [n, embed], writes or adds the parameters' gradients to g (see clearSums), and returns the
// gradient of p.layer(0).x, which stays valid until the next pass.
func (s *stack) backward(ctx context.Context, w, g *stackParams, p *pass, dfeat []float32, add bool) ([]float32, error) {
	n, d := p.n(), s.width
	h, dh, dlast := s.sc.pooled[0].get(n*d), s.sc.pooled[1].get(n*d), s.sc.pooled[2].get(n*d)
	s.norm(h, p.last, w.lnEnd, n, nil, nil)
	s.pool.Gemm(&kernel.Gemm{M: d, N: s.embed, K: n, A: h, LDA: d, TransA: true, B: dfeat, LDB: s.embed, C: g.proj, LDC: s.embed, Accumulate: add})
	s.pool.Gemm(&kernel.Gemm{M: n, N: d, K: s.embed, A: dfeat, LDA: s.embed, B: w.proj, LDB: s.embed, TransB: true, C: dh, LDC: d})
	clear(dlast)
	s.normGrad(dlast, dh, p.last, w.lnEnd, g.lnEnd, n, p.meanE, p.rstdE)

	dx := s.sc.stream.get(p.rows() * d)
	for i := len(w.blocks) - 1; i >= 0; i-- {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if i == len(w.blocks)-1 {
			s.lastBlockGrad(&w.blocks[i], &g.blocks[i], p, p.layer(i), dx, dlast, add)
		} else {
			s.blockGrad(&w.blocks[i], &g.blocks[i], p, p.layer(i), dx, add)
		}
	}
	return dx, nil
}

// mlpGrad turns dx, the gradient of the MLP half's output, into that of its input l.mid.
func (s *stack) mlpGrad(w, g *block, l *layerState, dx, h, dh, a, da []float32, rows int, add bool) {
	d, m := s.width, s.mlpWidth()
	s.pool.Activate(a, l.pre, s.act)
	s.linearGrad(g.proj, a, dx, rows, m, d, add)
	s.inputGrad(da, dx, w.proj.w, rows, m, d)
	s.pool.ActivateBackward(da, l.pre, s.act)
	s.norm(h, l.mid, w.ln2, rows, nil, nil)
	s.linearGrad(g.fc, h, da, rows, d, m, add)
	s.inputGrad(dh, da, w.fc.w, rows, d, m)
	s.normGrad(dx, dh, l.mid, w.ln2, g.ln2, rows, l.mean2, l.rstd2)
}

// blockGrad turns dx [rows, width], the gradient of the block's output, into that of its input.
func (s *stack) blockGrad(w, g *block, p *pass, l *layerState, dx []float32, add bool) {
	rows, d := p.rows(), s.width
	h, dh := s.sc.hidden.get(rows*d), s.sc.rowGrad.get(rows*d)
	s.mlpGrad(w, g, l, dx, h, dh, s.sc.wide.get(rows*s.mlpWidth()), s.sc.wideGrad.get(rows*s.mlpWidth()), rows, add)
	s.linearGrad(g.out, l.attn, dx, rows, d, d, add)
	s.inputGrad(dh, dx, w.out.w, rows, d, d)
	dqkv := s.sc.qkvGrad.get(rows * 3 * d)
	s.attentionGrad(p, l, dh, dqkv)
	s.norm(h, l.x, w.ln1, rows, nil, nil)
	s.linearGrad(g.in, h, dqkv, rows, d, 3*d, add)
	s.inputGrad(dh, dqkv, w.in.w, rows, d, 3*d)
	s.normGrad(dx, dh, l.x, w.ln1, g.ln1, rows, l.mean1, l.rstd1)
}

// lastBlockGrad writes to dx [rows, width] the gradient of the last block's input, from that of the pooled rows of
// its output in dp [n, width], which it overwrites.
func (s *stack) lastBlockGrad(w, g *block, p *pass, l *layerState, dx, dp []float32, add bool) {
	rows, n, d := p.rows(), p.n(), s.width
	hp, dhp, dq := s.sc.pooled[0].get(n*d), s.sc.pooled[1].get(n*d), s.sc.pooled[3].get(n*d)
	s.mlpGrad(w, g, l, dp, hp, dhp, s.sc.pooledWide.get(n*s.mlpWidth()), s.sc.pooledGrad.get(n*s.mlpWidth()), n, add)
	s.linearGrad(g.out, l.attn, dp, n, d, d, add)
	s.inputGrad(dhp, dp, w.out.w, n, d, d)
	dkv := s.sc.qkvGrad.get(rows * 2 * d)
	s.poolAttentionGrad(p, l, dhp, dq, dkv)

	h, dh := s.sc.hidden.get(rows*d), s.sc.rowGrad.get(rows*d)
	s.norm(h, l.x, w.ln1, rows, nil, nil)
	s.gather(hp, h, &p.seqs)
	wq, wkv := w.in.split(d)
	gq, gkv := g.in.split(d)
	s.linearGrad(gq, hp, dq, n, d, d, add)
	s.linearGrad(gkv, h, dkv, rows, d, 2*d, add)
	s.inputGrad(dh, dkv, wkv.w, rows, d, 2*d)
	s.inputGrad(dhp, dq, wq.w, n, d, d)
	s.pool.Run(n, 64, func(kw *kernel.Worker, lo, hi int) {
		for b := lo; b < hi; b++ {
			kw.Add(dh[p.pool[b]*d:][:d], dhp[b*d:][:d])
		}
	})
	clear(dx)
	s.normGrad(dx, dh, l.x, w.ln1, g.ln1, rows, l.mean1, l.rstd1)
	for b, r := range p.pool {
		for j, v := range dp[b*d : (b+1)*d] {
			dx[r*d+j] += v
		}
	}
}

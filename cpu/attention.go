package cpu

import "paint/cpu/internal/kernel"

// attention writes softmax(q k^T / sqrt(head width)) v of every sequence and head to l.attn, and with p.keep the
// softmax to l.p.
func (s *stack) attention(p *pass, l *layerState) {
	d, hd, scale := s.width, s.headDim(), s.scoreScale()
	qkv, out := l.qkv, l.attn.get(p.rows()*d)
	var kept []float32
	if p.keep {
		kept = l.p.get(p.score[p.n()])
	}
	s.pool.Run(p.n()*s.heads, 1, func(w *kernel.Worker, lo, hi int) {
		for i := lo; i < hi; i++ {
			b, head := i/s.heads, i%s.heads
			r, t := p.off[b], p.off[b+1]-p.off[b]
			var pr []float32
			if kept != nil {
				pr = kept[p.score[b]+head*t*t:][:t*t]
			} else {
				pr = s.sc.scores[w.ID()].get(t * t)
			}
			q := qkv[r*3*d+head*hd:]
			w.Gemm(&kernel.Gemm{M: t, N: t, K: hd, A: q, LDA: 3 * d, B: q[d:], LDB: 3 * d, TransB: true, C: pr, LDC: t})
			for j := range t {
				w.Softmax(pr[j*t:(j+1)*t], s.seen(j, t), scale)
			}
			w.Gemm(&kernel.Gemm{M: t, N: hd, K: t, A: pr, LDA: t, B: q[2*d:], LDB: 3 * d, C: out[r*d+head*hd:], LDC: d})
		}
	})
}

// seen is the number of positions of a sequence of t that position j attends to.
func (s *stack) seen(j, t int) int {
	if s.causal {
		return j + 1
	}
	return t
}

// attentionGrad writes dqkv [rows, 3 width] from dout [rows, width], the gradient of l.attn.
func (s *stack) attentionGrad(p *pass, l *layerState, dout, dqkv []float32) {
	d, hd, scale := s.width, s.headDim(), s.scoreScale()
	s.pool.Run(p.n()*s.heads, 1, func(w *kernel.Worker, lo, hi int) {
		for i := lo; i < hi; i++ {
			b, head := i/s.heads, i%s.heads
			r, t := p.off[b], p.off[b+1]-p.off[b]
			pr, ds := l.p[p.score[b]+head*t*t:][:t*t], s.sc.scores[w.ID()].get(t*t)
			q, dq, do := l.qkv[r*3*d+head*hd:], dqkv[r*3*d+head*hd:], dout[r*d+head*hd:]
			// dv = p^T do, dp = do v^T, ds = softmax', dq = ds k, dk = ds^T q
			w.Gemm(&kernel.Gemm{M: t, N: hd, K: t, A: pr, LDA: t, TransA: true, B: do, LDB: d, C: dq[2*d:], LDC: 3 * d})
			w.Gemm(&kernel.Gemm{M: t, N: t, K: hd, A: do, LDA: d, B: q[2*d:], LDB: 3 * d, TransB: true, C: ds, LDC: t})
			for j := range t {
				w.SoftmaxBackward(ds[j*t:(j+1)*t], pr[j*t:(j+1)*t], s.seen(j, t), scale)
			}
			w.Gemm(&kernel.Gemm{M: t, N: hd, K: t, A: ds, LDA: t, B: q[d:], LDB: 3 * d, C: dq, LDC: 3 * d})
			w.Gemm(&kernel.Gemm{M: t, N: hd, K: t, A: ds, LDA: t, TransA: true, B: q, LDB: 3 * d, C: dq[d:], LDC: 3 * d})
		}
	})
}

// poolAttention is attention from the pooled row of each sequence alone: queries l.q [n, width], keys and values
// l.qkv [rows, 2 width], weights l.p [heads, len] for each sequence, output l.attn [n, width]. The pooled row sees the
// whole sequence: an image's because its attention is not causal, a text's because it is the last.
func (s *stack) poolAttention(p *pass, l *layerState) {
	d, hd, scale := s.width, s.headDim(), s.scoreScale()
	out, probs := l.attn.get(p.n()*d), l.p.get(p.rows()*s.heads)
	s.pool.Run(p.n(), 1, func(w *kernel.Worker, lo, hi int) {
		for b := lo; b < hi; b++ {
			r, t := p.off[b], p.off[b+1]-p.off[b]
			for head := range s.heads {
				q, o := l.q[b*d+head*hd:][:hd], out[b*d+head*hd:][:hd]
				pr := probs[r*s.heads+head*t:][:t]
				k := l.qkv[r*2*d+head*hd:]
				for j := range pr {
					pr[j] = w.Dot(q, k[j*2*d:][:hd])
				}
				w.Softmax(pr, t, scale)
				clear(o)
				for j, v := range pr {
					w.Axpy(o, v, k[j*2*d+d:][:hd])
				}
			}
		}
	})
}

// poolAttentionGrad writes dq [n, width] and dkv [rows, 2 width] from dout [n, width], the gradient of l.attn.
func (s *stack) poolAttentionGrad(p *pass, l *layerState, dout, dq, dkv []float32) {
	d, hd, scale := s.width, s.headDim(), s.scoreScale()
	clear(dkv)
	clear(dq)
	s.pool.Run(p.n(), 1, func(w *kernel.Worker, lo, hi int) {
		for b := lo; b < hi; b++ {
			r, t := p.off[b], p.off[b+1]-p.off[b]
			ds := s.sc.scores[w.ID()].get(t)
			for head := range s.heads {
				q, do := l.q[b*d+head*hd:][:hd], dout[b*d+head*hd:][:hd]
				pr := l.p[r*s.heads+head*t:][:t]
				k, dk := l.qkv[r*2*d+head*hd:], dkv[r*2*d+head*hd:]
				for j := range ds {
					ds[j] = w.Dot(do, k[j*2*d+d:][:hd])
					w.Axpy(dk[j*2*d+d:][:hd], pr[j], do)
				}
				w.SoftmaxBackward(ds, pr, t, scale)
				g := dq[b*d+head*hd:][:hd]
				for j, v := range ds {
					w.Axpy(g, v, k[j*2*d:][:hd])
					w.Axpy(dk[j*2*d:][:hd], v, q)
				}
			}
		}
	})
}

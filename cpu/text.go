package cpu

import (
	"context"
	"fmt"

	"paint/clip"
	"paint/cpu/internal/kernel"
)

// textTower runs the text transformer: token embeddings, positions, causal blocks, ln_final of the end-of-text token,
// projection. Tokens behind the one at which a text is pooled cannot reach it, so they are left out.
type textTower struct {
	stack
	context, vocab, eot int
}

func newTextTower(c clip.Config, pool *kernel.Pool, sc *scratch) *textTower {
	t := c.Text
	return &textTower{
		stack:   newStack(dims{t.Width, t.Heads, t.MLPWidth, c.EmbedDim, true, activation(c), float32(t.LayerNormEps)}, pool, sc),
		context: t.ContextLength, vocab: t.VocabSize, eot: t.EOT,
	}
}

// pooled is the position at which a text is pooled: its first end-of-text token or, where the model has none, the
// first of its largest ids. A text without end-of-text token is pooled at position 0, as the libraries do.
func (t *textTower) pooled(ids []int32) int {
	best := 0
	for i, id := range ids {
		if t.eot >= 0 && id == int32(t.eot) {
			return i
		}
		if t.eot < 0 && id > ids[best] {
			best = i
		}
	}
	return best
}

// check reports ids [n, context] that are no ids of the vocabulary.
func (t *textTower) check(ids []int32) error {
	for i, id := range ids {
		if id < 0 || int(id) >= t.vocab {
			return fmt.Errorf("text %d, position %d: token id %d, vocabulary has %d", i/t.context, i%t.context, id, t.vocab)
		}
	}
	return nil
}

// forward encodes the texts ids [n, context] into p.feat [n, embed].
func (t *textTower) forward(ctx context.Context, w *textParams, p *pass, ids []int32) error {
	p.reset()
	p.ids = p.ids[:0]
	for o := 0; o < len(ids); o += t.context {
		text := ids[o : o+t.context]
		last := t.pooled(text)
		p.add(last+1, last, t.heads)
		p.ids = append(p.ids, text[:last+1]...)
	}
	rows, d := p.rows(), t.width
	x := p.layer(0).x.get(rows * d)
	t.pool.Run(p.n(), 1, func(kw *kernel.Worker, lo, hi int) {
		for b := lo; b < hi; b++ {
			for r := p.off[b]; r < p.off[b+1]; r++ {
				row := x[r*d : (r+1)*d]
				copy(row, w.tok[int(p.ids[r])*d:])
				kw.Add(row, w.pos[(r-p.off[b])*d:][:d])
			}
		}
	})
	return t.stack.forward(ctx, &w.stackParams, p)
}

// backward writes or adds to g the gradients of all parameters but the logit scale, from dfeat [n, embed].
func (t *textTower) backward(ctx context.Context, w, g *textParams, p *pass, dfeat []float32, add bool) error {
	dx, err := t.stack.backward(ctx, &w.stackParams, &g.stackParams, p, dfeat, add)
	if err != nil {
		return err
	}
	d := t.width
	// Workers take columns, so that each sum has one order.
	t.pool.Run(d, 64, func(kw *kernel.Worker, lo, hi int) {
		for b := range p.n() {
			for r := p.off[b]; r < p.off[b+1]; r++ {
				row := dx[r*d+lo : r*d+hi]
				kw.Add(g.tok[int(p.ids[r])*d+lo:][:hi-lo], row)
				kw.Add(g.pos[(r-p.off[b])*d+lo:][:hi-lo], row)
			}
		}
	})
	return nil
}

// chunk is the number of texts, at least one, with which to begin so that they have no more than the given rows.
func (t *textTower) chunk(ids []int32, rows int) int {
	n := 0
	for o := 0; o < len(ids); o += t.context {
		rows -= t.pooled(ids[o:o+t.context]) + 1
		if rows < 0 && n > 0 {
			break
		}
		n++
	}
	return n
}

// evenChunks is the number of items in each of the fewest chunks of at most limit that n can be cut into.
func evenChunks(n, limit int) int {
	limit = max(1, limit)
	k := max(1, (n+limit-1)/limit)
	return max(1, (n+k-1)/k)
}

package cpu

import (
	"context"
	"fmt"

	"paint/clip"
	"paint/weights"
)

// encodeRows is about how many tokens are encoded at a time: enough for products to run at full speed, few enough
// for the activations to stay in the cache.
const encodeRows = 1024

// Encoder encodes images and texts.
type Encoder struct {
	rows    int // tokens at a time
	embed   int
	image   *imageTower // nil where the weights have no image tower
	text    *textTower
	imageL  *layout
	textL   *layout
	imageW  []float32
	textW   []float32
	imageP  *imageParams
	textP   *textParams
	scratch scratch
	pass    pass
}

var _ clip.Encoder = (*Encoder)(nil)

func (e *Engine) newEncoder(cfg clip.Config, w *weights.Set) (*Encoder, error) {
	if err := checkConfig(cfg); err != nil {
		return nil, err
	}
	m := &Encoder{rows: e.encodeRows, embed: cfg.EmbedDim}
	m.imageL, m.textL = layouts(cfg)
	var err error
	if n, _ := m.imageL.presence(w); n > 0 {
		if m.imageW, err = m.imageL.load(w); err != nil {
			return nil, err
		}
		m.image, m.imageP = newImageTower(cfg, e.pool, &m.scratch), bindImage(cfg, m.imageL, m.imageW)
	}
	if n, _ := m.textL.presence(w); n > 0 {
		if m.textW, err = m.textL.load(w); err != nil {
			return nil, err
		}
		m.text, m.textP = newTextTower(cfg, e.pool, &m.scratch), bindText(cfg, m.textL, m.textW)
	}
	if m.image == nil && m.text == nil {
		return nil, fmt.Errorf("the weights have neither tower")
	}
	return m, nil
}

// EncodeImage implements clip.Encoder. When ctx ends it returns its error and dst is undefined.
func (m *Encoder) EncodeImage(ctx context.Context, dst, pixels []float32) error {
	const op = "cpu: encoding images"
	if m.image == nil {
		return fmt.Errorf("%s: the weights have no image tower", op)
	}
	n, err := imageCount(pixels, m.image)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if len(dst) != n*m.embed {
		return fmt.Errorf("%s: %d images of %d features need %d values, dst has %d", op, n, m.embed, n*m.embed, len(dst))
	}
	if err := encodeImages(ctx, m.rows, m.image, m.imageP, &m.pass, dst, pixels, n); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

func imageCount(pixels []float32, t *imageTower) (int, error) {
	if len(pixels)%t.pixels() != 0 {
		return 0, fmt.Errorf("%d pixel values are no multiple of 3*%d*%d", len(pixels), t.size, t.size)
	}
	return len(pixels) / t.pixels(), nil
}

func encodeImages(ctx context.Context, rows int, t *imageTower, w *imageParams, p *pass, dst, pixels []float32, n int) error {
	step := evenChunks(n, rows/t.tokens)
	for i := 0; i < n; i += step {
		c := min(step, n-i)
		if err := t.forward(ctx, w, p, pixels[i*t.pixels():(i+c)*t.pixels()], c); err != nil {
			return err
		}
		copy(dst[i*t.embed:], p.feat)
	}
	return ctx.Err()
}

// EncodeText implements clip.Encoder. When ctx ends it returns its error and dst is undefined.
func (m *Encoder) EncodeText(ctx context.Context, dst []float32, ids []int32) error {
	const op = "cpu: encoding texts"
	if m.text == nil {
		return fmt.Errorf("%s: the weights have no text tower", op)
	}
	n, err := textCount(ids, m.text)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if len(dst) != n*m.embed {
		return fmt.Errorf("%s: %d texts of %d features need %d values, dst has %d", op, n, m.embed, n*m.embed, len(dst))
	}
	if err := encodeTexts(ctx, m.rows, m.text, m.textP, &m.pass, dst, ids); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

func textCount(ids []int32, t *textTower) (int, error) {
	if len(ids)%t.context != 0 {
		return 0, fmt.Errorf("%d token ids are no multiple of the context length %d", len(ids), t.context)
	}
	return len(ids) / t.context, t.check(ids)
}

func encodeTexts(ctx context.Context, rows int, t *textTower, w *textParams, p *pass, dst []float32, ids []int32) error {
	for len(ids) > 0 {
		c := t.chunk(ids, rows)
		if err := t.forward(ctx, w, p, ids[:c*t.context]); err != nil {
			return err
		}
		dst = dst[copy(dst, p.feat):]
		ids = ids[c*t.context:]
	}
	return ctx.Err()
}

// SetWeights implements clip.Encoder. All of w is checked before anything is replaced.
func (m *Encoder) SetWeights(w *weights.Set) error {
	const op = "cpu: replacing weights"
	type part struct {
		l    *layout
		data []float32
		i    int
	}
	var parts []part
	for t := range w.All() {
		p := part{m.imageL, m.imageW, 0}
		i, ok := p.l.index[t.Name]
		if !ok {
			p = part{m.textL, m.textW, 0}
			i, ok = p.l.index[t.Name]
		}
		if !ok || p.data == nil {
			return fmt.Errorf("%s: the encoder has no tensor %q", op, t.Name)
		}
		if err := check(p.l.params[i], t); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		p.i = i
		parts = append(parts, p)
	}
	for _, p := range parts {
		w.Get(p.l.params[p.i].Name).CopyFloat32(p.l.at(p.data, p.i))
	}
	return nil
}

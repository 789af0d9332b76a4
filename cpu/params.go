package cpu

import (
	"fmt"
	"strings"

	"paint/clip"
	"paint/cpu/internal/kernel"
	"paint/weights"
)

// layout places the parameters of one tower in one slice of float32, so that what treats them all alike (norms,
// AdamW) is one pass.
type layout struct {
	params []clip.Param
	off    []int // of each parameter
	index  map[string]int
	size   int
}

// Parameters start at multiples of a cache line.
const lineFloats = 16

func newLayout(params []clip.Param) *layout {
	l := &layout{params: params, index: make(map[string]int, len(params))}
	for i, p := range params {
		l.off = append(l.off, l.size)
		l.index[p.Name] = i
		l.size += (count(p.Shape) + lineFloats - 1) / lineFloats * lineFloats
	}
	return l
}

// The layouts of the two towers; the logit scale is the text tower's.
func layouts(cfg clip.Config) (image, text *layout) {
	var v, t []clip.Param
	for _, p := range cfg.Params() {
		if strings.HasPrefix(p.Name, "visual.") {
			v = append(v, p)
		} else {
			t = append(t, p)
		}
	}
	return newLayout(v), newLayout(t)
}

func count(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// at returns parameter i's part of data.
func (l *layout) at(data []float32, i int) []float32 {
	n := count(l.params[i].Shape)
	return data[l.off[i] : l.off[i]+n : l.off[i]+n]
}

func (l *layout) get(data []float32, name string) []float32 {
	i, ok := l.index[name]
	if !ok {
		panic(fmt.Sprintf("cpu: no parameter %q", name))
	}
	return l.at(data, i)
}

// presence counts the layout's parameters that w has.
func (l *layout) presence(w *weights.Set) (n int, missing string) {
	for _, p := range l.params {
		if w.Get(p.Name) != nil {
			n++
		} else if missing == "" {
			missing = p.Name
		}
	}
	return n, missing
}

// check says whether t can stand for parameter p.
func check(p clip.Param, t *weights.Tensor) error {
	same := len(p.Shape) == len(t.Shape) || count(p.Shape) == 1 && t.Len() == 1
	for i := range min(len(p.Shape), len(t.Shape)) {
		same = same && p.Shape[i] == t.Shape[i]
	}
	if !same {
		return fmt.Errorf("tensor %q: shape %v in the model, %v given", p.Name, p.Shape, t.Shape)
	}
	if !t.DType.Float() {
		return fmt.Errorf("tensor %q: type %v is not a floating-point type", p.Name, t.DType)
	}
	if len(t.Data) != t.Len()*t.DType.Size() {
		return fmt.Errorf("tensor %q: shape %v needs %d bytes, has %d", p.Name, t.Shape, t.Len()*t.DType.Size(), len(t.Data))
	}
	return nil
}

// load copies all of the layout's parameters from w into new memory.
func (l *layout) load(w *weights.Set) ([]float32, error) {
	for _, p := range l.params {
		t := w.Get(p.Name)
		if t == nil {
			return nil, fmt.Errorf("no tensor %q", p.Name)
		}
		if err := check(p, t); err != nil {
			return nil, err
		}
	}
	data := make([]float32, l.size)
	for i, p := range l.params {
		w.Get(p.Name).CopyFloat32(l.at(data, i))
	}
	return data, nil
}

// checkConfig rejects architectures that the engine cannot run.
func checkConfig(c clip.Config) error {
	const size, layers, most = 1 << 14, 1 << 10, 1 << 24
	for _, f := range []struct {
		name   string
		v, max int
	}{
		{"embed_dim", c.EmbedDim, most},
		{"image size", c.Vision.ImageSize, size}, {"patch size", c.Vision.PatchSize, size}, {"vision width", c.Vision.Width, most},
		{"vision layers", c.Vision.Layers, layers}, {"vision heads", c.Vision.Heads, most}, {"vision MLP width", c.Vision.MLPWidth, most},
		{"context length", c.Text.ContextLength, size}, {"vocabulary", c.Text.VocabSize, most}, {"text width", c.Text.Width, most},
		{"text layers", c.Text.Layers, layers}, {"text heads", c.Text.Heads, most}, {"text MLP width", c.Text.MLPWidth, most},
	} {
		if f.v < 1 || f.v > f.max {
			return fmt.Errorf("config: %s is %d, not in 1..%d", f.name, f.v, f.max)
		}
	}
	switch v, t := c.Vision, c.Text; {
	case v.ImageSize%v.PatchSize != 0:
		return fmt.Errorf("config: image size %d is no multiple of patch size %d", v.ImageSize, v.PatchSize)
	case v.Width%v.Heads != 0:
		return fmt.Errorf("config: vision width %d is no multiple of %d heads", v.Width, v.Heads)
	case t.Width%t.Heads != 0:
		return fmt.Errorf("config: text width %d is no multiple of %d heads", t.Width, t.Heads)
	case !(v.LayerNormEps > 0) || !(t.LayerNormEps > 0):
		return fmt.Errorf("config: layer norm epsilons %g (vision) and %g (text) must be positive", v.LayerNormEps, t.LayerNormEps)
	}
	return nil
}

type norm struct{ gamma, beta []float32 }

// linear is y = x w^T + b with w [out, in].
type linear struct{ w, b []float32 }

type block struct {
	ln1, ln2          norm
	in, out, fc, proj linear
}

// stackParams are the parameters that both towers have: transformer blocks, then a LayerNorm and a projection
// [width, embed] of one row for each sequence. The types here hold gradients as well.
type stackParams struct {
	blocks []block
	lnEnd  norm
	proj   []float32
}

func bindStack(l *layout, data []float32, prefix string, layers int, lnEnd, proj string) stackParams {
	get := func(name string) []float32 { return l.get(data, name) }
	nm := func(name string) norm { return norm{get(name + ".weight"), get(name + ".bias")} }
	s := stackParams{lnEnd: nm(lnEnd), proj: get(proj)}
	for i := range layers {
		b := fmt.Sprintf("%s.resblocks.%d.", prefix, i)
		lin := func(name string) linear { return linear{get(b + name + ".weight"), get(b + name + ".bias")} }
		s.blocks = append(s.blocks, block{
			ln1: nm(b + "ln_1"), ln2: nm(b + "ln_2"),
			in:  linear{get(b + "attn.in_proj_weight"), get(b + "attn.in_proj_bias")},
			out: lin("attn.out_proj"), fc: lin("mlp.c_fc"), proj: lin("mlp.c_proj"),
		})
	}
	return s
}

// imageParams are views of the image tower's parameters.
type imageParams struct {
	stackParams
	cls, pos, conv []float32
	lnPre          norm
}

func bindImage(c clip.Config, l *layout, data []float32) *imageParams {
	get := func(name string) []float32 { return l.get(data, name) }
	return &imageParams{
		stackParams: bindStack(l, data, "visual.transformer", c.Vision.Layers, "visual.ln_post", "visual.proj"),
		cls:         get("visual.class_embedding"), pos: get("visual.positional_embedding"), conv: get("visual.conv1.weight"),
		lnPre: norm{get("visual.ln_pre.weight"), get("visual.ln_pre.bias")},
	}
}

// textParams are views of the text tower's parameters.
type textParams struct {
	stackParams
	tok, pos []float32
	scale    []float32 // the logit scale, one value
}

func bindText(c clip.Config, l *layout, data []float32) *textParams {
	return &textParams{
		stackParams: bindStack(l, data, "transformer", c.Text.Layers, "ln_final", "text_projection"),
		tok:         l.get(data, "token_embedding.weight"), pos: l.get(data, "positional_embedding"), scale: l.get(data, "logit_scale"),
	}
}

// clearSums zeroes the gradients that backward passes add to. Those of matrices are written by a product, which
// replaces them in a step's first pass.
func (l *layout) clearSums(pool *kernel.Pool, grads []float32) {
	for i, p := range l.params {
		if !isProduct(p) {
			g := l.at(grads, i)
			pool.Run(len(g), 1<<14, func(_ *kernel.Worker, lo, hi int) { clear(g[lo:hi]) })
		}
	}
}

func isProduct(p clip.Param) bool {
	switch {
	case strings.HasSuffix(p.Name, "positional_embedding"), p.Name == "token_embedding.weight":
		return false
	}
	return len(p.Shape) >= 2
}

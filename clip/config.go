// Package clip describes CLIP models: configurations, parameter names and shapes, the layouts in which checkpoints
// come, and the Engine interface that runs them.
//
// Inside the project every model has OpenAI's parameter names ("visual.conv1.weight", "transformer.resblocks.0...",
// "logit_scale"), which OpenCLIP shares. Load reads a checkpoint of any layout into them and Save writes it back in
// the layout it came in.
package clip

import (
	"fmt"
	"slices"

	"paint/checkpoint"
	"paint/weights"
)

// Config is the architecture of a two-tower CLIP with a vision transformer.
type Config struct {
	EmbedDim   int
	QuickGELU  bool // x*sigmoid(1.702x) where set, exact (erf) GELU otherwise; both towers
	Vision     Vision
	Text       Text
	Preprocess Preprocess
}

// Vision is the image tower. Tokens are the patches of a square image behind one class token.
type Vision struct {
	ImageSize, PatchSize int // pixels
	Width, Layers, Heads int
	MLPWidth             int // hidden units of a block's MLP
	LayerNormEps         float64
}

// Tokens is the sequence length: patches and the class token.
func (v Vision) Tokens() int { g := v.ImageSize / v.PatchSize; return g*g + 1 }

// Text is the text tower: causal attention, pooled at the end-of-text token.
type Text struct {
	ContextLength, VocabSize int
	Width, Layers, Heads     int
	MLPWidth                 int
	LayerNormEps             float64
	// EOT is the end-of-text id. A text is pooled at its first EOT; where EOT is negative, at the largest id
	// (OpenAI's rule, which is the same wherever end-of-text is the last id of the vocabulary).
	EOT int
}

// Preprocess is what happens to an image before the tower sees it.
type Preprocess struct {
	Mean, Std [3]float64 // of RGB in 0..1
}

// OpenAI's normalisation, the default.
var (
	OpenAIMean = [3]float64{0.48145466, 0.4578275, 0.40821073}
	OpenAIStd  = [3]float64{0.26862954, 0.26130258, 0.27577711}
)

// Param is one parameter's internal name and shape.
type Param struct {
	Name  string
	Shape []int
}

// Params lists the parameters of the model in the order of a state dict of OpenAI's code.
//
// Linear weights are [out, in]; "visual.proj" and "text_projection" are [width, EmbedDim].
func (c Config) Params() []Param {
	t, v := c.Text, c.Vision
	p := []Param{
		{"positional_embedding", []int{t.ContextLength, t.Width}},
		{"text_projection", []int{t.Width, c.EmbedDim}},
		{"logit_scale", []int{}},
		{"visual.class_embedding", []int{v.Width}},
		{"visual.positional_embedding", []int{v.Tokens(), v.Width}},
		{"visual.proj", []int{v.Width, c.EmbedDim}},
		{"visual.conv1.weight", []int{v.Width, 3, v.PatchSize, v.PatchSize}},
		{"visual.ln_pre.weight", []int{v.Width}},
		{"visual.ln_pre.bias", []int{v.Width}},
	}
	p = append(p, blockParams("visual.transformer", v.Layers, v.Width, v.MLPWidth)...)
	p = append(p,
		Param{"visual.ln_post.weight", []int{v.Width}},
		Param{"visual.ln_post.bias", []int{v.Width}})
	p = append(p, blockParams("transformer", t.Layers, t.Width, t.MLPWidth)...)
	return append(p,
		Param{"token_embedding.weight", []int{t.VocabSize, t.Width}},
		Param{"ln_final.weight", []int{t.Width}},
		Param{"ln_final.bias", []int{t.Width}})
}

func blockParams(prefix string, layers, width, mlp int) []Param {
	var p []Param
	for i := range layers {
		b := fmt.Sprintf("%s.resblocks.%d.", prefix, i)
		p = append(p,
			Param{b + "attn.in_proj_weight", []int{3 * width, width}},
			Param{b + "attn.in_proj_bias", []int{3 * width}},
			Param{b + "attn.out_proj.weight", []int{width, width}},
			Param{b + "attn.out_proj.bias", []int{width}},
			Param{b + "ln_1.weight", []int{width}},
			Param{b + "ln_1.bias", []int{width}},
			Param{b + "ln_2.weight", []int{width}},
			Param{b + "ln_2.bias", []int{width}},
			Param{b + "mlp.c_fc.weight", []int{mlp, width}},
			Param{b + "mlp.c_fc.bias", []int{mlp}},
			Param{b + "mlp.c_proj.weight", []int{width, mlp}},
			Param{b + "mlp.c_proj.bias", []int{width}})
	}
	return p
}

// Layout is how a checkpoint names and shapes its tensors.
type Layout string

// The layouts.
const (
	OpenCLIP Layout = "openclip"
	HF       Layout = "hf"
)

// Model is a complete CLIP: both towers under internal names, and what is needed to write it back as it came.
type Model struct {
	Config  Config
	Weights *weights.Set // internal names, stored types; Params' order
	Layout  Layout

	// Extra holds tensors of the file that are no parameters (HF's position_ids), under the file's names.
	Extra *weights.Set
	// Files are the other files of the directory that belong to the checkpoint (configs, tokenizer), by name.
	Files map[string][]byte
	// Order is the file's tensor names in their order, for writing back.
	Order []string
	// Note says what had to be assumed in loading, empty where nothing was.
	Note string
	// Hash is the sha256 of the weights' names, types, shapes and bytes, in hex.
	Hash string

	file     string               // name of the file of tensors, or of the index
	sharding *checkpoint.Sharding // nil for a single file
	index    []byte               // the index as it was, nil for a single file
}

// With returns a copy of m that has the given tensors in place of its own of the same name, each rounded once to the
// type that m stores it in; a tensor of that type already is shared, not copied. A name that m lacks, another shape, a
// value that is not finite or that the stored type cannot hold is an error. The copy's Hash is empty.
func (m *Model) With(w *weights.Set) (*Model, error) {
	out := *m
	out.Hash = ""
	out.Weights = m.Weights.Clone()
	var changed weights.Set
	for t := range w.All() {
		old := m.Weights.Get(t.Name)
		switch {
		case old == nil:
			return nil, fmt.Errorf("clip: replacing weights: model has no tensor %q", t.Name)
		case !slices.Equal(t.Shape, old.Shape):
			return nil, fmt.Errorf("clip: replacing weights: tensor %q: shape %v in the model, %v in the replacement", t.Name, old.Shape, t.Shape)
		case !t.DType.Float():
			return nil, fmt.Errorf("clip: replacing weights: tensor %q: type %v in the model, %v in the replacement", t.Name, old.DType, t.DType)
		}
		n := &weights.Tensor{Name: t.Name, DType: old.DType, Shape: old.Shape, Data: t.Data}
		if t.DType != old.DType {
			n.SetFloat32(t.Float32())
		}
		changed.Put(n)
		out.Weights.Put(n)
	}
	if err := changed.CheckFinite(); err != nil {
		return nil, fmt.Errorf("clip: replacing weights: %w", err)
	}
	return &out, nil
}

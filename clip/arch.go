package clip

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"paint/weights"
)

// Archs names the architectures that Arch knows.
var Archs = []string{"embedded", "tiny", "ViT-B-32", "ViT-B-16", "ViT-L-14"}

// Arch returns the configuration of a named architecture: OpenCLIP's names, "tiny" (a small ViT for 32-pixel images)
// and "embedded".
func Arch(name string) (Config, error) {
	c := Config{EmbedDim: 512, QuickGELU: true, Preprocess: Preprocess{Mean: OpenAIMean, Std: OpenAIStd}}
	vit := func(image, patch, width, layers, heads int) Vision {
		return Vision{ImageSize: image, PatchSize: patch, Width: width, Layers: layers, Heads: heads, MLPWidth: 4 * width, LayerNormEps: 1e-5}
	}
	text := func(context, vocab, width, layers, heads int) Text {
		return Text{ContextLength: context, VocabSize: vocab, Width: width, Layers: layers, Heads: heads, MLPWidth: 4 * width, LayerNormEps: 1e-5, EOT: -1}
	}
	switch name {
	case "embedded":
		c.EmbedDim, c.Vision, c.Text = 128, vit(48, 8, 128, 4, 2), text(24, 4096, 128, 2, 2)
	case "tiny":
		c.Vision, c.Text = vit(32, 4, 192, 6, 3), text(77, 49408, 192, 4, 3)
	case "ViT-B-32":
		c.Vision, c.Text = vit(224, 32, 768, 12, 12), text(77, 49408, 512, 12, 8)
	case "ViT-B-16":
		c.Vision, c.Text = vit(224, 16, 768, 12, 12), text(77, 49408, 512, 12, 8)
	case "ViT-L-14":
		c.EmbedDim, c.Vision, c.Text = 768, vit(224, 14, 1024, 24, 16), text(77, 49408, 768, 12, 12)
	default:
		return c, fmt.Errorf("architecture %q is not known, want one of %s", name, strings.Join(Archs, ", "))
	}
	return c, nil
}

// Random returns weights of the configuration's shapes, F32, drawn by seed with the deviations of OpenAI's
// initialisation: enough to time a model and to train one from the start.
func Random(c Config, seed uint64) *weights.Set {
	var s weights.Set
	rng := rand.New(rand.NewPCG(seed, 0x636c6970))
	for _, p := range c.Params() {
		n := 1
		for _, d := range p.Shape {
			n *= d
		}
		v := make([]float32, n)
		std := initStd(c, p.Name)
		for i := range v {
			switch {
			case std > 0:
				v[i] = float32(rng.NormFloat64() * std)
			case strings.Contains(p.Name, "ln_") && strings.HasSuffix(p.Name, "weight"):
				v[i] = 1
			case p.Name == "logit_scale":
				v[i] = float32(math.Log(1 / 0.07))
			}
		}
		s.Put(weights.FromFloat32(p.Name, v, p.Shape...))
	}
	return &s
}

// initStd is the standard deviation of a parameter's initial values, 0 for those that start as a constant.
func initStd(c Config, name string) float64 {
	width, layers := c.Text.Width, c.Text.Layers
	if strings.HasPrefix(name, "visual.") {
		width, layers = c.Vision.Width, c.Vision.Layers
	}
	w := 1 / math.Sqrt(float64(width))
	has := func(s string) bool { return strings.HasSuffix(name, s) }
	switch {
	case has("attn.in_proj_weight"):
		return w
	case has("attn.out_proj.weight"), has("mlp.c_proj.weight"):
		return w / math.Sqrt(2*float64(layers))
	case has("mlp.c_fc.weight"):
		return w / math.Sqrt2
	case name == "token_embedding.weight":
		return 0.02
	case name == "positional_embedding":
		return 0.01
	case has("conv1.weight"):
		return 1 / math.Sqrt(3*float64(c.Vision.PatchSize*c.Vision.PatchSize))
	case has("class_embedding"), has("visual.positional_embedding"), has("proj") && !has("out_proj"), name == "text_projection":
		return w
	}
	return 0
}

// ImageFLOPs is the number of floating-point operations of one image's forward pass through the image tower, a
// multiply-add counted as two, element-wise work left out.
func (c Config) ImageFLOPs() float64 {
	v := c.Vision
	t, w, m := float64(v.Tokens()), float64(v.Width), float64(v.MLPWidth)
	patch := 2 * (t - 1) * 3 * float64(v.PatchSize*v.PatchSize) * w
	return patch + blockFLOPs(t, w, m)*float64(v.Layers) + 2*w*float64(c.EmbedDim)
}

// TextFLOPs is the same for one text of full context length; causal attention is counted in full.
func (c Config) TextFLOPs() float64 {
	t := c.Text
	return blockFLOPs(float64(t.ContextLength), float64(t.Width), float64(t.MLPWidth))*float64(t.Layers) + 2*float64(t.Width*c.EmbedDim)
}

func blockFLOPs(tokens, width, mlp float64) float64 {
	return 2*tokens*width*(4*width+2*mlp) + 4*tokens*tokens*width
}

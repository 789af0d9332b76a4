// Package enginetest is the conformance suite of clip.Engine: every engine passes Run.
//
// It holds an engine to outputs of PyTorch and open_clip (features, gradients, five AdamW steps; see
// testdata/README.md) and its gradients to central differences of a float64 reference, and checks the promises of the
// interfaces: independence of batch cuts, errors, cancellation, what a failed step leaves, restoring.
//
// Gradients are read off a trainer's state: after the first step AdamW's first moment is (1-beta1) times the gradient.
package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"paint/clip"
	"paint/weights"
)

// Tolerances of features and gradients, relative to the largest value of a vector or tensor.
const (
	featureTol  = 1e-5
	gradientTol = 1e-4
)

// Run runs the suite. Each call of the suite makes its own encoders and trainers.
func Run(t *testing.T, e clip.Engine) {
	if e.Name() == "" {
		t.Error("the engine has no name")
	}
	t.Run("features", func(t *testing.T) { testFeatures(t, e) })
	t.Run("pooling", func(t *testing.T) { testPooling(t, e) })
	t.Run("train", func(t *testing.T) { testTrain(t, e) })
	t.Run("gradients", func(t *testing.T) { testGradients(t, e) })
	t.Run("batches", func(t *testing.T) { testBatches(t, e) })
	t.Run("set weights", func(t *testing.T) { testSetWeights(t, e) })
	t.Run("frozen", func(t *testing.T) { testFrozen(t, e) })
	t.Run("restore", func(t *testing.T) { testRestore(t, e) })
	t.Run("cancel", func(t *testing.T) { testCancel(t, e) })
	t.Run("not finite", func(t *testing.T) { testNotFinite(t, e) })
	t.Run("logit scale", func(t *testing.T) { testLogitScale(t, e) })
	t.Run("errors", func(t *testing.T) { testErrors(t, e) })
}

// Small is an architecture in which everything differs that can: towers, widths, head counts, MLP widths.
func Small(quickGELU bool, eot int) clip.Config {
	return clip.Config{
		EmbedDim: 6, QuickGELU: quickGELU,
		Vision: clip.Vision{ImageSize: 8, PatchSize: 4, Width: 12, Layers: 3, Heads: 3, MLPWidth: 20, LayerNormEps: 1e-5},
		Text:   clip.Text{ContextLength: 7, VocabSize: 13, Width: 8, Layers: 2, Heads: 2, MLPWidth: 18, LayerNormEps: 1e-5, EOT: eot},
	}
}

// random is a generator of small reproducible numbers (splitmix64).
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// float returns a number in [-1, 1).
func (r *random) float() float32 { return float32(int64(r.next())>>40) / (1 << 23) }

func (r *random) floats(n int, scale float32) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = scale * r.float()
	}
	return v
}

// Weights returns reproducible random weights at which no part of the model is idle: attention is far from uniform
// and activations from linear.
func Weights(cfg clip.Config, seed uint64) *weights.Set {
	r := random(seed)
	s := &weights.Set{}
	for _, p := range cfg.Params() {
		n := 1
		for _, d := range p.Shape {
			n *= d
		}
		v := r.floats(n, 0.3)
		switch {
		case p.Name == "logit_scale":
			v[0] = 1.5
		case strings.Contains(p.Name, "ln_") && strings.HasSuffix(p.Name, "weight"):
			for i := range v {
				v[i] += 1
			}
		case len(p.Shape) >= 2:
			fan := n / p.Shape[0]
			if strings.HasSuffix(p.Name, "proj") || strings.HasSuffix(p.Name, "text_projection") {
				fan = p.Shape[0]
			}
			k := float32(2.5 / math.Sqrt(float64(fan)))
			if strings.Contains(p.Name, "embedding") {
				k = 1
			}
			for i := range v {
				v[i] *= k / 0.3
			}
		}
		s.Put(weights.FromFloat32(p.Name, v, p.Shape...))
	}
	return s
}

// Pixels returns n reproducible images.
func Pixels(cfg clip.Config, n int, seed uint64) []float32 {
	r := random(seed)
	return r.floats(n*3*cfg.Vision.ImageSize*cfg.Vision.ImageSize, 1.5)
}

// IDs returns n reproducible texts of different lengths, ended by the largest id of the vocabulary, with other ids
// behind it.
func IDs(cfg clip.Config, n int, seed uint64) []int32 {
	r := random(seed)
	t := cfg.Text
	ids := make([]int32, n*t.ContextLength)
	for i := range ids {
		ids[i] = int32(r.next() % uint64(t.VocabSize-1))
	}
	for i := range n {
		ids[i*t.ContextLength+1+int(r.next()%uint64(t.ContextLength-1))] = int32(t.VocabSize - 1)
	}
	return ids
}

func headBatch(cfg clip.Config, n, classes int, smoothing float64, seed uint64) clip.HeadBatch {
	r := random(seed)
	b := clip.HeadBatch{Pixels: Pixels(cfg, n, seed+1), Head: r.floats(classes*cfg.EmbedDim, 4), LabelSmoothing: smoothing}
	for range n {
		b.Labels = append(b.Labels, int(r.next()%uint64(classes)))
	}
	return b
}

func contrastiveBatch(cfg clip.Config, n int, seed uint64) clip.ContrastiveBatch {
	return clip.ContrastiveBatch{Pixels: Pixels(cfg, n, seed), IDs: IDs(cfg, n, seed+1)}
}

// adamW are options with which gradients can be read off the state.
func adamW(image, text bool) clip.TrainOptions {
	return clip.TrainOptions{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1, Image: image, Text: text}
}

func encoder(t *testing.T, e clip.Engine, cfg clip.Config, w *weights.Set) clip.Encoder {
	t.Helper()
	m, err := e.NewEncoder(cfg, w)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func trainer(t *testing.T, e clip.Engine, cfg clip.Config, w *weights.Set, o clip.TrainOptions) clip.Trainer {
	t.Helper()
	m, err := e.NewTrainer(cfg, w, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func encodeImage(t *testing.T, m clip.Encoder, cfg clip.Config, pixels []float32) []float32 {
	t.Helper()
	dst := make([]float32, len(pixels)/(3*cfg.Vision.ImageSize*cfg.Vision.ImageSize)*cfg.EmbedDim)
	if err := m.EncodeImage(context.Background(), dst, pixels); err != nil {
		t.Fatal(err)
	}
	return dst
}

func encodeText(t *testing.T, m clip.Encoder, cfg clip.Config, ids []int32) []float32 {
	t.Helper()
	dst := make([]float32, len(ids)/cfg.Text.ContextLength*cfg.EmbedDim)
	if err := m.EncodeText(context.Background(), dst, ids); err != nil {
		t.Fatal(err)
	}
	return dst
}

// relative is the larger of two errors of got: the L2 norm of the difference over that of want, and its largest value
// over want's. The tensor counts as zero where no value of want exceeds floor, and the errors are then over floor.
func relative(got []float32, want []float64, floor float64) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	var d2, w2, dm, wm float64
	for i, w := range want {
		d := math.Abs(float64(got[i]) - w)
		if math.IsNaN(d) {
			return math.Inf(1)
		}
		d2, w2 = d2+d*d, w2+w*w
		dm, wm = math.Max(dm, d), math.Max(wm, math.Abs(w))
	}
	n := math.Sqrt(float64(len(want)))
	return math.Max(math.Sqrt(d2)/math.Max(math.Sqrt(w2), floor*n), dm/math.Max(wm, floor))
}

func wide(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// same fails unless both sets hold the same tensors, byte for byte.
func same(t *testing.T, what string, got, want *weights.Set) {
	t.Helper()
	if got.Len() != want.Len() {
		t.Errorf("%s: %d tensors, want %d", what, got.Len(), want.Len())
	}
	for w := range want.All() {
		g := got.Get(w.Name)
		if g == nil || g.DType != w.DType || fmt.Sprint(g.Shape) != fmt.Sprint(w.Shape) || !bytes.Equal(g.Data, w.Data) {
			t.Errorf("%s: tensor %q differs", what, w.Name)
		}
	}
}

func wantError(t *testing.T, what string, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", what)
		return
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: error of several lines: %q", what, err)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%s: error %q does not say %q", what, err, p)
		}
	}
}

func wantCanceled(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%s: error %v, want one that is context.Canceled", what, err)
	}
}

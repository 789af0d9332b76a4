package cpu

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"paint/clip"
	"paint/clip/enginetest"
	"paint/cpu/internal/kernel"
	"paint/weights"
)

func newEngine(t testing.TB, o Options) *Engine {
	t.Helper()
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// The suite passes with all kernels of this machine, and with batches cut into the smallest chunks.
func TestConformance(t *testing.T) {
	for _, isa := range kernel.Available() {
		t.Run(isa.String(), func(t *testing.T) { enginetest.Run(t, newEngine(t, Options{Kernels: isa.String()})) })
	}
	t.Run("chunks", func(t *testing.T) {
		e := newEngine(t, Options{KeepBytes: 1})
		e.encodeRows, e.trainRows = 11, 11
		enginetest.Run(t, e)
	})
}

func TestNew(t *testing.T) {
	e := newEngine(t, Options{Threads: 3, Kernels: "go"})
	if e.Name() != "cpu" || e.Threads() != 3 || e.Kernels() != "go" {
		t.Errorf("engine %q with %d threads and kernels %q", e.Name(), e.Threads(), e.Kernels())
	}
	e.Close()
	t.Setenv(kernel.EnvISA, "go")
	if e := newEngine(t, Options{}); e.Kernels() != "go" || e.Threads() < 1 {
		t.Errorf("engine by environment has %d threads and kernels %q", e.Threads(), e.Kernels())
	}
	os.Unsetenv(kernel.EnvISA)
	if e := newEngine(t, Options{}); e.Kernels() != kernel.Detect().String() {
		t.Errorf("engine without environment has kernels %q", e.Kernels())
	}
	for _, o := range []Options{{Threads: -1}, {Kernels: "mmx"}, {KeepBytes: -1}} {
		if _, err := New(o); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("New(%+v): error %v", o, err)
		}
	}
}

// middle is a model whose matrices are large enough for the kernels' full tiles and for work on several threads.
func middle() clip.Config {
	return clip.Config{
		EmbedDim: 40, QuickGELU: true,
		Vision: clip.Vision{ImageSize: 24, PatchSize: 4, Width: 72, Layers: 2, Heads: 3, MLPWidth: 300, LayerNormEps: 1e-5},
		Text:   clip.Text{ContextLength: 19, VocabSize: 90, Width: 68, Layers: 2, Heads: 2, MLPWidth: 200, LayerNormEps: 1e-5, EOT: 89},
	}
}

// trace is everything that a model computes in a few steps, as bytes.
func trace(t *testing.T, e *Engine) map[string][]byte {
	t.Helper()
	cfg := middle()
	w := enginetest.Weights(cfg, 3)
	const n = 21
	pixels, ids := enginetest.Pixels(cfg, n, 4), enginetest.IDs(cfg, n, 5)
	m, err := e.NewEncoder(cfg, w)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]byte)
	ctx := context.Background()
	images, texts := make([]float32, n*cfg.EmbedDim), make([]float32, n*cfg.EmbedDim)
	if err := m.EncodeImage(ctx, images, pixels); err != nil {
		t.Fatal(err)
	}
	if err := m.EncodeText(ctx, texts, ids); err != nil {
		t.Fatal(err)
	}
	out["images"] = slices.Clone(weights.FromFloat32("", images, len(images)).Data)
	out["texts"] = slices.Clone(weights.FromFloat32("", texts, len(texts)).Data)
	tr, err := e.NewTrainer(cfg, w, clip.TrainOptions{Beta1: 0.9, Beta2: 0.98, Eps: 1e-6, WeightDecay: 0.1, ClipNorm: 1, Image: true, Text: true})
	if err != nil {
		t.Fatal(err)
	}
	labels := make([]int, n)
	for i := range labels {
		labels[i] = i % 5
	}
	for i := range 2 {
		s, err := tr.StepHead(ctx, clip.HeadBatch{Pixels: pixels, Labels: labels, Head: texts[:5*cfg.EmbedDim], LabelSmoothing: 0.1}, 1e-3)
		if err != nil {
			t.Fatal(err)
		}
		out[fmt.Sprint("head ", i)] = fmt.Append(nil, s)
		if s, err = tr.StepContrastive(ctx, clip.ContrastiveBatch{Pixels: pixels, IDs: ids}, 1e-3); err != nil {
			t.Fatal(err)
		}
		out[fmt.Sprint("contrastive ", i)] = fmt.Append(nil, s)
	}
	for x := range tr.State().All() {
		out[x.Name] = x.Data
	}
	return out
}

func sameTrace(t *testing.T, what string, got, want map[string][]byte) {
	t.Helper()
	for name := range want {
		if !bytes.Equal(got[name], want[name]) {
			t.Errorf("%s: %q differs", what, name)
		}
	}
}

// Results are the same bytes for any number of threads.
func TestThreads(t *testing.T) {
	for _, isa := range kernel.Available() {
		want := trace(t, newEngine(t, Options{Threads: 1, Kernels: isa.String()}))
		for _, n := range []int{2, 3, 5} {
			sameTrace(t, fmt.Sprintf("%v, %d threads", isa, n), trace(t, newEngine(t, Options{Threads: n, Kernels: isa.String()})), want)
		}
	}
}

// What a contrastive step keeps makes no difference to what it computes.
func TestKeepBytes(t *testing.T) {
	kept, not := newEngine(t, Options{}), newEngine(t, Options{KeepBytes: 1})
	kept.trainRows, not.trainRows = 100, 100
	sameTrace(t, "activations not kept", trace(t, not), trace(t, kept))
}

// Features do not depend on what is encoded with them, where matrices are large, and training computes the same
// features to the bit.
func TestBatchCuts(t *testing.T) {
	cfg := middle()
	w := enginetest.Weights(cfg, 3)
	const n = 50
	pixels, ids := enginetest.Pixels(cfg, n, 4), enginetest.IDs(cfg, n, 5)
	for _, isa := range kernel.Available() {
		e := newEngine(t, Options{Kernels: isa.String()})
		m, err := e.newEncoder(cfg, w)
		if err != nil {
			t.Fatal(err)
		}
		encode := func(step int) []float32 {
			images, texts := make([]float32, n*cfg.EmbedDim), make([]float32, n*cfg.EmbedDim)
			for i := 0; i < n; i += step {
				j := min(n, i+step)
				px, cl, ed := len(pixels)/n, cfg.Text.ContextLength, cfg.EmbedDim
				if err := m.EncodeImage(context.Background(), images[i*ed:j*ed], pixels[i*px:j*px]); err != nil {
					t.Fatal(err)
				}
				if err := m.EncodeText(context.Background(), texts[i*ed:j*ed], ids[i*cl:j*cl]); err != nil {
					t.Fatal(err)
				}
			}
			return append(images, texts...)
		}
		want := encode(n)
		for _, step := range []int{1, 3, 7, 33} {
			if !slices.Equal(encode(step), want) {
				t.Errorf("%v: %d at a time differ from all at once", isa, step)
			}
		}
		p := &pass{keep: true}
		if err := m.image.forward(context.Background(), m.imageP, p, pixels, n); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(p.feat, want[:n*cfg.EmbedDim]) {
			t.Errorf("%v: features of a training pass differ from the encoder's", isa)
		}
	}
}

// A tower that the weights lack is an error only where it is needed.
func TestOneTower(t *testing.T) {
	e := newEngine(t, Options{})
	cfg := enginetest.Small(true, 12)
	image, text := &weights.Set{}, &weights.Set{}
	for x := range enginetest.Weights(cfg, 1).All() {
		if strings.HasPrefix(x.Name, "visual.") {
			image.Put(x)
		} else {
			text.Put(x)
		}
	}
	ctx, dst := context.Background(), make([]float32, cfg.EmbedDim)
	mi, err := e.NewEncoder(cfg, image)
	if err != nil {
		t.Fatal(err)
	}
	mt, err := e.NewEncoder(cfg, text)
	if err != nil {
		t.Fatal(err)
	}
	pixels, ids := enginetest.Pixels(cfg, 1, 1), enginetest.IDs(cfg, 1, 1)
	if err := mi.EncodeImage(ctx, dst, pixels); err != nil {
		t.Error(err)
	}
	if err := mt.EncodeText(ctx, dst, ids); err != nil {
		t.Error(err)
	}
	if mi.EncodeText(ctx, dst, ids) == nil || mt.EncodeImage(ctx, dst, pixels) == nil || mi.SetWeights(text) == nil {
		t.Error("no error for a tower that is not there")
	}
	if _, err := e.NewEncoder(cfg, &weights.Set{}); err == nil {
		t.Error("no error for weights without a tower")
	}
}

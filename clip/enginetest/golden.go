package enginetest

import (
	"context"
	"math"
	"strings"
	"testing"

	"paint/clip"
	"paint/weights"
)

// vit is the model of the feature goldens (open_clip, both activations).
func vit(quickGELU bool) clip.Config {
	return clip.Config{
		EmbedDim: 32, QuickGELU: quickGELU,
		Vision: clip.Vision{ImageSize: 32, PatchSize: 8, Width: 64, Layers: 3, Heads: 2, MLPWidth: 256, LayerNormEps: 1e-5},
		Text: clip.Text{ContextLength: 77, VocabSize: 49408, Width: 32, Layers: 2, Heads: 2, MLPWidth: 128,
			LayerNormEps: 1e-5, EOT: 49407},
	}
}

// Features compares the encoder's features with those of a golden file, which has pixel_values, token_ids,
// image_features and text_features, and returns the larger relative error.
func Features(t *testing.T, m clip.Encoder, cfg clip.Config, pixels []float32, ids []int32, image, text *weights.Tensor) float64 {
	t.Helper()
	worst := 0.0
	for _, c := range []struct {
		what      string
		got, want []float32
	}{
		{"image", encodeImage(t, m, cfg, pixels), image.Float32()},
		{"text", encodeText(t, m, cfg, ids), text.Float32()},
	} {
		if len(c.got) != len(c.want) || len(c.got) == 0 {
			t.Fatalf("%s features: %d values, want %d", c.what, len(c.got), len(c.want))
		}
		for i := 0; i < len(c.got); i += cfg.EmbedDim {
			err := relative(c.got[i:i+cfg.EmbedDim], wide(c.want[i:i+cfg.EmbedDim]), 0)
			worst = math.Max(worst, err)
			if !(err <= featureTol) {
				t.Errorf("%s %d: features differ by %.3g relative, tolerance %g", c.what, i/cfg.EmbedDim, err, featureTol)
			}
		}
	}
	return worst
}

// Ints returns a tensor's values as token ids.
func Ints(t *weights.Tensor) []int32 {
	v := t.Float32()
	ids := make([]int32, len(v))
	for i, x := range v {
		ids[i] = int32(x)
	}
	return ids
}

func testFeatures(t *testing.T, e clip.Engine) {
	w := golden(t, "vit_quick")
	for name, quick := range map[string]bool{"vit_quick": true, "vit_gelu": false} {
		t.Run(name, func(t *testing.T) {
			x := golden(t, "expected_"+name)
			for _, eot := range []int{49407, -1} {
				cfg := vit(quick)
				cfg.Text.EOT = eot
				err := Features(t, encoder(t, e, cfg, w), cfg, x.Get("pixel_values").Float32(), Ints(x.Get("token_ids")),
					x.Get("image_features"), x.Get("text_features"))
				t.Logf("largest relative error %.2g", err)
			}
		})
	}
}

// testPooling compares texts with several end-of-text tokens, with none, and with one at either end, with the reference.
func testPooling(t *testing.T, e clip.Engine) {
	ids := []int32{
		3, 1, 12, 4, 12, 12, 12,
		12, 5, 6, 7, 8, 9, 10,
		1, 2, 3, 4, 5, 6, 12,
		5, 11, 2, 11, 3, 11, 0,
		0, 0, 0, 0, 0, 0, 0,
		6, 10, 9, 12, 10, 11, 1,
	}
	for _, eot := range []int{12, 10, -1} {
		cfg := Small(true, eot)
		w := Weights(cfg, 9)
		r, n := newReference(cfg, w), cfg.Text.ContextLength
		got := encodeText(t, encoder(t, e, cfg, w), cfg, ids)
		for i := range len(ids) / n {
			if err := relative(got[i*cfg.EmbedDim:(i+1)*cfg.EmbedDim], r.text(ids[i*n:(i+1)*n]), 0); !(err <= featureTol) {
				t.Errorf("end-of-text %d, text %d: features differ by %.3g relative, tolerance %g", eot, i, err, featureTol)
			}
		}
	}
}

// trainConfig is the model of the training goldens: an image tower alone.
func trainConfig() clip.Config {
	return clip.Config{
		EmbedDim: 24, QuickGELU: true,
		Vision: clip.Vision{ImageSize: 32, PatchSize: 8, Width: 32, Layers: 2, Heads: 2, MLPWidth: 128, LayerNormEps: 1e-5},
		Text:   clip.Text{ContextLength: 4, VocabSize: 4, Width: 4, Layers: 1, Heads: 1, MLPWidth: 4, LayerNormEps: 1e-5, EOT: 3},
	}
}

// trainBatch is one of the training goldens' five batches.
func trainBatch(in *weights.Set, i int, smoothing float64) clip.HeadBatch {
	const n, pixels = 8, 32 * 32
	b := clip.HeadBatch{Head: in.Get("head.weight").Float32(), LabelSmoothing: smoothing}
	b.Pixels = make([]float32, n*3*pixels)
	for j, v := range in.Get("images_u8").Data[i*n*3*pixels:][:n*3*pixels] {
		c, p, img := j%3, j/3%pixels, j/3/pixels
		b.Pixels[(img*3+c)*pixels+p] = float32((float64(v)/255 - clip.OpenAIMean[c]) / clip.OpenAIStd[c])
	}
	for _, l := range in.Get("labels").Float32()[i*n:][:n] {
		b.Labels = append(b.Labels, int(l))
	}
	return b
}

func testTrain(t *testing.T, e clip.Engine) {
	cfg, in := trainConfig(), golden(t, "vit_inputs")
	w := &weights.Set{}
	for x := range in.All() {
		if name, ok := strings.CutPrefix(x.Name, "w."); ok {
			w.Put(&weights.Tensor{Name: "visual." + name, DType: x.DType, Shape: x.Shape, Data: x.Data})
		}
	}
	grads := golden(t, "vit_grads")
	for _, c := range []struct {
		name, loss, grad string
		smoothing        float64
	}{{"gradients", "loss", "grad.", 0}, {"label smoothing", "loss_ls0.1", "grad_ls0.1.", 0.1}} {
		t.Run(c.name, func(t *testing.T) {
			m := trainer(t, e, cfg, w, adamW(true, false))
			b := trainBatch(in, 0, c.smoothing)
			stats, err := m.StepHead(context.Background(), b, 0)
			if err != nil {
				t.Fatal(err)
			}
			near(t, "loss", stats.Loss, float64(grads.Get(c.loss).Float32()[0]), 1e-5)
			if c.smoothing == 0 {
				near(t, "gradient norm", stats.GradNorm, float64(grads.Get("grad_norm").Float32()[0]), 1e-5)
				correct, logits := 0, grads.Get("logits").Float32()
				for i, l := range b.Labels {
					best := 0
					for k, v := range logits[5*i : 5*i+5] {
						if v > logits[5*i+best] {
							best = k
						}
					}
					if best == l {
						correct++
					}
				}
				if stats.Correct != correct {
					t.Errorf("%d correct, want %d", stats.Correct, correct)
				}
			}
			state, worst := m.State(), 0.0
			for x := range grads.All() {
				if name, ok := strings.CutPrefix(x.Name, c.grad); ok {
					got := firstGradient(t, state, "visual."+name)
					worst = math.Max(worst, compare(t, name, got, wide(x.Float32())))
				}
			}
			t.Logf("largest relative error %.2g", worst)
		})
	}
	t.Run("five steps", func(t *testing.T) { testFiveSteps(t, e, cfg, w, in) })
}

func testFiveSteps(t *testing.T, e clip.Engine, cfg clip.Config, w, in *weights.Set) {
	want := golden(t, "vit_after5")
	o := adamW(true, false)
	o.ClipNorm = 1
	m := trainer(t, e, cfg, w, o)
	lr, loss, norm := want.Get("trace.lr"), want.Get("trace.loss").Float32(), want.Get("trace.gradnorm").Float32()
	for i, rate := range lr.Float32() {
		stats, err := m.StepHead(context.Background(), trainBatch(in, i, 0), float64(rate))
		if err != nil {
			t.Fatal(err)
		}
		near(t, "loss", stats.Loss, float64(loss[i]), 1e-4)
		near(t, "gradient norm", stats.GradNorm, float64(norm[i]), 1e-3)
	}
	state, after := m.State(), m.Weights()
	outside, total, worst := 0, 0, 0.0
	for x := range want.All() {
		if name, ok := strings.CutPrefix(x.Name, "w5."); ok {
			got := after.Get("visual." + name)
			if got == nil {
				t.Fatalf("no tensor %q", "visual."+name)
			}
			v := got.Float32()
			for i, y := range x.Float32() {
				if strings.HasSuffix(name, "in_proj_bias") && i/cfg.Vision.Width == 1 {
					continue // the keys' bias has no gradient but noise
				}
				d := math.Abs(float64(v[i] - y))
				total++
				worst = math.Max(worst, d)
				if !(d <= 5e-5) {
					outside++
				}
				if !(d <= 2e-3) {
					t.Errorf("%s[%d] = %g, want %g", name, i, v[i], y)
				}
			}
		}
		for _, moment := range []string{"exp_avg.", "exp_avg_sq."} {
			if name, ok := strings.CutPrefix(x.Name, "adam."+moment); ok {
				if err := relative(state.Get(moment+"visual."+name).Float32(), wide(x.Float32()), 1e-9); !(err <= 1e-3) {
					t.Errorf("%s%s differs by %.3g relative", moment, name, err)
				}
			}
		}
	}
	if outside*200 > total {
		t.Errorf("%d of %d weights differ by more than 5e-5", outside, total)
	}
	t.Logf("largest difference of a weight %.2g, %d of %d above 5e-5", worst, outside, total)
}

func near(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol*math.Max(1, math.Abs(want))) {
		t.Errorf("%s %.9g, want %.9g", what, got, want)
	}
}

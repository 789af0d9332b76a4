package cpu

import (
	"context"
	"strings"
	"testing"

	"paint/clip"
	"paint/clip/enginetest"
	"paint/weights"
)

type benchModel struct {
	name  string
	batch int
	cfg   clip.Config
}

// The image tower of a small model for 32-pixel images, and OpenAI's ViT-B/32.
func benchModels() []benchModel {
	vision := func(size, patch, width, layers, heads int) clip.Config {
		return clip.Config{
			EmbedDim: 512, QuickGELU: true,
			Vision: clip.Vision{ImageSize: size, PatchSize: patch, Width: width, Layers: layers, Heads: heads, MLPWidth: 4 * width, LayerNormEps: 1e-5},
			Text:   clip.Text{ContextLength: 77, VocabSize: 49408, Width: 512, Layers: 12, Heads: 8, MLPWidth: 2048, LayerNormEps: 1e-5, EOT: 49407},
		}
	}
	return []benchModel{{"tiny", 64, vision(32, 4, 192, 6, 3)}, {"B32", 32, vision(224, 32, 768, 12, 12)}}
}

// forwardFLOP is the floating-point operations of an image's forward pass as they are counted for the plain
// algorithm, so that what the last block saves shows as speed.
func forwardFLOP(c clip.Config) float64 {
	v := c.Vision
	t, w := float64(v.Tokens()), float64(v.Width)
	block := 2*t*w*(4*w+2*float64(v.MLPWidth)) + 4*t*t*w
	return float64(v.Layers)*block + 2*(t-1)*3*float64(v.PatchSize*v.PatchSize)*w + 2*w*float64(c.EmbedDim)
}

func visual(cfg clip.Config) *weights.Set {
	c := cfg
	c.Text = enginetest.Small(true, 12).Text
	w := &weights.Set{}
	for x := range enginetest.Weights(c, 1).All() {
		if strings.HasPrefix(x.Name, "visual.") {
			w.Put(x)
		}
	}
	return w
}

func report(b *testing.B, m benchModel, factor float64) {
	images := float64(b.N*m.batch) / b.Elapsed().Seconds()
	b.ReportMetric(images, "images/s")
	b.ReportMetric(images*factor*forwardFLOP(m.cfg)/1e9, "GFLOP/s")
}

func BenchmarkEncodeImage(b *testing.B) {
	for _, m := range benchModels() {
		b.Run(m.name, func(b *testing.B) {
			enc, err := newEngine(b, Options{}).NewEncoder(m.cfg, visual(m.cfg))
			if err != nil {
				b.Fatal(err)
			}
			pixels, dst := enginetest.Pixels(m.cfg, m.batch, 2), make([]float32, m.batch*m.cfg.EmbedDim)
			run := func() {
				if err := enc.EncodeImage(context.Background(), dst, pixels); err != nil {
					b.Fatal(err)
				}
			}
			run()
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
			report(b, m, 1)
		})
	}
}

// A step is counted as three forward passes.
func BenchmarkTrain(b *testing.B) {
	for _, m := range benchModels() {
		b.Run(m.name, func(b *testing.B) {
			tr, err := newEngine(b, Options{}).NewTrainer(m.cfg, visual(m.cfg),
				clip.TrainOptions{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1, ClipNorm: 1, Image: true})
			if err != nil {
				b.Fatal(err)
			}
			const classes = 10
			batch := clip.HeadBatch{Pixels: enginetest.Pixels(m.cfg, m.batch, 2), Head: enginetest.Pixels(clip.Config{Vision: clip.Vision{ImageSize: m.cfg.EmbedDim}}, classes, 3)[:classes*m.cfg.EmbedDim]}
			for i := range m.batch {
				batch.Labels = append(batch.Labels, i%classes)
			}
			run := func() {
				if _, err := tr.StepHead(context.Background(), batch, 1e-6); err != nil {
					b.Fatal(err)
				}
			}
			run()
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
			report(b, m, 3)
		})
	}
}

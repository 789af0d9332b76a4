package experiment

import (
	"context"
	"fmt"
	"math"

	"paint/clip"
	"paint/dataset"
	"paint/eval"
	"paint/preprocess"
	"paint/report"
	"paint/tokenizer"
)

// Result is a model's accuracy on one split of a task.
type Result struct {
	Task  string `json:"task"`
	Split string `json:"split"`
	report.Accuracy
}

// Evaluate measures the zero-shot accuracy of a model on one split of each task.
func Evaluate(ctx context.Context, eng clip.Engine, threads int, m *clip.Model, refs []string, dataDir string, s Split, ui Progress) ([]Result, error) {
	var tasks []*dataset.Task
	for _, ref := range refs {
		t, err := OpenTask(ref, dataDir)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, t)
	}
	ev, err := newEvaluator(ctx, eng, threads, m, tasks)
	if err != nil {
		return nil, err
	}
	if err := ev.prepare(ctx, s, ui); err != nil {
		return nil, err
	}
	ui.Stage("evaluating", "images", ev.n[s])
	out, err := ev.measure(ctx, s, func(done int) { ui.Update(done, "") })
	if err != nil {
		return nil, err
	}
	var rs []Result
	for _, t := range tasks {
		rs = append(rs, Result{t.Name, string(s), accuracy(out[t.Name].acc)})
	}
	return rs, nil
}

// Embedding is what a model makes of images and texts.
type Embedding struct {
	ImageFeatures  [][]float32 `json:"image_features,omitempty"`
	TextFeatures   [][]float32 `json:"text_features,omitempty"`
	LogitsPerImage [][]float32 `json:"logits_per_image,omitempty"`
}

// Embed encodes pixels [n, 3, S, S] (normalised) and texts. Features are L2-normalised unless raw; the logits always
// are of normalised ones, times exp(logit_scale).
func Embed(ctx context.Context, eng clip.Engine, m *clip.Model, pixels []float32, texts []string, raw bool) (*Embedding, error) {
	enc, err := eng.NewEncoder(m.Config, m.Weights)
	if err != nil {
		return nil, err
	}
	d, px := m.Config.EmbedDim, 3*m.Config.Vision.ImageSize*m.Config.Vision.ImageSize
	images := make([]float32, len(pixels)/px*d)
	if err := enc.EncodeImage(ctx, images, pixels); err != nil {
		return nil, err
	}
	var words []float32
	if len(texts) > 0 {
		tok, err := tokenizer.New(m.Config.Text.VocabSize, m.Config.Text.ContextLength)
		if err != nil {
			return nil, err
		}
		words = make([]float32, len(texts)*d)
		if err := enc.EncodeText(ctx, words, tok.EncodeBatch(texts)); err != nil {
			return nil, err
		}
	}
	e := &Embedding{ImageFeatures: rows(images, d), TextFeatures: rows(words, d)}
	ni, nt := append([]float32(nil), images...), append([]float32(nil), words...)
	if err := eval.Normalize(ni, d); err != nil {
		return nil, fmt.Errorf("encoding images: %w", err)
	}
	if err := eval.Normalize(nt, d); err != nil {
		return nil, fmt.Errorf("encoding texts: %w", err)
	}
	if !raw {
		e.ImageFeatures, e.TextFeatures = rows(ni, d), rows(nt, d)
	}
	if len(ni) > 0 && len(nt) > 0 {
		scale := math.Exp(logitScale(m))
		for _, f := range rows(ni, d) {
			row := make([]float32, len(texts))
			for j, t := range rows(nt, d) {
				var s float64
				for k, v := range f {
					s += float64(v) * float64(t[k])
				}
				row[j] = float32(s * scale)
			}
			e.LogitsPerImage = append(e.LogitsPerImage, row)
		}
	}
	return e, nil
}

func rows(x []float32, d int) [][]float32 {
	var out [][]float32
	for o := 0; o < len(x); o += d {
		out = append(out, x[o:o+d])
	}
	return out
}

// Classify returns the probabilities [images][labels] of an open-vocabulary classification: the head is built from the
// labels as a task's is from its classes.
func Classify(ctx context.Context, eng clip.Engine, m *clip.Model, images []*preprocess.Image, labels, templates []string) ([][]float64, error) {
	enc, tok, scale, err := towers(eng, m)
	if err != nil {
		return nil, err
	}
	head, err := eval.Head(ctx, enc, tok, m.Config, labels, templates, scale)
	if err != nil {
		return nil, err
	}
	t := TransformOf(m.Config)
	d, px := m.Config.EmbedDim, 3*t.Size*t.Size
	var out [][]float64
	pixels, f := make([]float32, px), make([]float32, d)
	for i, img := range images {
		t.Apply(pixels, img)
		if err := enc.EncodeImage(ctx, f, pixels); err != nil {
			return nil, err
		}
		if err := eval.Normalize(f, d); err != nil {
			return nil, fmt.Errorf("encoding image %d: %w", i, err)
		}
		logits := make([]float64, len(labels))
		for c := range logits {
			for k, w := range head[c*d : (c+1)*d] {
				logits[c] += float64(f[k]) * float64(w)
			}
		}
		out = append(out, eval.Softmax(logits))
	}
	return out, nil
}

// towers opens both towers of a model with its tokenizer and the logarithm of its logit scale.
func towers(eng clip.Engine, m *clip.Model) (clip.Encoder, *tokenizer.Tokenizer, float64, error) {
	enc, err := eng.NewEncoder(m.Config, m.Weights)
	if err != nil {
		return nil, nil, 0, err
	}
	tok, err := tokenizer.New(m.Config.Text.VocabSize, m.Config.Text.ContextLength)
	return enc, tok, logitScale(m), err
}

// logitScale is the logarithm of the factor between cosines and logits, as checkpoints store it.
func logitScale(m *clip.Model) float64 { return float64(m.Weights.Get("logit_scale").Float32()[0]) }

// Package eval measures models: zero-shot heads from class names, image features, top-1 accuracy with intervals.
//
// Prepare decodes and crops the images of a task's part once; Features encodes them as often as there are models.
// Head builds the classifier that both the evaluation and the fine-tuning use. Everything is deterministic.
package eval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"paint/clip"
	"paint/dataset"
	"paint/preprocess"
	"paint/tokenizer"
)

// Head returns the zero-shot head [classes, EmbedDim] of the classes: each template's text is embedded and
// L2-normalised, the mean over templates is normalised again and multiplied by exp(logitScale). Source: src/heads.py
// of the reference code.
func Head(ctx context.Context, enc clip.Encoder, tok *tokenizer.Tokenizer, cfg clip.Config, classes, templates []string, logitScale float64) ([]float32, error) {
	if len(classes) == 0 || len(templates) == 0 {
		return nil, fmt.Errorf("building head: %d classes, %d templates", len(classes), len(templates))
	}
	d := cfg.EmbedDim
	scale := math.Exp(logitScale)
	head := make([]float32, len(classes)*d)
	for _, t := range templates {
		if strings.Count(t, "{}") != 1 {
			return nil, fmt.Errorf("building head: template %q has %d \"{}\", want 1", t, strings.Count(t, "{}"))
		}
	}
	// Several classes a call: a few texts at a time would leave the engine idle.
	chunk := max(1, 128/len(templates))
	for lo := 0; lo < len(classes); lo += chunk {
		some := classes[lo:min(len(classes), lo+chunk)]
		var texts []string
		for _, c := range some {
			for _, t := range templates {
				texts = append(texts, strings.Replace(t, "{}", c, 1))
			}
		}
		feats := make([]float32, len(texts)*d)
		if err := enc.EncodeText(ctx, feats, tok.EncodeBatch(texts)); err != nil {
			return nil, fmt.Errorf("building head: class %q and following: %w", some[0], err)
		}
		if err := Normalize(feats, d); err != nil {
			return nil, fmt.Errorf("building head: class %q and following: %w", some[0], err)
		}
		for i := range some {
			row := head[(lo+i)*d : (lo+i+1)*d]
			for j := range templates {
				for k, v := range feats[(i*len(templates)+j)*d:][:d] {
					row[k] += v
				}
			}
			if err := Normalize(row, d); err != nil {
				return nil, fmt.Errorf("building head: class %q: %w", some[i], err)
			}
			for k := range row {
				row[k] = float32(float64(row[k]) * scale)
			}
		}
	}
	return head, nil
}

var errNotFinite = errors.New("features are zero or not finite")

// Normalize divides each row of d values by its L2 norm, in place.
func Normalize(x []float32, d int) error {
	for o := 0; o < len(x); o += d {
		var s float64
		for _, v := range x[o : o+d] {
			s += float64(v) * float64(v)
		}
		if !(s > 0) || math.IsInf(s, 0) {
			return errNotFinite
		}
		inv := 1 / math.Sqrt(s)
		for k := range d {
			x[o+k] = float32(float64(x[o+k]) * inv)
		}
	}
	return nil
}

// Images are the decoded, cropped images of one part of a task, kept as bytes: a quarter of the memory of the pixels
// that a tower reads.
type Images struct {
	Size   int
	Crops  []uint8 // [n, Size, Size, 3]
	Labels []int
	Groups []int
}

// Len returns the number of images.
func (im *Images) Len() int { return len(im.Labels) }

// Prepare decodes and crops every image of the part, on the given number of goroutines.
func Prepare(ctx context.Context, part dataset.Part, t preprocess.Transform, workers int, progress func(done, total int)) (*Images, error) {
	n := part.Len()
	if n == 0 {
		return nil, errors.New("preparing images: the part is empty")
	}
	px := 3 * t.Size * t.Size
	im := &Images{Size: t.Size, Crops: make([]uint8, n*px), Labels: make([]int, n), Groups: make([]int, n)}
	err := parallel(ctx, n, workers, func(i int) error {
		img, err := part.Image(i)
		if err != nil {
			return fmt.Errorf("preparing images: %w", err)
		}
		copy(im.Crops[i*px:(i+1)*px], t.Crop8(img).Pix)
		im.Labels[i], im.Groups[i] = part.Label(i), part.Group(i)
		return nil
	}, progress)
	if err != nil {
		return nil, err
	}
	return im, nil
}

// Features returns the L2-normalised image features [n, EmbedDim].
func Features(ctx context.Context, enc clip.Encoder, embedDim int, im *Images, t preprocess.Transform, progress func(done, total int)) ([]float32, error) {
	const chunk = 64
	n, px := im.Len(), 3*im.Size*im.Size
	out := make([]float32, n*embedDim)
	buf := make([]float32, chunk*px)
	for lo := 0; lo < n; lo += chunk {
		hi := min(n, lo+chunk)
		b := buf[:(hi-lo)*px]
		for i := lo; i < hi; i++ {
			t.Normalize(b[(i-lo)*px:(i-lo+1)*px], &preprocess.Image{W: im.Size, H: im.Size, Pix: im.Crops[i*px : (i+1)*px]})
		}
		if err := enc.EncodeImage(ctx, out[lo*embedDim:hi*embedDim], b); err != nil {
			return nil, err
		}
		if progress != nil {
			progress(hi, n)
		}
	}
	if err := Normalize(out, embedDim); err != nil {
		return nil, fmt.Errorf("encoding images: %w", err)
	}
	return out, nil
}

// Predict returns, for each row of features [n, d], the class of head [classes, d] with the largest logit; of equal
// ones the first.
func Predict(features, head []float32, d int) []int {
	out := make([]int, len(features)/d)
	for i := range out {
		f := features[i*d : (i+1)*d]
		best := float32(math.Inf(-1))
		for c := 0; c*d < len(head); c++ {
			var s float32
			for k, w := range head[c*d : (c+1)*d] {
				s += f[k] * w
			}
			if s > best {
				best, out[i] = s, c
			}
		}
	}
	return out
}

// Correct says for each prediction whether it equals the label.
func Correct(predicted, labels []int) []bool {
	out := make([]bool, len(labels))
	for i, l := range labels {
		out[i] = predicted[i] == l
	}
	return out
}

// Softmax turns logits into probabilities.
func Softmax(logits []float64) []float64 {
	m := math.Inf(-1)
	for _, v := range logits {
		m = math.Max(m, v)
	}
	out := make([]float64, len(logits))
	var s float64
	for i, v := range logits {
		out[i] = math.Exp(v - m)
		s += out[i]
	}
	for i := range out {
		out[i] /= s
	}
	return out
}

package embedded_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"math"
	"path/filepath"
	"testing"

	"paint/checkpoint"
	"paint/cpu"
	"paint/embedded"
	"paint/eval"
	"paint/preprocess"
	"paint/tokenizer"
	"paint/weights"
)

// The embedded model gives the features that open_clip computes from the same file, from pixels and from texts: L2
// norm of the difference within 1e-5 of the feature's.
func TestExpectedFeatures(t *testing.T) {
	m, err := embedded.Model()
	if err != nil {
		t.Fatal(err)
	}
	f, err := checkpoint.Open(filepath.Join("testdata", "expected.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := f.Set()
	get := func(name string) *weights.Tensor {
		x := want.Get(name)
		if x == nil {
			t.Fatalf("no tensor %q", name)
		}
		return x
	}
	eng, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	enc, err := eng.NewEncoder(m.Config, m.Weights)
	if err != nil {
		t.Fatal(err)
	}
	d, size := m.Config.EmbedDim, m.Config.Vision.ImageSize
	n := size * size

	u8 := get("pixels_u8") // [4, 3, S, S]
	pixels := make([]float32, u8.Len())
	tr := preprocess.Transform{Size: size, Mean: m.Config.Preprocess.Mean, Std: m.Config.Preprocess.Std}
	for i := range u8.Shape[0] {
		img := &preprocess.Image{W: size, H: size, Pix: make([]uint8, 3*n)}
		for p := range n {
			for c := range 3 {
				img.Pix[3*p+c] = u8.Data[(3*i+c)*n+p]
			}
		}
		tr.Apply(pixels[3*n*i:3*n*(i+1)], img)
	}
	images := make([]float32, u8.Shape[0]*d)
	if err := enc.EncodeImage(context.Background(), images, pixels); err != nil {
		t.Fatal(err)
	}

	var texts []string
	if err := json.Unmarshal([]byte(want.Metadata["texts"]), &texts); err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.New(m.Config.Text.VocabSize, m.Config.Text.ContextLength)
	if err != nil {
		t.Fatal(err)
	}
	ids := tok.EncodeBatch(texts)
	for i, id := range ids {
		if w := int32(binary.LittleEndian.Uint64(get("token_ids").Data[8*i:])); id != w {
			t.Fatalf("token %d of %q: %d, want %d", i%m.Config.Text.ContextLength, texts[i/m.Config.Text.ContextLength], id, w)
		}
	}
	words := make([]float32, len(texts)*d)
	if err := enc.EncodeText(context.Background(), words, ids); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]float32{"image_features": images, "text_features": words} {
		if err := eval.Normalize(got, d); err != nil {
			t.Fatal(err)
		}
		w := get(name).Float32()
		for o := 0; o < len(w); o += d {
			var diff, norm float64
			for k := range d {
				x, y := float64(got[o+k]), float64(w[o+k])
				diff += (x - y) * (x - y)
				norm += y * y
			}
			if r := math.Sqrt(diff / norm); !(r <= 1e-5) {
				t.Errorf("%s %d: relative difference %.2g", name, o/d, r)
			}
		}
	}
}

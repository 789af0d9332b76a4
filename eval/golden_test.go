package eval_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paint/checkpoint"
	"paint/clip"
	"paint/clip/enginetest"
	"paint/cpu"
	"paint/eval"
	"paint/tokenizer"
)

// relTol is the project's own bound on features, as ||got - want|| / ||want|| of a row; the manifest's are looser.
const relTol = 1e-5

// headGolden is testdata/heads/manifest.json: heads as the reference's src/heads.py makes them.
type headGolden struct {
	Classes, Templates []string
	Tolerance          struct{ Abs, Rel float64 }
}

// loadTiny unpacks the tiny OpenCLIP checkpoint that the tests of clip share, and loads it.
func loadTiny(t *testing.T) *clip.Model {
	t.Helper()
	from, dir := filepath.Join("..", "clip", "testdata", "vit_quick_openclip"), t.TempDir()
	config, err := os.ReadFile(filepath.Join(from, "open_clip_config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "open_clip_config.json"), config, 0o666); err != nil {
		t.Fatal(err)
	}
	b := enginetest.Gunzip(t, os.DirFS(filepath.Join("..", "clip")), "vit_quick_openclip/open_clip_model")
	if err := os.WriteFile(filepath.Join(dir, "open_clip_model.safetensors"), b, 0o666); err != nil {
		t.Fatal(err)
	}
	m, err := clip.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// closeTo compares rows of d values: each value within the manifest's tolerances, each row within relTol.
func closeTo(t *testing.T, what string, got, want []float32, d int, g headGolden) {
	t.Helper()
	if len(got) != len(want) || len(got) == 0 || len(got)%d != 0 {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	worst := 0.0
	for lo := 0; lo < len(got); lo += d {
		var diff, norm float64
		outside := 0
		for i := lo; i < lo+d; i++ {
			e, w := math.Abs(float64(got[i])-float64(want[i])), math.Abs(float64(want[i]))
			if !(e <= g.Tolerance.Abs+g.Tolerance.Rel*w) {
				if outside++; outside == 1 {
					t.Errorf("%s[%d] is %g, want %g", what, i, got[i], want[i])
				}
			}
			diff, norm = diff+e*e, norm+w*w
		}
		r := math.Sqrt(diff / norm)
		worst = math.Max(worst, r)
		if !(r <= relTol) {
			t.Errorf("%s: row %d differs by %.3g relative, tolerance %g", what, lo/d, r, relTol)
		}
	}
	t.Logf("%s: largest relative error of a row %.2g", what, worst)
}

// The zero-shot head and the logits over it are the reference's.
func TestHeadGolden(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "heads", "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g headGolden
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	want, err := checkpoint.Read(filepath.Join("testdata", "heads", "heads.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	m := loadTiny(t)
	d := m.Config.EmbedDim
	tok, err := tokenizer.New(m.Config.Text.VocabSize, m.Config.Text.ContextLength)
	if err != nil {
		t.Fatal(err)
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
	ctx := context.Background()

	// On the way to the head: the texts' ids and their features, not yet normalised.
	var texts []string
	for _, c := range g.Classes {
		for _, tmpl := range g.Templates {
			texts = append(texts, strings.Replace(tmpl, "{}", c, 1))
		}
	}
	ids := tok.EncodeBatch(texts)
	if !slices.Equal(ids, enginetest.Ints(want.Get("token_ids"))) {
		t.Error("the ids of the texts differ from the reference's")
	}
	feats := make([]float32, len(texts)*d)
	if err := enc.EncodeText(ctx, feats, ids); err != nil {
		t.Fatal(err)
	}
	closeTo(t, "template features", feats, want.Get("vit_quick.template_features").Float32(), d, g)

	scale := float64(m.Weights.Get("logit_scale").Float32()[0])
	head, err := eval.Head(ctx, enc, tok, m.Config, g.Classes, g.Templates, scale)
	if err != nil {
		t.Fatal(err)
	}
	closeTo(t, "head", head, want.Get("vit_quick.weight").Float32(), d, g)

	// A class's row does not depend on the classes beside it.
	alone, err := eval.Head(ctx, enc, tok, m.Config, g.Classes[1:2], g.Templates, scale)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(alone, head[d:2*d]) {
		t.Error("a class's row of the head depends on the other classes")
	}

	pixels := enginetest.Golden(t, os.DirFS(filepath.Join("..", "clip", "enginetest")), "expected_vit_quick").Get("pixel_values")
	n := pixels.Shape[0]
	images := make([]float32, n*d)
	if err := enc.EncodeImage(ctx, images, pixels.Float32()); err != nil {
		t.Fatal(err)
	}
	if err := eval.Normalize(images, d); err != nil {
		t.Fatal(err)
	}
	classes := len(g.Classes)
	logits := make([]float32, n*classes)
	for i := range n {
		for c := range classes {
			var s float64
			for k := range d {
				s += float64(images[i*d+k]) * float64(head[c*d+k])
			}
			logits[i*classes+c] = float32(s)
		}
	}
	golden := want.Get("vit_quick.logits").Float32()
	closeTo(t, "logits", logits, golden, classes, g)
	for i, got := range eval.Predict(images, head, d) {
		row := golden[i*classes : (i+1)*classes]
		if best := slices.Index(row, slices.Max(row)); got != best {
			t.Errorf("image %d: class %d, want %d", i, got, best)
		}
	}
}

// What cannot make a head is refused with the text at fault.
func TestHeadErrors(t *testing.T) {
	m := loadTiny(t)
	tok, err := tokenizer.New(m.Config.Text.VocabSize, m.Config.Text.ContextLength)
	if err != nil {
		t.Fatal(err)
	}
	eng, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	enc, err := eng.NewEncoder(m.Config, m.Weights)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name               string
		classes, templates []string
		want               string
	}{
		{"no classes", nil, []string{"{}"}, "0 classes"},
		{"no templates", []string{"cat"}, nil, "0 templates"},
		{"no place", []string{"cat"}, []string{"{}", "a photo"}, `template "a photo" has 0`},
		{"two places", []string{"cat"}, []string{"{} {}"}, `template "{} {}" has 2`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := eval.Head(context.Background(), enc, tok, m.Config, c.classes, c.templates, 1)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

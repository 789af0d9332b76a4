package clip

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paint/checkpoint"
	"paint/weights"
)

// nothing checks that a directory is empty.
func nothing(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("left behind: %s", e.Name())
	}
}

// An existing directory or file is refused and stays as it is.
func TestSaveRefusesWhatIsThere(t *testing.T) {
	m := mustLoad(t, cpuFiles(t, "clip_f32"))
	parent := t.TempDir()
	dir := filepath.Join(parent, "out")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	err := m.Save(dir)
	refused(t, err, "out")
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v, want fs.ErrExist", err)
	}
	nothing(t, dir)
	mine := filepath.Join(dir, "mine")
	if err := os.WriteFile(mine, []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	refused(t, m.Save(dir), "out")
	refused(t, m.Save(mine), "mine")
	sameFiles(t, readDir(t, dir), files{"mine": []byte("x")})
	if entries, err := os.ReadDir(parent); err != nil || len(entries) != 1 {
		t.Errorf("beside it: %v, %v", entries, err)
	}
}

// A failure while writing leaves nothing.
func TestSaveFailures(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(m *Model)
		words []string
	}{
		{"a companion that cannot be written", func(m *Model) { m.Files[strings.Repeat("n", 300)] = []byte("x") }, []string{"nnn"}},
		{"a companion outside", func(m *Model) { m.Files["../evil"] = []byte("x") }, []string{"../evil"}},
		{"a companion in a folder", func(m *Model) { m.Files["a/b"] = []byte("x") }, []string{"a/b"}},
		{"a companion without a name", func(m *Model) { m.Files[""] = []byte("x") }, []string{`""`}},
		{"a companion named as the weights", func(m *Model) { m.Files[hfWeights] = []byte("x") }, []string{hfWeights}},
		{"a tensor is gone", func(m *Model) { drop(m.Weights, "visual.proj") }, []string{"visual_projection.weight", "gone"}},
		{"a tensor more", func(m *Model) { m.Weights.Put(weights.New("visual.ln_pre.weightx", weights.F32, 1)) }, []string{"visual.ln_pre.weightx"}},
		{"a buffer more", func(m *Model) { m.Extra.Put(weights.New("epoch", weights.I64)) }, []string{"epoch"}},
		{"metadata that is no text", func(m *Model) { m.Weights.Metadata = map[string]string{"a": "\xff"} }, []string{"UTF-8"}},
		{"a tensor without its bytes", func(m *Model) {
			x := *m.Weights.Get("visual.ln_pre.bias")
			x.Data = x.Data[:4]
			m.Weights.Put(&x)
		}, []string{"vision_model.pre_layrnorm.bias"}},
		{"not from a checkpoint", func(m *Model) { *m = Model{Config: m.Config, Weights: m.Weights, Layout: m.Layout, Extra: m.Extra} }, []string{"not loaded"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mustLoad(t, cpuFiles(t, "clip_f32"))
			c.spoil(m)
			parent := t.TempDir()
			refused(t, m.Save(filepath.Join(parent, "out")), append(c.words, "out")...)
			nothing(t, parent)
		})
	}
	m := mustLoad(t, cpuFiles(t, "clip_f32"))
	parent := t.TempDir()
	refused(t, m.Save(filepath.Join(parent, "no", "out")), "out")
	nothing(t, parent)
	file := filepath.Join(parent, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	refused(t, m.Save(filepath.Join(file, "out")), "out")
}

// With rounds once to the stored type, shares nothing with the model that it changes, and leaves the rest.
func TestWith(t *testing.T) {
	for _, c := range []struct {
		name   string
		files  files
		dtype  weights.DType
		v, out float32
	}{
		// Half an ulp above 1 and a bit more: up where it is rounded once, and down to even on the way through fewer bits.
		{"f16", cpuFiles(t, "clip_fp16"), weights.F16, 1 + 1.0/2048 + 1.0/(1<<23), 1 + 1.0/1024},
		{"f16 tie", cpuFiles(t, "clip_fp16"), weights.F16, 1 + 1.0/2048, 1},
		{"bf16", bf16Files(t), weights.BF16, 1 + 1.0/256 + 1.0/(1<<23), 1 + 1.0/128},
		{"f32", cpuFiles(t, "clip_f32"), weights.F32, 1 + 1.0/(1<<23), 1 + 1.0/(1<<23)},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mustLoad(t, c.files)
			hash := m.Weights.Hash()
			var w weights.Set
			v := make([]float32, 48*24)
			for i := range v {
				v[i] = c.v
			}
			w.Put(weights.FromFloat32("visual.proj", v, 48, 24))
			n, err := m.With(&w)
			if err != nil {
				t.Fatal(err)
			}
			got := n.Weights.Get("visual.proj")
			if got.DType != c.dtype || slices.ContainsFunc(got.Float32(), func(x float32) bool { return x != c.out }) {
				t.Errorf("%v %v, want %v %v", got.DType, got.Float32()[0], c.dtype, c.out)
			}
			if m.Weights.Hash() != hash || n.Hash != "" {
				t.Errorf("the model itself changed, or the copy has the hash %q", n.Hash)
			}
			// Saved and loaded it is that model, in the files' form.
			dir := filepath.Join(t.TempDir(), "out")
			if err := n.Save(dir); err != nil {
				t.Fatal(err)
			}
			again, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := weights.Equal(again.Weights, n.Weights); err != nil {
				t.Error(err)
			}
			before, err := checkpoint.Decode(c.files[hfWeights])
			if err != nil {
				t.Fatal(err)
			}
			after, err := checkpoint.Read(filepath.Join(dir, hfWeights))
			if err != nil {
				t.Fatal(err)
			}
			drop(before, "visual_projection.weight")
			drop(after, "visual_projection.weight")
			if err := weights.Equal(before, after); err != nil {
				t.Errorf("another tensor changed: %v", err)
			}
		})
	}
}

func TestWithRefuses(t *testing.T) {
	m := mustLoad(t, cpuFiles(t, "clip_fp16"))
	full := func(v float32) []float32 {
		s := make([]float32, 48*24)
		s[7] = v
		return s
	}
	for _, c := range []struct {
		name  string
		x     *weights.Tensor
		words []string
	}{
		{"unknown", weights.New("visual.prox", weights.F32, 48, 24), []string{"visual.prox"}},
		{"other length", weights.New("visual.proj", weights.F32, 48, 23), []string{"visual.proj", "[48 24]", "[48 23]"}},
		{"other shape", weights.New("visual.proj", weights.F32, 24, 48), []string{"visual.proj", "[48 24]", "[24 48]"}},
		{"integers", weights.New("visual.proj", weights.I32, 48, 24), []string{"visual.proj", "F16", "I32"}},
		{"NaN", weights.FromFloat32("visual.proj", full(float32(math.NaN())), 48, 24), []string{"visual.proj", "element 7", "NaN"}},
		{"over the range of the type", weights.FromFloat32("visual.proj", full(70000), 48, 24), []string{"visual.proj", "element 7", "Inf"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var w weights.Set
			w.Put(c.x)
			_, err := m.With(&w)
			refused(t, err, append(c.words, "replacing weights")...)
		})
	}
}

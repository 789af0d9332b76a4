package clip

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"

	"paint/checkpoint"
	"paint/weights"
)

// withBuffers adds what old versions of transformers stored with the weights.
func withBuffers(t testing.TB, f files) files {
	return f.with(hfWeights, edit(t, f[hfWeights], func(s *weights.Set) {
		for _, b := range []struct {
			name string
			n    int
		}{{"text_model.embeddings.position_ids", 16}, {"vision_model.embeddings.position_ids", 17}} {
			ids := weights.New(b.name, weights.I64, 1, b.n)
			for i := range b.n {
				binary.LittleEndian.PutUint64(ids.Data[8*i:], uint64(i))
			}
			s.Put(ids)
		}
	}))
}

// openAIFiles is OpenAI's own form: no configuration, the sizes as tensors.
func openAIFiles(t testing.TB) files {
	c := Config{EmbedDim: 48, QuickGELU: true, Preprocess: Preprocess{OpenAIMean, OpenAIStd},
		Vision: Vision{ImageSize: 24, PatchSize: 8, Width: 128, Layers: 2, Heads: 2, MLPWidth: 512, LayerNormEps: 1e-5},
		Text:   Text{ContextLength: 9, VocabSize: 50, Width: 64, Layers: 3, Heads: 1, MLPWidth: 256, LayerNormEps: 1e-5, EOT: -1}}
	s := Random(c, 7)
	for _, b := range []struct {
		name string
		v    uint64
	}{{"input_resolution", 24}, {"context_length", 9}, {"vocab_size", 50}} {
		x := weights.New(b.name, weights.I64)
		binary.LittleEndian.PutUint64(x.Data, b.v)
		s.Put(x)
	}
	return files{"model.safetensors": encode(t, s)}
}

// Loading and saving gives the bytes that were read, whatever the layout, the type and the division into files.
func TestRoundTrip(t *testing.T) {
	f32 := cpuFiles(t, "clip_f32")
	tokenizer := f32.with("tokenizer.json", []byte("{}\n")).with("merges.txt", []byte("#version: 0.2\ni n\n")).with("vocab.json", nil)
	for _, c := range []struct {
		name   string
		in     files
		layout Layout
		extra  int
	}{
		{"hf f32", f32, HF, 0},
		{"hf fp16", cpuFiles(t, "clip_fp16"), HF, 0},
		{"hf bf16", bf16Files(t), HF, 0},
		{"hf sharded", shardedFiles(t), HF, 0},
		{"hf sharded gelu", shardedFiles(t).gelu(), HF, 0},
		{"hf with buffers", withBuffers(t, f32), HF, 2},
		{"hf with a tokenizer", tokenizer, HF, 0},
		{"openclip", openCLIPFiles(t), OpenCLIP, 0},
		{"openclip gelu", openCLIPFiles(t).gelu(), OpenCLIP, 0},
		{"openai", openAIFiles(t), OpenCLIP, 3},
		{"both configurations", openCLIPFiles(t).with(hfConfig, shardedFiles(t)[hfConfig]), OpenCLIP, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mustLoad(t, c.in)
			if m.Layout != c.layout || m.Extra.Len() != c.extra || len(m.Order) == 0 || len(m.Hash) != 64 {
				t.Errorf("layout %q, %d extra tensors, %d in order, hash %q", m.Layout, m.Extra.Len(), len(m.Order), m.Hash)
			}
			out := filepath.Join(t.TempDir(), "out")
			if err := m.Save(out); err != nil {
				t.Fatal(err)
			}
			sameFiles(t, readDir(t, out), c.in)
			again, err := Load(out)
			if err != nil {
				t.Fatal(err)
			}
			if again.Config != m.Config || again.Hash != m.Hash {
				t.Errorf("loaded again: %+v, %s; was %+v, %s", again.Config, again.Hash, m.Config, m.Hash)
			}
		})
	}
}

// The companion files that are not the program's business stay behind.
func TestOtherFilesAreLeft(t *testing.T) {
	m := mustLoad(t, openCLIPFiles(t).with("README.md", []byte("x")).with("optimizer.bin", []byte("y")))
	if len(m.Files) != 1 {
		t.Errorf("%d companion files, want the configuration alone", len(m.Files))
	}
}

// The same weights in HF and in OpenCLIP layout are the same model inside.
func TestLayoutsAgree(t *testing.T) {
	hf, oc := mustLoad(t, shardedFiles(t)), mustLoad(t, openCLIPFiles(t))
	if err := weights.Equal(hf.Weights, oc.Weights); err != nil {
		t.Error(err)
	}
	if hf.Hash != oc.Hash {
		t.Errorf("hash %s in HF, %s in OpenCLIP", hf.Hash, oc.Hash)
	}
	// transformers pools at the first end-of-text, OpenCLIP at the largest id: 49407 is both.
	c := hf.Config
	if c.Text.EOT != 49407 {
		t.Errorf("end-of-text %d, want 49407", c.Text.EOT)
	}
	if c.Text.EOT = -1; c != oc.Config {
		t.Errorf("configuration %+v in HF, %+v in OpenCLIP", c, oc.Config)
	}
	if g := mustLoad(t, shardedFiles(t).gelu()); g.Config.QuickGELU || g.Hash != hf.Hash {
		t.Errorf("with gelu: QuickGELU %v, hash equal %v", g.Config.QuickGELU, g.Hash == hf.Hash)
	}
	var names []string
	for x := range hf.Weights.All() {
		names = append(names, x.Name)
	}
	var params []string
	for _, p := range hf.Config.Params() {
		params = append(params, p.Name)
	}
	if !slices.Equal(names, params) {
		t.Errorf("tensors are not in Params' order: %v", names)
	}
}

// Every parameter has one or three names in a file, which nothing else has, and comes back from them.
func TestNamesAreOneToOne(t *testing.T) {
	c, err := Arch("ViT-L-14")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []Layout{HF, OpenCLIP} {
		seen := map[string]string{}
		for _, p := range c.Params() {
			for _, n := range l.fileNames(p.Name) {
				if n == "" || seen[n] != "" || l.isExtra(n) {
					t.Errorf("%s: %q is named %q, as is %q", l, p.Name, n, seen[n])
				}
				seen[n] = p.Name
			}
		}
	}
}

// The three forms of a reference to a model give one model.
func TestWays(t *testing.T) {
	f := shardedFiles(t)
	dir := f.write(t)
	want := mustLoad(t, f)
	index := filepath.Join(dir, hfIndex)
	if m, err := Load(index); err != nil || m.Hash != want.Hash || m.Config != want.Config {
		t.Errorf("by its index: %v", err)
	}
	oc := openCLIPFiles(t)
	ocDir := oc.write(t)
	for _, ref := range []string{ocDir, filepath.Join(ocDir, openCLIPWeights), ocDir + string(filepath.Separator)} {
		if m, err := Load(ref); err != nil || m.Hash != want.Hash {
			t.Errorf("%s: %v", ref, err)
		}
	}
	memory := fstest.MapFS{}
	for n, b := range oc {
		memory[n] = &fstest.MapFile{Data: b}
	}
	if m, err := LoadFS(memory); err != nil || m.Hash != want.Hash {
		t.Errorf("from memory: %v", err)
	}
	// A file under any name, with its configuration beside it.
	odd := files{openCLIPConfig: oc[openCLIPConfig], "epoch 3.safetensors": oc[openCLIPWeights]}
	m := mustLoad(t, odd)
	out := filepath.Join(t.TempDir(), "out")
	if err := m.Save(out); err != nil {
		t.Fatal(err)
	}
	sameFiles(t, readDir(t, out), odd)
}

// Of a directory with both layouts the OpenCLIP one is read; the other is read by its file.
func TestBothLayouts(t *testing.T) {
	both := openCLIPFiles(t)
	for n, b := range cpuFiles(t, "clip_f32") {
		both[n] = b
	}
	dir := both.write(t)
	m, err := Load(dir)
	if err != nil || m.Layout != OpenCLIP || m.Config.EmbedDim != 32 {
		t.Fatalf("directory: %v, %+v", err, m)
	}
	m, err = Load(filepath.Join(dir, hfWeights))
	if err != nil || m.Layout != HF || m.Config.EmbedDim != 24 {
		t.Fatalf("HF's file: %v, %+v", err, m)
	}
	// One file comes before an index.
	f := shardedFiles(t)
	if m, err = Load(f.with(hfWeights, cpuFiles(t, "clip_f32")[hfWeights]).with(hfConfig, cpuFiles(t, "clip_f32")[hfConfig]).without(hfPreprocessor).write(t)); err != nil || m.sharding != nil {
		t.Errorf("a file and an index: %v", err)
	}
}

// Without a configuration the shapes say what OpenAI's code takes from them, and the model says what was assumed.
func TestInfer(t *testing.T) {
	m := mustLoad(t, openAIFiles(t))
	want := Config{EmbedDim: 48, QuickGELU: true, Preprocess: Preprocess{OpenAIMean, OpenAIStd},
		Vision: Vision{ImageSize: 24, PatchSize: 8, Width: 128, Layers: 2, Heads: 2, MLPWidth: 512, LayerNormEps: 1e-5},
		Text:   Text{ContextLength: 9, VocabSize: 50, Width: 64, Layers: 3, Heads: 1, MLPWidth: 256, LayerNormEps: 1e-5, EOT: -1}}
	if m.Config != want {
		t.Errorf("inferred %+v, want %+v", m.Config, want)
	}
	for _, w := range []string{openCLIPConfig, "quick_gelu", "64"} {
		if !bytes.Contains([]byte(m.Note), []byte(w)) {
			t.Errorf("note %q lacks %q", m.Note, w)
		}
	}
	if n := mustLoad(t, openCLIPFiles(t)).Note; n != "" {
		t.Errorf("a model with a configuration has the note %q", n)
	}
	for _, name := range []string{"ViT-B-32", "ViT-B-16", "ViT-L-14"} {
		want, err := Arch(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := infer(shapesOf(want)); err != nil || got != want {
			t.Errorf("%s: inferred %+v (%v), want %+v", name, got, err, want)
		}
	}
}

// shapesOf is a set of the right shapes without data: infer reads no more.
func shapesOf(c Config) *weights.Set {
	var s weights.Set
	for _, p := range c.Params() {
		s.Put(&weights.Tensor{Name: p.Name, DType: weights.F32, Shape: p.Shape})
	}
	return &s
}

func TestInferRefuses(t *testing.T) {
	c, err := Arch("ViT-B-32")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name  string
		shape []int
	}{
		{"visual.positional_embedding", []int{51, 768}},
		{"visual.positional_embedding", []int{1, 768}},
		{"visual.positional_embedding", []int{1<<63 - 1, 0}},
		{"visual.positional_embedding", []int{1 << 62, 0}},
		{"visual.positional_embedding", []int{50}},
		{"visual.conv1.weight", []int{0, 3, 32, 32}},
		{"visual.conv1.weight", []int{768, 3, 32, 1 << 60}},
		{"visual.conv1.weight", []int{100, 3, 32, 32}},
		{"visual.conv1.weight", []int{63, 3, 32, 32}},
		{"ln_final.weight", []int{1 << 62}},
		{"ln_final.weight", []int{}},
		{"text_projection", []int{512, 1 << 62}},
		{"text_projection", []int{512, 0}},
		{"positional_embedding", []int{1 << 40, 0}},
		{"token_embedding.weight", []int{0, 512}},
		{"visual.transformer.resblocks.0.ln_1.weight", nil},
	} {
		s := shapesOf(c)
		if x.shape == nil {
			drop(s, x.name)
		} else {
			s.Put(&weights.Tensor{Name: x.name, DType: weights.F32, Shape: x.shape})
		}
		if _, err := infer(s); err == nil {
			t.Errorf("%s %v: inferred", x.name, x.shape)
		} else {
			refused(t, err)
		}
	}
}

// The metadata of a file's header and of each shard are written back.
func TestMetadata(t *testing.T) {
	f := cpuFiles(t, "clip_f32")
	f = f.with(hfWeights, edit(t, f[hfWeights], func(s *weights.Set) { s.Metadata = map[string]string{"format": "pt", "a": "b\n"} }))
	m := mustLoad(t, f)
	out := filepath.Join(t.TempDir(), "out")
	if err := m.Save(out); err != nil {
		t.Fatal(err)
	}
	s, err := checkpoint.Read(filepath.Join(out, hfWeights))
	if err != nil || s.Metadata["format"] != "pt" || s.Metadata["a"] != "b\n" || len(s.Metadata) != 2 {
		t.Errorf("metadata %q: %v", s.Metadata, err)
	}
}

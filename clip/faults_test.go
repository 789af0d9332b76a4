package clip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"paint/weights"
)

// convert stores a tensor in another type.
func convert(s *weights.Set, name string, d weights.DType) {
	old := s.Get(name)
	n := &weights.Tensor{Name: name, DType: d, Shape: old.Shape}
	if d.Float() {
		n.SetFloat32(old.Float32())
	} else {
		n.Data = make([]byte, n.Len()*d.Size())
	}
	s.Put(n)
}

// poke puts a value into an element of an F32 tensor.
func poke(s *weights.Set, name string, i int, v float64) {
	t := s.Get(name)
	t.Data = bytes.Clone(t.Data)
	binary.LittleEndian.PutUint32(t.Data[4*i:], math.Float32bits(float32(v)))
}

// A checkpoint with a fault is refused with a line that names the file and the tensor.
func TestFaults(t *testing.T) {
	hf, op, sharded, bare := cpuFiles(t, "clip_f32"), openCLIPFiles(t), shardedFiles(t), openAIFiles(t)
	const (
		q    = "vision_model.encoder.layers.1.self_attn.q_proj.weight"
		k    = "vision_model.encoder.layers.1.self_attn.k_proj.weight"
		proj = "visual_projection.weight"
		shd1 = "model-00001-of-00002.safetensors"
	)
	changed := func(f files, name string, change func(s *weights.Set)) files {
		return f.with(name, edit(t, f[name], change))
	}
	hfWith := func(change func(s *weights.Set)) files { return changed(hf, hfWeights, change) }
	ocWith := func(change func(s *weights.Set)) files { return changed(op, openCLIPWeights, change) }
	put := func(name string, d weights.DType, shape ...int) func(s *weights.Set) {
		return func(s *weights.Set) { s.Put(weights.New(name, d, shape...)) }
	}
	config := func(old, new string) files {
		return hf.with(hfConfig, []byte(strings.Replace(string(hf[hfConfig]), old, new, 1)))
	}
	for _, c := range []struct {
		name  string
		files files
		words []string
	}{
		{"missing tensor", hfWith(func(s *weights.Set) { drop(s, q) }), []string{hfWeights, q, "missing"}},
		{"missing projection", hfWith(func(s *weights.Set) { drop(s, proj) }), []string{hfWeights, proj, "missing"}},
		{"two missing tensors", hfWith(func(s *weights.Set) { drop(s, q); drop(s, k) }), []string{hfWeights, q, "1 more"}},
		{"missing tensor, openclip", ocWith(func(s *weights.Set) { drop(s, "logit_scale") }), []string{openCLIPWeights, "logit_scale", "missing"}},
		{"extra tensor", hfWith(put("logit_bias", weights.F32)), []string{hfWeights, "logit_bias", "no such parameter"}},
		{"extra block", ocWith(put("visual.transformer.resblocks.3.ln_1.bias", weights.F32, 64)), []string{openCLIPWeights, "visual.transformer.resblocks.3.ln_1.bias"}},
		{"buffers of other models", hfWith(put("x.embeddings.position_ids", weights.I64, 1)), []string{"x.embeddings.position_ids"}},
		{"text tower under another name", ocWith(func(s *weights.Set) {
			x := *s.Get("ln_final.weight")
			drop(s, x.Name)
			x.Name = "text.ln_final.weight"
			s.Put(&x)
		}), []string{"ln_final.weight", "missing"}},
		{"wrong shape", hfWith(put(q, weights.F32, 48, 47)), []string{hfWeights, q, "[48 47]", "[48 48]"}},
		{"transposed projection", hfWith(put(proj, weights.F32, 48, 24)), []string{hfWeights, proj, "[48 24]", "[24 48]"}},
		{"scale of rank 1", hfWith(put("logit_scale", weights.F32, 1)), []string{hfWeights, "logit_scale", "[1]", "[]"}},
		{"empty tensor", ocWith(put("visual.proj", weights.F32, 64, 0)), []string{openCLIPWeights, "visual.proj", "[64 0]"}},
		{"integer type", hfWith(func(s *weights.Set) { convert(s, q, weights.I32) }), []string{hfWeights, q, "I32"}},
		{"bytes", ocWith(func(s *weights.Set) { convert(s, "visual.proj", weights.U8) }), []string{openCLIPWeights, "visual.proj", "U8"}},
		{"mixed types", hfWith(func(s *weights.Set) { convert(s, k, weights.F16) }), []string{hfWeights, k, "F16", q, "F32"}},
		{"NaN", hfWith(func(s *weights.Set) { poke(s, proj, 1, math.NaN()) }), []string{hfWeights, "visual.proj", "NaN"}},
		{"infinity", ocWith(func(s *weights.Set) { poke(s, "token_embedding.weight", 49407*32+31, math.Inf(-1)) }), []string{openCLIPWeights, "token_embedding.weight", "-Inf"}},
		{"NaN in a query", hfWith(func(s *weights.Set) { poke(s, q, 0, math.NaN()) }), []string{hfWeights, "visual.transformer.resblocks.1.attn.in_proj_weight", "NaN"}},
		{"config of another size", config(`"hidden_size": 48`, `"hidden_size": 64`), []string{hfWeights, "[48]", "[64]", "more"}},
		{"config with more layers", config(`"num_hidden_layers": 2`, `"num_hidden_layers": 3`), []string{hfWeights, "text_model.encoder.layers.2.", "missing"}},
		{"config with fewer layers", config(`"num_hidden_layers": 2`, `"num_hidden_layers": 1`), []string{hfWeights, "text_model.encoder.layers.1.", "no such parameter"}},
		{"config of the largest sizes", config(`"vocab_size": 640`, `"vocab_size": 1048576`), []string{hfWeights, "[1048576 32]"}},
		{"no config", hf.without(hfConfig), []string{hfConfig, "not there"}},
		{"config empty", hf.with(hfConfig, nil), []string{hfConfig, "JSON"}},
		{"config too large", hf.with(hfConfig, bytes.Repeat([]byte(" "), maxConfig+1)), []string{hfConfig, "1048577"}},
		{"config too large, openclip", op.with(openCLIPConfig, bytes.Repeat([]byte(" "), maxConfig+1)), []string{openCLIPConfig, "1048577"}},
		{"SigLIP's config", hf.with(hfConfig, readFile(t, "testdata/siglip_config.json")), []string{hfConfig, "model_type", "siglip"}},
		{"a ResNet's config", op.with(openCLIPConfig, readFile(t, "testdata/resnet_open_clip_config.json")), []string{openCLIPConfig, "layers", "ResNet"}},
		{"preprocessor of another size", hf.with(hfPreprocessor, []byte(`{"size": 64}`)), []string{hfPreprocessor, "size", "64", "32"}},
		{"processor of another size", hf.with(hfProcessor, []byte(`{"image_processor": {"size": 64}}`)), []string{hfProcessor, "size", "64", "32"}},
		{"HF's weights with OpenCLIP's config", files{openCLIPConfig: op[openCLIPConfig], openCLIPWeights: hf[hfWeights]}, []string{hfConfig, "not there"}},
		{"OpenAI's without a size", changed(bare, hfWeights, func(s *weights.Set) { drop(s, "text_projection") }), []string{openCLIPConfig, "not there"}},
		{"OpenAI's, not square", changed(bare, hfWeights, put("visual.positional_embedding", weights.F32, 11, 128)), []string{"visual.positional_embedding", "11"}},
		{"OpenAI's, other MLP", changed(bare, hfWeights, put("visual.transformer.resblocks.1.mlp.c_fc.weight", weights.F32, 500, 128)), []string{"resblocks.1.mlp.c_fc.weight", "[500 128]", "[512 128]"}},
		{"no weights", hf.without(hfWeights), []string{hfWeights, openCLIPWeights, "none"}},
		{"nothing", files{}, []string{hfWeights, openCLIPWeights, "none"}},
		{"several weights", files{openCLIPConfig: op[openCLIPConfig], "a.safetensors": op[openCLIPWeights], "b.safetensors": op[openCLIPWeights]}, []string{"2", "a.safetensors", "b.safetensors"}},
		{"not a CLIP", files{hfWeights: edit(t, hf[hfWeights], func(s *weights.Set) { *s = weights.Set{}; s.Put(weights.New("a", weights.F32, 2)) })}, []string{hfWeights, "visual.conv1.weight", `"a"`}},
		{"no tensors", files{hfWeights: encode(t, &weights.Set{})}, []string{hfWeights, "none"}},
		{"not safetensors", hf.with(hfWeights, []byte("PK\x03\x04 and so on")), []string{hfWeights, "zip"}},
		{"weights empty", hf.with(hfWeights, nil), []string{hfWeights, "0 bytes"}},
		{"weights cut off", hf.with(hfWeights, hf[hfWeights][:len(hf[hfWeights])-1]), []string{hfWeights, "truncated"}},
		{"shard cut off", sharded.with(shd1, sharded[shd1][:5000]), []string{shd1, "truncated"}},
		{"shard gone", sharded.without(shd1), []string{shd1, hfIndex}},
		{"shard without a tensor", changed(sharded, shd1, func(s *weights.Set) { drop(s, "logit_scale") }), []string{"logit_scale", hfIndex}},
		{"index outside", sharded.with(hfIndex, bytes.ReplaceAll(sharded[hfIndex], []byte(shd1), []byte("../"+shd1))), []string{hfIndex, "../" + shd1}},
		{"index absolute", sharded.with(hfIndex, bytes.ReplaceAll(sharded[hfIndex], []byte(shd1), []byte("/etc/passwd"))), []string{hfIndex, "/etc/passwd"}},
		{"index no JSON", sharded.with(hfIndex, []byte("{")), []string{hfIndex, "JSON"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := c.files.write(t)
			_, err := Load(dir)
			refused(t, err, append(c.words, "loading model", filepath.Base(dir))...)
		})
	}
	if _, err := Load(hfWith(func(s *weights.Set) { poke(s, proj, 1, math.Inf(1)) }).write(t)); !errors.Is(err, weights.ErrNotFinite) {
		t.Errorf("infinity: %v, want ErrNotFinite", err)
	}
}

// What stands in a file's place is named.
func TestNotAFile(t *testing.T) {
	f := cpuFiles(t, "clip_f32")
	for _, n := range []string{hfConfig, hfWeights, hfPreprocessor} {
		dir := f.without(n).write(t)
		if err := os.Mkdir(filepath.Join(dir, n), 0o777); err != nil {
			t.Fatal(err)
		}
		_, err := Load(dir)
		refused(t, err, n, "loading model")
	}
	dir := f.write(t)
	_, err := Load(filepath.Join(dir, "none"))
	refused(t, err, "loading model", "none")
	_, err = Load(filepath.Join(dir, hfConfig))
	refused(t, err, hfConfig, "JSON")
	_, err = Load("")
	refused(t, err, "loading model")

	_, err = LoadFS(fstest.MapFS{})
	refused(t, err, "loading model", hfWeights)
	memory := fstest.MapFS{}
	for n, b := range shardedFiles(t) {
		memory[n] = &fstest.MapFile{Data: b}
	}
	_, err = LoadFS(memory)
	refused(t, err, hfIndex, "directory on disk")
	_, err = LoadFS(fstest.MapFS{hfWeights: {Data: []byte("PK\x03\x04zip!")}, hfConfig: {Data: f[hfConfig]}})
	refused(t, err, hfWeights, "zip")
}

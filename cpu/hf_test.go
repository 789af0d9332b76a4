package cpu

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"paint/clip"
	"paint/clip/enginetest"
)

// Features are those of transformers, from weights in float32 and float16, under both rules for pooling texts.
func TestHuggingFace(t *testing.T) {
	e := newEngine(t, Options{})
	here := os.DirFS(".")
	for _, c := range []struct{ name, file, key, eos string }{
		{"f32", "clip_f32", "f32.", "639"},
		{"f32 largest id", "clip_f32", "eos2.", "2"},
		{"fp16", "clip_fp16", "f32.", "639"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, err := os.ReadFile("testdata/" + c.file + ".config.json")
			if err != nil {
				t.Fatal(err)
			}
			m, err := clip.LoadFS(fstest.MapFS{
				"config.json":       {Data: []byte(strings.Replace(string(config), `"eos_token_id": 639`, `"eos_token_id": `+c.eos, 1))},
				"model.safetensors": {Data: enginetest.Gunzip(t, here, c.file)},
			})
			if err != nil {
				t.Fatal(err)
			}
			enc, err := e.NewEncoder(m.Config, m.Weights)
			if err != nil {
				t.Fatal(err)
			}
			x := enginetest.Golden(t, here, "expected_"+c.file)
			worst := enginetest.Features(t, enc, m.Config, x.Get("pixel_values").Float32(), enginetest.Ints(x.Get("input_ids")),
				x.Get(c.key+"image_features"), x.Get(c.key+"text_features"))
			t.Logf("largest relative error %.2g", worst)
		})
	}
}

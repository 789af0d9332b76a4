package clip

import (
	"fmt"
	"strings"
	"testing"
)

// oc builds an open_clip_config.json from the insides of its objects.
func oc(model, vision, text, preprocess string) string {
	join := func(parts ...string) string {
		var out []string
		for _, p := range parts {
			if p != "" {
				out = append(out, p)
			}
		}
		return strings.Join(out, ", ")
	}
	if !strings.Contains(model, "embed_dim") {
		model = join(`"embed_dim": 512`, model)
	}
	return fmt.Sprintf("{\"model_cfg\": {%s, \"vision_cfg\": {\n%s\n}, \"text_cfg\": {%s}}, \"preprocess_cfg\": {%s}}", model, vision, text, preprocess)
}

// hf builds a config.json.
func hf(top, vision, text string) string {
	if top != "" {
		top += ", "
	}
	return fmt.Sprintf("{%s\"model_type\": \"clip\", \"vision_config\": {\n%s\n}, \"text_config\": {%s}}", top, vision, text)
}

// What open_clip's CLIPVisionCfg, CLIPTextCfg and PreprocessCfg (3.3.0) have where nothing is said.
func openCLIPDefaults() Config {
	return Config{EmbedDim: 512, Preprocess: Preprocess{OpenAIMean, OpenAIStd},
		Vision: Vision{ImageSize: 224, PatchSize: 16, Width: 768, Layers: 12, Heads: 12, MLPWidth: 3072, LayerNormEps: 1e-5},
		Text:   Text{ContextLength: 77, VocabSize: 49408, Width: 512, Layers: 12, Heads: 8, MLPWidth: 2048, LayerNormEps: 1e-5, EOT: -1}}
}

// What transformers' CLIPConfig (5.24.0) has where nothing is said.
func hfDefaults() Config {
	c := openCLIPDefaults()
	c.QuickGELU, c.Vision.PatchSize, c.Text.EOT = true, 32, 49407
	return c
}

// A dump of the two dataclasses with every field at its default.
const (
	fullVision = `"layers": 12, "width": 768, "head_width": 64, "mlp_ratio": 4.0, "patch_size": 16, "image_size": 224, "ls_init_value": null,
		"patch_dropout": 0.0, "attentional_pool": false, "attn_pooler_queries": 256, "attn_pooler_heads": 8, "no_ln_pre": false,
		"pos_embed_type": "learnable", "final_ln_after_pool": false, "pool_type": "tok", "output_tokens": false, "act_kwargs": null,
		"norm_kwargs": null, "block_type": null, "qk_norm": false, "scaled_cosine_attn": false, "scale_heads": false, "scale_attn_inner": false,
		"scale_attn": false, "scale_fc": false, "timm_model_name": null, "timm_model_pretrained": false, "timm_pool": "avg",
		"timm_proj": "linear", "timm_proj_bias": false, "timm_drop": 0.0, "timm_drop_path": null`
	fullText = `"context_length": 77, "vocab_size": 49408, "hf_tokenizer_name": null, "tokenizer_mode": null, "tokenizer_kwargs": null,
		"width": 512, "heads": 8, "layers": 12, "mlp_ratio": 4.0, "ls_init_value": null, "embed_cls": false, "pad_id": 0, "eos_id": 2,
		"no_causal_mask": false, "final_ln_after_pool": false, "pool_type": "argmax", "proj_bias": false, "proj_type": "linear",
		"output_tokens": false, "act_kwargs": null, "norm_kwargs": null, "block_type": null, "qk_norm": false, "scaled_cosine_attn": false,
		"scale_heads": false, "scale_attn_inner": false, "scale_attn": false, "scale_fc": false, "hf_model_name": null,
		"hf_model_pretrained": true, "hf_proj_type": "mlp", "hf_pooler_type": "mean_pooler"`
)

func TestParseOpenCLIP(t *testing.T) {
	set := func(f func(c *Config)) Config {
		c := openCLIPDefaults()
		f(&c)
		return c
	}
	for _, c := range []struct {
		name, config string
		want         Config
	}{
		{"defaults", oc("", "", "", ""), openCLIPDefaults()},
		{"no preprocess_cfg", `{"model_cfg": {"embed_dim": 512, "vision_cfg": {}, "text_cfg": {}}}`, openCLIPDefaults()},
		{"null preprocess_cfg", `{"model_cfg": {"embed_dim": 512, "vision_cfg": {}, "text_cfg": {}}, "preprocess_cfg": null}`, openCLIPDefaults()},
		{"every field at its default", oc(`"quick_gelu": false, "init_logit_bias": null, "custom_text": false, "nonscalar_logit_scale": false, "cast_dtype": null,
			"output_dict": false, "init_logit_scale": 2.659`, fullVision, fullText, `"size": 224, "mode": "RGB", "mean": null, "std": null,
			"interpolation": "bicubic", "resize_mode": "shortest", "fill_color": 0`), openCLIPDefaults()},
		{"quick_gelu", oc(`"quick_gelu": true`, "", "", ""), set(func(c *Config) { c.QuickGELU = true })},
		{"B/32", oc("", `"image_size": 224, "layers": 12, "width": 768, "patch_size": 32`, `"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12`, ""),
			set(func(c *Config) { c.Vision.PatchSize = 32 })},
		{"H/14", oc(`"embed_dim": 1024`, `"layers": 32, "width": 1280, "head_width": 80, "patch_size": 14`, `"width": 1024, "heads": 16, "layers": 24`, ""), set(func(c *Config) {
			c.EmbedDim = 1024
			c.Vision = Vision{224, 14, 1280, 32, 16, 5120, 1e-5}
			c.Text = Text{77, 49408, 1024, 24, 16, 4096, 1e-5, -1}
		})},
		{"g/14: a ratio that gives a broken width", oc(`"embed_dim": 1024`, `"layers": 40, "width": 1408, "head_width": 88, "mlp_ratio": 4.3637, "patch_size": 14`, "", ""), set(func(c *Config) {
			c.EmbedDim = 1024
			c.Vision = Vision{224, 14, 1408, 40, 16, 6144, 1e-5}
		})},
		{"bigG/14", oc(`"embed_dim": 1280`, `"layers": 48, "width": 1664, "head_width": 104, "mlp_ratio": 4.9231, "patch_size": 14`, "", ""), set(func(c *Config) {
			c.EmbedDim = 1280
			c.Vision = Vision{224, 14, 1664, 48, 16, 8192, 1e-5}
		})},
		{"norm_kwargs", oc("", `"norm_kwargs": {"eps": 1e-6}`, `"norm_kwargs": {}, "act_kwargs": {}, "tokenizer_kwargs": {}`, ""), set(func(c *Config) { c.Vision.LayerNormEps = 1e-6 })},
		{"one mean for all", oc("", "", "", `"mean": 0.5, "std": [0.25, 0.5, 1], "size": [224, 224]`), set(func(c *Config) {
			c.Preprocess = Preprocess{[3]float64{.5, .5, .5}, [3]float64{.25, .5, 1}}
		})},
		{"what only training reads", oc("", `"patch_dropout": 0.5`, "", `"interpolation": "random"`), openCLIPDefaults()},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseOpenCLIP([]byte(c.config))
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestParseOpenCLIPRefuses(t *testing.T) {
	v := func(s string) string { return oc("", s, "", "") }
	x := func(s string) string { return oc("", "", s, "") }
	p := func(s string) string { return oc("", "", "", s) }
	for _, c := range []struct{ name, config, key, value string }{
		{"ResNet", string(readFile(t, "testdata/resnet_open_clip_config.json")), "model_cfg.vision_cfg.layers", "[2,1,1,1]"},
		{"a tower of timm", v(`"timm_model_name": "vitamin_small_224", "timm_pool": "", "image_size": 224`), "model_cfg.vision_cfg.timm_model_name", `"vitamin_small_224"`},
		{"attentional_pool", v(`"attentional_pool": true`), "model_cfg.vision_cfg.attentional_pool", "true"},
		{"attentional_pool by name", v(`"attentional_pool": "parallel"`), "model_cfg.vision_cfg.attentional_pool", `"parallel"`},
		{"pool_type", v(`"pool_type": "avg"`), "model_cfg.vision_cfg.pool_type", `"avg"`},
		{"no_ln_pre", v(`"no_ln_pre": true`), "model_cfg.vision_cfg.no_ln_pre", "true"},
		{"layer scale", v(`"ls_init_value": 1e-4`), "model_cfg.vision_cfg.ls_init_value", "1e-4"},
		{"qk_norm", x(`"qk_norm": true`), "model_cfg.text_cfg.qk_norm", "true"},
		{"act_kwargs", x(`"act_kwargs": {"approximate": "tanh"}`), "model_cfg.text_cfg.act_kwargs", `{"approximate":"tanh"}`},
		{"no_causal_mask", x(`"no_causal_mask": true`), "model_cfg.text_cfg.no_causal_mask", "true"},
		{"text pool_type", x(`"pool_type": "last"`), "model_cfg.text_cfg.pool_type", `"last"`},
		{"hf_model_name", x(`"hf_model_name": "roberta-base"`), "model_cfg.text_cfg.hf_model_name", `"roberta-base"`},
		{"hf_tokenizer_name", x(`"hf_tokenizer_name": "bert-base-uncased"`), "model_cfg.text_cfg.hf_tokenizer_name", `"bert-base-uncased"`},
		{"tokenizer_kwargs", x(`"tokenizer_kwargs": {"clean": "canonicalize"}`), "model_cfg.text_cfg.tokenizer_kwargs", "canonicalize"},
		{"custom_text", oc(`"custom_text": true`, "", "", ""), "model_cfg.custom_text", "true"},
		{"init_logit_bias", oc(`"init_logit_bias": -10`, "", "", ""), "model_cfg.init_logit_bias", "-10"},
		{"CoCa", oc(`"multimodal_cfg": {"width": 512}`, "", "", ""), "model_cfg.multimodal_cfg", `{"width":512}`},
		{"resize_mode", p(`"resize_mode": "squash"`), "preprocess_cfg.resize_mode", `"squash"`},
		{"interpolation", p(`"interpolation": "bilinear"`), "preprocess_cfg.interpolation", `"bilinear"`},
		{"mode", p(`"mode": "L"`), "preprocess_cfg.mode", `"L"`},

		{"an unknown key", v(`"patch_sise": 16`), "model_cfg.vision_cfg.patch_sise", "16"},
		{"an unknown key, over lines", v("\"zzz\": [\n1,\n2]"), "model_cfg.vision_cfg.zzz", "[1,2]"},
		{"another case", v(`"Width": 64`), "model_cfg.vision_cfg.Width", "64"},
		{"another case beside it", v(`"width": 768, "WIDTH": 64`), "model_cfg.vision_cfg.WIDTH", "64"},
		{"a key that is no word", v(`"wi\u001b[31mdth\n": 64`), "model_cfg.vision_cfg.", "64"},
		{"a value that is no text", v(`"pool_type": "a\u009b31m\nb` + "\u009b" + `"`), "model_cfg.vision_cfg.pool_type", "a"},
		{"a long value", v(`"pool_type": "` + strings.Repeat("é", 9999) + `"`), "model_cfg.vision_cfg.pool_type", "..."},
		{"a long key", v(`"` + strings.Repeat("é", 9999) + `": 1`), "model_cfg.vision_cfg.", "..."},
		{"a key twice", v(`"width": 768, "width": 64`), "model_cfg.vision_cfg.width", "twice"},
		{"a key twice, escaped", v(`"width": 768, "wid\u0074h": 64`), "model_cfg.vision_cfg.width", "twice"},
		{"a key twice where nothing is read", `{"model_cfg": {"cast_dtype": {"a": 1, "a": 2}}}`, "model_cfg.cast_dtype.a", "twice"},

		{"width a string", v(`"width": "768"`), "model_cfg.vision_cfg.width", `"768"`},
		{"width a fraction", v(`"width": 768.5`), "model_cfg.vision_cfg.width", "768.5"},
		{"width null", v(`"width": null`), "model_cfg.vision_cfg.width", "null"},
		{"width true", v(`"width": true`), "model_cfg.vision_cfg.width", "true"},
		{"width zero", v(`"width": 0`), "model_cfg.vision_cfg.width", "0"},
		{"width negative", v(`"width": -768`), "model_cfg.vision_cfg.width", "-768"},
		{"width huge", v(`"width": 1073741824`), "model_cfg.vision_cfg.width", "1073741824"},
		{"width over 64 bits", v(`"width": 99999999999999999999`), "model_cfg.vision_cfg.width", "99999999999999999999"},
		{"head_width zero", v(`"head_width": 0`), "model_cfg.vision_cfg.head_width", "0"},
		{"head_width over the width", v(`"head_width": 1536`), "model_cfg.vision_cfg.width", "1536"},
		{"patch_size zero", v(`"patch_size": 0`), "model_cfg.vision_cfg.patch_size", "0"},
		{"patch_size no divisor", v(`"patch_size": 15`), "model_cfg.vision_cfg.image_size", "15"},
		{"image_size a pair", v(`"image_size": [224, 336]`), "model_cfg.vision_cfg.image_size", "[224,336]"},
		{"image_size huge", v(`"image_size": 1048576`), "image size", "1048576"},
		{"layers zero", v(`"layers": 0`), "model_cfg.vision_cfg.layers", "0"},
		{"layers huge", x(`"layers": 100000`), "text layers", "100000"},
		{"width no multiple of heads", x(`"heads": 7`), "model_cfg.text_cfg.width", "512"},
		{"heads zero", x(`"heads": 0`), "model_cfg.text_cfg.heads", "0"},
		{"context_length zero", x(`"context_length": 0`), "model_cfg.text_cfg.context_length", "0"},
		{"vocab_size huge", x(`"vocab_size": 4294967296`), "model_cfg.text_cfg.vocab_size", "4294967296"},
		{"mlp_ratio zero", v(`"mlp_ratio": 0`), "model_cfg.vision_cfg.mlp_ratio", "0"},
		{"mlp_ratio tiny", v(`"mlp_ratio": 1e-9`), "model_cfg.vision_cfg.mlp_ratio", "1e-09"},
		{"mlp_ratio huge", v(`"mlp_ratio": 1e300`), "model_cfg.vision_cfg.mlp_ratio", "1e+300"},
		{"mlp_ratio over range", v(`"mlp_ratio": 1e999`), "model_cfg.vision_cfg.mlp_ratio", "1e999"},
		{"mlp_ratio NaN", v(`"mlp_ratio": NaN`), "model_cfg.vision_cfg.mlp_ratio", "NaN"},
		{"eps zero", v(`"norm_kwargs": {"eps": 0}`), "model_cfg.vision_cfg.norm_kwargs.eps", "0"},
		{"other norm_kwargs", v(`"norm_kwargs": {"bias": false}`), "model_cfg.vision_cfg.norm_kwargs.bias", "false"},
		{"quick_gelu a number", oc(`"quick_gelu": 1`, "", "", ""), "model_cfg.quick_gelu", "1"},
		{"embed_dim a list", oc(`"embed_dim": [512]`, "", "", ""), "model_cfg.embed_dim", "[512]"},

		{"std NaN", p("\"std\": [0.2,\n NaN, 0.2]"), "preprocess_cfg.std", "NaN"},
		{"std Infinity", p(`"std": [-Infinity, 1, 1]`), "preprocess_cfg.std", "-Infinity"},
		{"std zero", p(`"std": [0.2, 0.2, 0]`), "preprocess_cfg.std", "[0.2,0.2,0]"},
		{"std negative", p(`"std": -1`), "preprocess_cfg.std", "-1"},
		{"std huge", p(`"std": [1, 1, 1e10]`), "preprocess_cfg.std", "1e10"},
		{"std of two", p(`"std": [1, 1]`), "preprocess_cfg.std", "[1,1]"},
		{"std with null", p(`"std": [1, null, 1]`), "preprocess_cfg.std", "null"},
		{"std strings", p(`"std": ["1", "1", "1"]`), "preprocess_cfg.std", `"1"`},
		{"mean huge", p(`"mean": [1, 1, -1e10]`), "preprocess_cfg.mean", "-1e10"},

		{"no model_cfg", `{}`, "model_cfg", "missing"},
		{"null model_cfg", `{"model_cfg": null}`, "model_cfg", "missing"},
		{"no vision_cfg", `{"model_cfg": {"embed_dim": 512, "text_cfg": {}}}`, "model_cfg.vision_cfg", "missing"},
		{"no embed_dim", `{"model_cfg": {"vision_cfg": {}, "text_cfg": {}}}`, "model_cfg.embed_dim", "missing"},
		{"model_cfg a list", `{"model_cfg": [1]}`, "model_cfg", "[1]"},
		{"a list", "[1,\n2]", "[1,2]", "object"},
		{"null", "null", "null", "object"},
		{"empty", "", "byte 0", "JSON"},
		{"cut off", `{"model_cfg": {"embed_dim": 5`, "byte 29", "JSON"},
		{"cut off after a key", `{"model_cfg"`, "byte", "JSON"},
		{"two documents", oc("", "", "", "") + "{}", "byte", "text after the end"},
		{"not UTF-8", v("\"width\xff\": 1"), "UTF-8", ""},
		{"deep", `{"model_cfg": ` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, "model_cfg", "deep"},
		{"too large", oc("", "", "", "") + strings.Repeat(" ", maxConfig), "bytes", fmt.Sprint(maxConfig)},
		{"an HF configuration", hf("", "", ""), "model_cfg", "missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseOpenCLIP([]byte(c.config))
			refused(t, err, c.key, c.value)
		})
	}
}

// oldDump are the keys that transformers 4 wrote into every part of a configuration.
const oldDump = `"_name_or_path": "", "add_cross_attention": false, "architectures": null, "attention_dropout": 0.0, "bad_words_ids": null,
	"chunk_size_feed_forward": 0, "cross_attention_hidden_size": null, "decoder_start_token_id": null, "diversity_penalty": 0.0, "do_sample": false,
	"dropout": 0.0, "early_stopping": false, "encoder_no_repeat_ngram_size": 0, "exponential_decay_length_penalty": null, "finetuning_task": null,
	"forced_bos_token_id": null, "forced_eos_token_id": null, "gradient_checkpointing": false, "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
	"initializer_factor": 1.0, "initializer_range": 0.02, "is_decoder": false, "is_encoder_decoder": false, "label2id": {"LABEL_0": 0, "LABEL_1": 1},
	"layer_norm_eps": 1e-05, "length_penalty": 1.0, "max_length": 20, "min_length": 0, "no_repeat_ngram_size": 0, "num_beam_groups": 1, "num_beams": 1,
	"num_return_sequences": 1, "output_attentions": false, "output_hidden_states": false, "output_scores": false, "prefix": null,
	"problem_type": null, "projection_dim": 768, "pruned_heads": {}, "remove_invalid_values": false, "repetition_penalty": 1.0, "return_dict": true,
	"return_dict_in_generate": false, "sep_token_id": null, "task_specific_params": null, "temperature": 1.0, "tf_legacy_loss": false,
	"tie_encoder_decoder": false, "tie_word_embeddings": true, "tokenizer_class": null, "top_k": 50, "top_p": 1.0, "torch_dtype": null,
	"torchscript": false, "transformers_version": "4.16.0.dev0", "typical_p": 1.0, "use_bfloat16": false`

func TestParseHF(t *testing.T) {
	set := func(f func(c *Config)) Config {
		c := hfDefaults()
		f(&c)
		return c
	}
	large := set(func(c *Config) {
		c.EmbedDim = 768
		c.Vision = Vision{224, 14, 1024, 24, 16, 4096, 1e-5}
		c.Text = Text{77, 49408, 768, 12, 12, 3072, 1e-5, -1}
	})
	oldVision := oldDump + `, "bos_token_id": null, "eos_token_id": null, "pad_token_id": null, "model_type": "clip_vision_model", "hidden_act": "quick_gelu",
		"hidden_size": 1024, "image_size": 224, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14`
	oldText := oldDump + `, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "model_type": "clip_text_model", "hidden_act": "quick_gelu",
		"hidden_size": 768, "intermediate_size": 3072, "max_position_embeddings": 77, "num_attention_heads": 12, "num_hidden_layers": 12, "vocab_size": 49408`
	for _, c := range []struct {
		name, config string
		want         Config
	}{
		{"empty", "{}", hfDefaults()},
		{"defaults", hf("", "", ""), hfDefaults()},
		{"null towers", `{"vision_config": null, "text_config": null}`, hfDefaults()},
		{"gelu", hf("", `"hidden_act": "gelu"`, `"hidden_act": "gelu"`), set(func(c *Config) { c.QuickGELU = false })},
		{"OpenAI's end of text", hf("", "", `"eos_token_id": 2`), set(func(c *Config) { c.Text.EOT = -1 })},
		{"an end of text of its own", hf("", "", `"eos_token_id": 639, "vocab_size": 640`), set(func(c *Config) { c.Text.EOT, c.Text.VocabSize = 639, 640 })},
		{"end of text 3", hf("", "", `"eos_token_id": 3`), set(func(c *Config) { c.Text.EOT = 3 })},
		{"end of text 0", hf("", "", `"eos_token_id": 0`), set(func(c *Config) { c.Text.EOT = 0 })},
		{"eps", hf("", `"layer_norm_eps": 1e-6`, `"layer_norm_eps": 0.001`), set(func(c *Config) { c.Vision.LayerNormEps, c.Text.LayerNormEps = 1e-6, 1e-3 })},
		{"an old dump", hf(`"text_config_dict": null, "vision_config_dict": null, "projection_dim": 768, "logit_scale_init_value": 2.6592`, oldVision, oldText), large},
		{"an old dump with both dicts", hf(`"projection_dim": 768,
			"text_config_dict": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12, "projection_dim": 768},
			"vision_config_dict": {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14}`, oldVision, oldText),
			func() Config { c := large; c.Text.EOT = 49407; return c }()},
		{"a dict's defaults win", hf(`"text_config_dict": {"hidden_size": 640, "num_attention_heads": 10}`, "", `"hidden_size": 768, "num_attention_heads": 12, "eos_token_id": 2, "num_hidden_layers": 3`),
			set(func(c *Config) { c.Text.Width, c.Text.Heads = 640, 10 })},
		{"an empty dict", hf(`"vision_config_dict": {}`, `"hidden_size": 64`, ""), hfDefaults()},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseHF([]byte(c.config), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestParseHFRefuses(t *testing.T) {
	v := func(s string) string { return hf("", s, "") }
	x := func(s string) string { return hf("", "", s) }
	for _, c := range []struct{ name, config, key, value string }{
		{"SigLIP", string(readFile(t, "testdata/siglip_config.json")), "model_type", `"siglip"`},
		{"a vision model alone", `{"model_type": "clip_vision_model", "hidden_size": 768}`, "model_type", `"clip_vision_model"`},
		{"another text tower", x(`"model_type": "siglip_text_model"`), "text_config.model_type", `"siglip_text_model"`},
		{"different activations", hf("", `"hidden_act": "gelu"`, ""), "vision_config.hidden_act", `"gelu"`},
		{"another activation", v(`"hidden_act": "gelu_pytorch_tanh"`), "vision_config.hidden_act", `"gelu_pytorch_tanh"`},
		{"another activation for texts", x(`"hidden_act": "gelu_new"`), "text_config.hidden_act", `"gelu_new"`},
		{"activation null", x(`"hidden_act": null`), "text_config.hidden_act", "null"},
		{"channels", v(`"num_channels": 1`), "vision_config.num_channels", "1"},
		{"pruned heads", v(`"pruned_heads": {"0": [1]}`), "vision_config.pruned_heads", `{"0":[1]}`},
		{"unknown key", x(`"rope_theta": 10000`), "text_config.rope_theta", "10000"},
		{"unknown key at the top", hf(`"vision_feature_layer": -2`, "", ""), "vision_feature_layer", "-2"},
		{"unknown key in a dict", hf(`"text_config_dict": {"hidden_sise": 1}`, "", ""), "text_config_dict.hidden_sise", "1"},
		{"bad value in a dict", hf(`"text_config_dict": {"hidden_size": 0}`, "", ""), "text_config_dict.hidden_size", "0"},
		{"dict a number", hf(`"text_config_dict": 5`, "", ""), "text_config_dict", "5"},
		{"tower a number, with a dict", `{"vision_config": 5, "vision_config_dict": {"hidden_size": 64}}`, "vision_config", "5"},
		{"another case", v(`"Hidden_size": 64`), "vision_config.Hidden_size", "64"},
		{"a key twice", v(`"hidden_size": 768, "hidden_size": 64`), "vision_config.hidden_size", "twice"},
		{"end of text null", x(`"eos_token_id": null`), "text_config.eos_token_id", "null"},
		{"end of text a list", x(`"eos_token_id": [49407]`), "text_config.eos_token_id", "[49407]"},
		{"end of text negative", x(`"eos_token_id": -1`), "text_config.eos_token_id", "-1"},
		{"end of text outside", x(`"eos_token_id": 640, "vocab_size": 640`), "text_config.eos_token_id", "640"},
		{"heads zero", v(`"num_attention_heads": 0`), "vision_config.num_attention_heads", "0"},
		{"heads null", v(`"num_attention_heads": null`), "vision_config.num_attention_heads", "null"},
		{"no multiple of heads", v(`"num_attention_heads": 5`), "vision_config.hidden_size", "5"},
		{"no multiple of heads, texts", x(`"num_attention_heads": 3`), "text_config.hidden_size", "512"},
		{"no multiple of the patch", v(`"image_size": 225`), "vision_config.image_size", "225"},
		{"image_size negative", v(`"image_size": -224`), "vision_config.image_size", "-224"},
		{"layers a string", x(`"num_hidden_layers": "12"`), "text_config.num_hidden_layers", `"12"`},
		{"layers huge", x(`"num_hidden_layers": 1025`), "text layers", "1025"},
		{"MLP huge", v(`"intermediate_size": 1048577`), "vision_config.intermediate_size", "1048577"},
		{"eps NaN", v(`"layer_norm_eps": NaN`), "vision_config.layer_norm_eps", "NaN"},
		{"eps negative", x(`"layer_norm_eps": -1e-5`), "text_config.layer_norm_eps", "-1e-05"},
		{"projection_dim null", hf(`"projection_dim": null`, "", ""), "projection_dim", "null"},
		{"an OpenCLIP configuration", oc("", "", "", ""), "model_cfg", "unknown key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseHF([]byte(c.config), nil)
			refused(t, err, c.key, c.value, "config.json: ")
		})
	}
}

func TestParseHFPreprocessor(t *testing.T) {
	const today = `"crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_convert_rgb": true, "do_normalize": true, "do_rescale": true,
		"do_resize": true, "image_processor_type": "CLIPImageProcessor", "resample": 3, "rescale_factor": 0.00392156862745098,
		"size": {"shortest_edge": 224}`
	other := Preprocess{[3]float64{.1, .2, .3}, [3]float64{.4, .5, .6}}
	values := `"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]`
	for _, c := range []struct {
		name, file string
		want       Preprocess
	}{
		{"empty", "{}", Preprocess{OpenAIMean, OpenAIStd}},
		{"as today", "{" + today + "," + values + "}", other},
		{"as in 2022", `{"crop_size": 224, "size": 224, "feature_extractor_type": "CLIPFeatureExtractor", "do_resize": true, "resample": 3, ` + values + "}", other},
		{"in a processor", `{"image_processor": {` + today + "," + values + `}, "processor_class": "CLIPProcessor"}`, other},
	} {
		got, err := ParseHF([]byte("{}"), []byte(c.file))
		if err != nil || got.Preprocess != c.want {
			t.Errorf("%s: %+v, want %+v (%v)", c.name, got.Preprocess, c.want, err)
		}
	}
	for _, c := range []struct{ name, file, key, value string }{
		{"resample", `{"resample": 2}`, "preprocessor_config.json: resample", "2"},
		{"no rescaling", `{"do_rescale": false}`, "do_rescale", "false"},
		{"no crop", `{"do_center_crop": false}`, "do_center_crop", "false"},
		{"another factor", `{"rescale_factor": 0.0078}`, "rescale_factor", "0.0078"},
		{"another size", `{"size": {"shortest_edge": 336}}`, "size", "336"},
		{"another size, old", `{"crop_size": 256}`, "crop_size", "256"},
		{"squashed", `{"size": {"height": 224, "width": 224}}`, "size", "height"},
		{"an oblong crop", `{"crop_size": {"height": 224, "width": 112}}`, "crop_size", "112"},
		{"std zero", `{"image_std": [0, 1, 1]}`, "image_std", "[0,1,1]"},
		{"std NaN", `{"image_std": [NaN, 1, 1]}`, "image_std", "NaN"},
		{"mean null inside", `{"image_mean": [null, 1, 1]}`, "image_mean", "null"},
		{"unknown key", `{"do_flip": true}`, "do_flip", "true"},
		{"a key twice", `{"resample": 3, "resample": 2}`, "resample", "twice"},
		{"in a processor", `{"image_processor": {"resample": 2}}`, "processor_config.json: image_processor.resample", "2"},
		{"no JSON", `nope`, "preprocessor_config.json", "JSON"},
		{"empty file", ``, "preprocessor_config.json", "JSON"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseHF([]byte("{}"), []byte(c.file))
			refused(t, err, c.key, c.value)
		})
	}
}

// A configuration that is accepted can be run: its parameters have sizes, its errors are one line.
func checkParsed(t *testing.T, c Config, err error) {
	if err != nil {
		refused(t, err)
		return
	}
	if err := c.check(); err != nil {
		t.Fatalf("accepted, but %v: %+v", err, c)
	}
	v, x := c.Vision, c.Text
	if v.Tokens() < 2 || v.Width%v.Heads != 0 || x.Width%x.Heads != 0 || x.EOT >= x.VocabSize || !(v.LayerNormEps > 0) || !(x.LayerNormEps > 0) {
		t.Fatalf("accepted: %+v", c)
	}
	for i := range 3 {
		if !(c.Preprocess.Std[i] > 0) || c.Preprocess.Mean[i] != c.Preprocess.Mean[i] {
			t.Fatalf("accepted: %+v", c.Preprocess)
		}
	}
}

func FuzzParseOpenCLIP(f *testing.F) {
	f.Add(readFile(f, "testdata/open_clip_config.json"))
	f.Add(readFile(f, "testdata/resnet_open_clip_config.json"))
	f.Add([]byte(oc(`"quick_gelu": true`, fullVision, fullText, `"mean": [1, 2, 3]`)))
	f.Add([]byte(oc("", `"head_width": 0, "norm_kwargs": {"eps": NaN}`, "", "")))
	f.Add([]byte(`{"model_cfg": {"embed_dim": 1, "vision_cfg": [], "text_cfg": {"": "\ud800"}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseOpenCLIP(b)
		checkParsed(t, c, err)
	})
}

func FuzzParseHF(f *testing.F) {
	sharded := shardedFiles(f)
	f.Add(sharded[hfConfig], sharded[hfPreprocessor])
	f.Add(readFile(f, "testdata/siglip_config.json"), []byte(`{"image_processor": {"size": 224}}`))
	f.Add([]byte(hf(`"text_config_dict": {"hidden_size": 1}`, oldDump, oldDump)), []byte(`{"crop_size": {"height": 224}}`))
	f.Add([]byte(`{"vision_config": 5, "vision_config_dict": {"a": 1}}`), []byte(`[`))
	f.Fuzz(func(t *testing.T, config, preprocessor []byte) {
		c, err := ParseHF(config, preprocessor)
		checkParsed(t, c, err)
		c, err = ParseHF(config, nil)
		checkParsed(t, c, err)
	})
}

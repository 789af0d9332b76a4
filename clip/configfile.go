package clip

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
)

// hfProcessor is the file in which transformers 5 writes what was in hfPreprocessor, under "image_processor".
const hfProcessor = "processor_config.json"

// ParseOpenCLIP reads an open_clip_config.json. Keys that the engines do not cover are refused by name and value,
// unknown keys and keys that are there twice too. Absent keys have the defaults of open_clip's CLIPVisionCfg and
// CLIPTextCfg; a full dump of those passes where its values are covered.
func ParseOpenCLIP(b []byte) (Config, error) {
	top := parseDocument(b)
	if top.err != nil {
		return Config{}, top.err
	}
	m := top.required("model_cfg")
	v, t, p := m.required("vision_cfg"), m.required("text_cfg"), top.object("preprocess_cfg")
	if _, ok := m.m["embed_dim"]; !ok {
		m.fail("%s is missing", m.name("embed_dim"))
	}
	c := Config{EmbedDim: m.size("embed_dim", 512), QuickGELU: m.bool("quick_gelu", false)}
	m.ignore("init_logit_scale", "cast_dtype", "output_dict")
	m.only("custom_text", "false")
	m.only("nonscalar_logit_scale", "false")
	m.only("init_logit_bias")
	m.only("multimodal_cfg")

	v.covered(blockKeys, map[string][]string{
		"timm_model_name": nil, "attentional_pool": {"false"}, "no_ln_pre": {"false"}, "final_ln_after_pool": {"false"}, "input_patchnorm": {"false"},
		"global_average_pool": {"false"}, "pool_type": {`"tok"`}, "pos_embed_type": {`"learnable"`},
	})
	// What these say is read only by a pooler or a timm model, which are refused, or in training.
	v.ignore("attn_pooler_queries", "attn_pooler_heads", "n_queries", "timm_model_pretrained", "timm_pool", "timm_proj", "timm_proj_bias", "timm_drop",
		"timm_drop_path", "patch_dropout", "output_tokens")
	if x := v.m["layers"]; len(x) > 0 && x[0] == '[' {
		v.fail("%s is %s, a ResNet's; this engine covers vision transformers", v.name("layers"), brief(x))
	}
	w, head := v.size("width", 768), v.size("head_width", 64)
	v.multiple("width", w, "head_width", head)
	c.Vision = Vision{ImageSize: v.size("image_size", 224), PatchSize: v.size("patch_size", 16), Width: w, Layers: v.size("layers", 12),
		Heads: w / head, MLPWidth: v.mlp(w), LayerNormEps: v.normEps()}
	v.multiple("image_size", c.Vision.ImageSize, "patch_size", c.Vision.PatchSize)

	t.covered(blockKeys, map[string][]string{
		"hf_model_name": nil, "hf_tokenizer_name": nil, "tokenizer_kwargs": {"{}"}, "tokenizer_mode": nil, "embed_cls": {"false"}, "no_causal_mask": {"false"},
		"final_ln_after_pool": {"false"}, "proj_bias": {"false"}, "proj_type": {`"linear"`}, "pool_type": {`"argmax"`},
	})
	// eos_id is read only where pool_type is "eos", the others only with a Hugging Face tower.
	t.ignore("pad_id", "eos_id", "output_tokens", "dynamic_length", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type", "pooler_type")
	w = t.size("width", 512)
	c.Text = Text{ContextLength: t.size("context_length", 77), VocabSize: t.size("vocab_size", 49408), Width: w, Heads: t.size("heads", 8),
		Layers: t.size("layers", 12), MLPWidth: t.mlp(w), LayerNormEps: t.normEps(), EOT: -1}
	t.multiple("width", w, "heads", c.Text.Heads)

	c.Preprocess = Preprocess{Mean: p.triple("mean", OpenAIMean, -1e6), Std: p.triple("std", OpenAIStd, 0)}
	p.ignore("size", "fill_color") // open_clip takes the tower's image_size; the colour fills what resize_mode "longest" leaves
	p.only("mode", `"RGB"`)
	p.only("interpolation", `"bicubic"`, `"random"`) // random is for training: open_clip takes bicubic otherwise
	p.only("resize_mode", `"shortest"`)
	if err := top.done(m, v, t, p); err != nil {
		return c, err
	}
	return c, c.check()
}

// blockKeys are the settings of a transformer block in both towers, with the values that are covered.
var blockKeys = map[string][]string{
	"ls_init_value": nil, "act_kwargs": {"{}"}, "block_type": {`"default"`}, "qk_norm": {"false"}, "scaled_cosine_attn": {"false"},
	"scale_heads": {"false"}, "scale_attn_inner": {"false"}, "scale_attn": {"false"}, "scale_fc": {"false"},
}

// covered calls only for the keys of all tables, in a fixed order.
func (o *object) covered(tables ...map[string][]string) {
	for _, t := range tables {
		for _, k := range slices.Sorted(maps.Keys(t)) {
			o.only(k, t[k]...)
		}
	}
}

// normEps reads norm_kwargs, of which eps is covered.
func (o *object) normEps() float64 {
	k := o.object("norm_kwargs")
	eps := k.eps("eps")
	if err := k.done(); err != nil {
		o.fail("%w", err)
	}
	return eps
}

// ParseHF reads the config.json of a transformers CLIPModel and, where there is one, its preprocessor_config.json or
// processor_config.json (else nil). Absent keys have transformers' defaults.
func ParseHF(config, preprocessor []byte) (Config, error) {
	c, err := parseHFConfig(config)
	if err != nil {
		return c, fmt.Errorf("%s: %w", hfConfig, err)
	}
	c.Preprocess = Preprocess{OpenAIMean, OpenAIStd}
	if preprocessor == nil {
		return c, nil
	}
	file, p := hfPreprocessor, parseDocument(preprocessor)
	if i := p.optional("image_processor"); i != nil {
		file, p = hfProcessor, i
	}
	if err := c.Preprocess.parseHF(p, c.Vision.ImageSize); err != nil {
		return c, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

func parseHFConfig(b []byte) (Config, error) {
	top := parseDocument(b)
	if top.err != nil {
		return Config{}, top.err
	}
	top.only("model_type", `"clip"`)
	top.ignore(hfIgnored...)
	v, t := top.object("vision_config"), top.object("text_config")
	v.only("model_type", `"clip_vision_model"`)
	t.only("model_type", `"clip_text_model"`)
	v.replace(top.optional("vision_config_dict"))
	t.replace(top.optional("text_config_dict"))
	c := Config{EmbedDim: top.size("projection_dim", 512)}
	c.Vision = Vision{ImageSize: v.size("image_size", 224), PatchSize: v.size("patch_size", 32), Width: v.size("hidden_size", 768),
		Layers: v.size("num_hidden_layers", 12), Heads: v.size("num_attention_heads", 12), MLPWidth: v.size("intermediate_size", 3072),
		LayerNormEps: v.eps("layer_norm_eps")}
	v.only("num_channels", "3")
	v.multiple("hidden_size", c.Vision.Width, "num_attention_heads", c.Vision.Heads)
	v.multiple("image_size", c.Vision.ImageSize, "patch_size", c.Vision.PatchSize)
	v.ignore("eos_token_id") // old files have null there
	c.Text = Text{ContextLength: t.size("max_position_embeddings", 77), VocabSize: t.size("vocab_size", 49408), Width: t.size("hidden_size", 512),
		Layers: t.size("num_hidden_layers", 12), Heads: t.size("num_attention_heads", 8), MLPWidth: t.size("intermediate_size", 2048),
		LayerNormEps: t.eps("layer_norm_eps"), EOT: t.id("eos_token_id", 49407)}
	t.multiple("hidden_size", c.Text.Width, "num_attention_heads", c.Text.Heads)
	switch {
	case c.Text.EOT == 2: // transformers keeps OpenAI's rule for OpenAI's own configs, which say 2
		c.Text.EOT = -1
	case c.Text.EOT >= c.Text.VocabSize:
		t.fail("%s is %d, %s is %d", t.name("eos_token_id"), c.Text.EOT, t.name("vocab_size"), c.Text.VocabSize)
	}
	va, ta := v.string("hidden_act", "quick_gelu"), t.string("hidden_act", "quick_gelu")
	for _, a := range []struct {
		o   *object
		act string
	}{{v, va}, {t, ta}} {
		if a.act != "quick_gelu" && a.act != "gelu" {
			a.o.fail("%s is %q, this engine covers \"quick_gelu\", \"gelu\"", a.o.name("hidden_act"), a.act)
		}
	}
	if va != ta {
		v.fail("%s is %q and %s is %q, this engine covers equal ones", v.name("hidden_act"), va, t.name("hidden_act"), ta)
	}
	c.QuickGELU = va == "quick_gelu"
	for _, o := range []*object{v, t} {
		o.ignore("projection_dim", "attention_dropout", "dropout", "initializer_range", "bos_token_id", "pad_token_id", "gradient_checkpointing", "use_cache")
		o.ignore(hfIgnored...)
		o.only("pruned_heads", "{}")
	}
	if err := top.done(v, t); err != nil {
		return c, err
	}
	return c, c.check()
}

// replace puts the settings of d, the value of text_config_dict or vision_config_dict in old files, in the place of
// o's. That is transformers' rule: where d is there, settings that it lacks have their defaults, not o's values.
func (o *object) replace(d *object) {
	if d == nil {
		return
	}
	if o.err == nil {
		o.err = d.err
	}
	o.ignore("image_size", "patch_size", "num_channels", "vocab_size", "max_position_embeddings", "hidden_size", "intermediate_size",
		"num_hidden_layers", "num_attention_heads", "hidden_act", "layer_norm_eps", "eos_token_id")
	maps.Copy(o.m, d.m)
	o.path = d.path
}

// parseHF reads the settings of a CLIPImageProcessor for images of size pixels.
func (c *Preprocess) parseHF(p *object, size int) error {
	c.Mean, c.Std = p.triple("image_mean", OpenAIMean, -1e6), p.triple("image_std", OpenAIStd, 0)
	p.only("resample", "3")
	for _, k := range []string{"do_normalize", "do_resize", "do_center_crop", "do_rescale"} {
		p.only(k, "true")
	}
	for _, k := range []string{"do_pad", "default_to_square"} {
		p.only(k, "false")
	}
	var factor float64
	if p.read("rescale_factor", &factor, "a number") && math.Abs(factor*255-1) > 1e-6 {
		p.fail("%s is %g, this engine covers 1/255", p.name("rescale_factor"), factor)
	}
	p.edges("size", size, "shortest_edge")
	p.edges("crop_size", size, "height", "width")
	p.ignore("image_processor_type", "feature_extractor_type", "processor_class", "do_convert_rgb", "_valid_processor_keys", "return_tensors",
		"input_data_format", "data_format", "device", "disable_grouping", "use_fast", "pad_size", "auto_map")
	return p.done()
}

// edges requires that a size, a number or an object of the given keys, is want.
func (o *object) edges(key string, want int, keys ...string) {
	v := o.take(key)
	if v == nil {
		return
	}
	var n int
	if json.Unmarshal(v, &n) == nil && n == want {
		return
	}
	var m map[string]int
	ok := json.Unmarshal(v, &m) == nil && len(m) == len(keys)
	for _, k := range keys {
		ok = ok && m[k] == want
	}
	if !ok {
		o.fail("%s is %s, the model's image_size is %d", o.name(key), brief(v), want)
	}
}

// hfIgnored are keys that transformers writes into every config and that do not change what a CLIPModel computes.
var hfIgnored = []string{
	"architectures", "_name_or_path", "transformers_version", "torch_dtype", "dtype", "initializer_factor", "logit_scale_init_value",
	"_attn_implementation_autoset", "_commit_hash", "add_cross_attention", "bad_words_ids", "begin_suppress_tokens", "chunk_size_feed_forward",
	"cross_attention_hidden_size", "decoder_start_token_id", "diversity_penalty", "do_sample", "early_stopping", "encoder_no_repeat_ngram_size",
	"exponential_decay_length_penalty", "finetuning_task", "forced_bos_token_id", "forced_eos_token_id", "id2label", "is_decoder",
	"is_encoder_decoder", "label2id", "length_penalty", "max_length", "min_length", "no_repeat_ngram_size", "num_beam_groups", "num_beams",
	"num_return_sequences", "output_attentions", "output_hidden_states", "output_scores", "prefix", "problem_type",
	"remove_invalid_values", "repetition_penalty", "return_dict", "return_dict_in_generate", "sep_token_id", "suppress_tokens",
	"task_specific_params", "temperature", "tf_legacy_loss", "tie_encoder_decoder", "tie_word_embeddings", "tokenizer_class", "top_k", "top_p",
	"torchscript", "typical_p", "use_bfloat16", "attn_implementation", "_attn_implementation", "_attn_implementation_internal",
}

// check refuses configurations that no model can have, whatever they were read from.
func (c Config) check() error {
	v, t := c.Vision, c.Text
	for _, s := range []struct {
		what string
		n    int
		max  int
	}{
		{"embedding width", c.EmbedDim, maxSize},
		{"image size", v.ImageSize, 1 << 14}, {"patch size", v.PatchSize, 1 << 14}, {"vision width", v.Width, maxSize}, {"vision layers", v.Layers, 1024},
		{"vision heads", v.Heads, maxSize}, {"vision MLP width", v.MLPWidth, maxSize},
		{"context length", t.ContextLength, 1 << 16}, {"vocabulary", t.VocabSize, maxSize}, {"text width", t.Width, maxSize}, {"text layers", t.Layers, 1024},
		{"text heads", t.Heads, maxSize}, {"text MLP width", t.MLPWidth, maxSize},
	} {
		if s.n < 1 || s.n > s.max {
			return fmt.Errorf("%s is %d, want 1 to %d", s.what, s.n, s.max)
		}
	}
	switch {
	case v.ImageSize%v.PatchSize != 0:
		return fmt.Errorf("image size is %d, no multiple of patch size %d", v.ImageSize, v.PatchSize)
	case v.Width%v.Heads != 0:
		return fmt.Errorf("vision width is %d, no multiple of %d heads", v.Width, v.Heads)
	case t.Width%t.Heads != 0:
		return fmt.Errorf("text width is %d, no multiple of %d heads", t.Width, t.Heads)
	}
	return nil
}

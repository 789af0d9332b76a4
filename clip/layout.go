package clip

import (
	"fmt"
	"slices"
	"strings"

	"paint/weights"
)

// hfName is the transformers name of an internal parameter, "" for those that transformers splits (in_proj).
func hfName(name string) string {
	if n, ok := hfTop[name]; ok {
		return n
	}
	tower, rest := "text_model.encoder.layers.", name
	if r, ok := strings.CutPrefix(name, "visual."); ok {
		tower, rest = "vision_model.encoder.layers.", r
	}
	block, rest, ok := cutBlock(rest)
	if !ok {
		return ""
	}
	if n, ok := hfBlock[rest]; ok {
		return tower + block + "." + n
	}
	return ""
}

// cutBlock splits "transformer.resblocks.3.ln_1.bias" into "3" and "ln_1.bias".
func cutBlock(name string) (block, rest string, ok bool) {
	r, ok := strings.CutPrefix(name, "transformer.resblocks.")
	if !ok {
		return "", "", false
	}
	return strings.Cut(r, ".")
}

var hfTop = map[string]string{
	"logit_scale":                 "logit_scale",
	"positional_embedding":        "text_model.embeddings.position_embedding.weight",
	"token_embedding.weight":      "text_model.embeddings.token_embedding.weight",
	"ln_final.weight":             "text_model.final_layer_norm.weight",
	"ln_final.bias":               "text_model.final_layer_norm.bias",
	"text_projection":             "text_projection.weight",
	"visual.class_embedding":      "vision_model.embeddings.class_embedding",
	"visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
	"visual.conv1.weight":         "vision_model.embeddings.patch_embedding.weight",
	"visual.ln_pre.weight":        "vision_model.pre_layrnorm.weight",
	"visual.ln_pre.bias":          "vision_model.pre_layrnorm.bias",
	"visual.ln_post.weight":       "vision_model.post_layernorm.weight",
	"visual.ln_post.bias":         "vision_model.post_layernorm.bias",
	"visual.proj":                 "visual_projection.weight",
}

var hfBlock = map[string]string{
	"attn.out_proj.weight": "self_attn.out_proj.weight",
	"attn.out_proj.bias":   "self_attn.out_proj.bias",
	"ln_1.weight":          "layer_norm1.weight",
	"ln_1.bias":            "layer_norm1.bias",
	"ln_2.weight":          "layer_norm2.weight",
	"ln_2.bias":            "layer_norm2.bias",
	"mlp.c_fc.weight":      "mlp.fc1.weight",
	"mlp.c_fc.bias":        "mlp.fc1.bias",
	"mlp.c_proj.weight":    "mlp.fc2.weight",
	"mlp.c_proj.bias":      "mlp.fc2.bias",
}

// hfSplit names the three tensors of transformers that make up an in_proj.
func hfSplit(name string) (parts [3]string, ok bool) {
	i := strings.Index(name, ".attn.in_proj_")
	if i < 0 {
		return parts, false
	}
	kind := name[i+len(".attn.in_proj_"):] // weight or bias
	stem := strings.TrimSuffix(hfName(name[:i]+".ln_1.weight"), "layer_norm1.weight") + "self_attn."
	for k, p := range []string{"q_proj.", "k_proj.", "v_proj."} {
		parts[k] = stem + p + kind
	}
	return parts, true
}

// transposed reports whether transformers stores a parameter as a Linear weight, the other way round.
func transposed(name string) bool { return name == "visual.proj" || name == "text_projection" }

// fileNames lists the file's tensors that make up an internal parameter.
func (l Layout) fileNames(name string) []string {
	if l == HF {
		if p, ok := hfSplit(name); ok {
			return p[:]
		}
		return []string{hfName(name)}
	}
	return []string{name}
}

// shape is the shape of each of those.
func (l Layout) shape(p Param) []int {
	switch {
	case l != HF:
		return p.Shape
	case transposed(p.Name):
		return []int{p.Shape[1], p.Shape[0]}
	case strings.Contains(p.Name, ".attn.in_proj_"):
		s := slices.Clone(p.Shape)
		s[0] /= 3
		return s
	}
	return p.Shape
}

// toInternal builds an internal parameter from its file tensors, whose shapes were checked.
func (l Layout) toInternal(p Param, ts []*weights.Tensor) (*weights.Tensor, error) {
	t := &weights.Tensor{Name: p.Name, DType: ts[0].DType, Shape: p.Shape, Data: ts[0].Data}
	if len(ts) > 1 {
		joined := weights.New(p.Name, ts[0].DType, p.Shape...)
		at := 0
		for _, x := range ts {
			if x.DType != t.DType {
				return nil, fmt.Errorf("tensor %q: type %v, %q has %v", x.Name, x.DType, ts[0].Name, t.DType)
			}
			at += copy(joined.Data[at:], x.Data)
		}
		return joined, nil
	}
	if l == HF && transposed(p.Name) {
		return transpose(ts[0], p.Name), nil
	}
	return t, nil
}

// toFile is the reverse: the tensors of the file that an internal parameter becomes.
func (l Layout) toFile(t *weights.Tensor) []*weights.Tensor {
	names := l.fileNames(t.Name)
	if l == HF && transposed(t.Name) {
		return []*weights.Tensor{transpose(t, names[0])}
	}
	shape := l.shape(Param{t.Name, t.Shape})
	out := make([]*weights.Tensor, len(names))
	for i, n := range names {
		part := len(t.Data) / len(names)
		out[i] = &weights.Tensor{Name: n, DType: t.DType, Shape: shape, Data: t.Data[i*part : (i+1)*part]}
	}
	return out
}

// transpose returns the transpose of a matrix under another name. It goes by square tiles, so that the lines of memory
// that a column touches are still in the cache for the next column.
func transpose(t *weights.Tensor, name string) *weights.Tensor {
	r, c, s := t.Shape[0], t.Shape[1], t.DType.Size()
	out := weights.New(name, t.DType, c, r)
	const tile = 32
	for i0 := 0; i0 < r; i0 += tile {
		for j0 := 0; j0 < c; j0 += tile {
			i1, j1 := min(i0+tile, r), min(j0+tile, c)
			for j := j0; j < j1; j++ {
				dst, src := out.Data[(j*r+i0)*s:(j*r+i1)*s], t.Data[(i0*c+j)*s:]
				for k := 0; ; k += c * s {
					copy(dst[:s], src[k:])
					if dst = dst[s:]; len(dst) == 0 {
						break
					}
				}
			}
		}
	}
	return out
}

// isExtra reports whether a tensor of the file is no parameter and may be there: it is kept and written back.
func (l Layout) isExtra(name string) bool {
	if l == HF {
		return name == "text_model.embeddings.position_ids" || name == "vision_model.embeddings.position_ids"
	}
	return slices.Contains([]string{"input_resolution", "context_length", "vocab_size", "attn_mask"}, name)
}

// layoutOf tells the layout from the names of the tensors.
func layoutOf(s *weights.Set) (Layout, error) {
	switch {
	case s.Get("visual.conv1.weight") != nil:
		return OpenCLIP, nil
	case s.Get("vision_model.embeddings.patch_embedding.weight") != nil:
		return HF, nil
	}
	first := "none"
	for t := range s.All() {
		first = fmt.Sprintf("%d, the first is %q", s.Len(), t.Name)
		break
	}
	return "", fmt.Errorf("no CLIP with a vision transformer: neither \"visual.conv1.weight\" nor \"vision_model.embeddings.patch_embedding.weight\" among the tensors (%s)", first)
}

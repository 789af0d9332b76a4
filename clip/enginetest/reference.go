package enginetest

import (
	"fmt"
	"math"

	"paint/clip"
	"paint/weights"
)

// reference is a CLIP in float64, written for clarity: one image or text at a time, no batches, nothing shared with
// any engine. Gradients come from central differences of its losses.
type reference struct {
	cfg clip.Config
	p   map[string][]float64
}

func newReference(cfg clip.Config, w *weights.Set) *reference {
	r := &reference{cfg, make(map[string][]float64)}
	for t := range w.All() {
		v := make([]float64, t.Len())
		for i, x := range t.Float32() {
			v[i] = float64(x)
		}
		r.p[t.Name] = v
	}
	return r
}

type rows [][]float64

func newRows(n, d int) rows {
	x := make(rows, n)
	for i := range x {
		x[i] = make([]float64, d)
	}
	return x
}

// linear is x w^T + b with w [out, in].
func linear(x rows, w, b []float64) rows {
	y := newRows(len(x), len(b))
	for i, row := range x {
		for o := range b {
			s, u := b[o], w[o*len(row):][:len(row)]
			for k, v := range row {
				s += v * u[k]
			}
			y[i][o] = s
		}
	}
	return y
}

func layerNorm(x rows, g, b []float64, eps float64) rows {
	y := newRows(len(x), len(g))
	for i, row := range x {
		var mean, variance float64
		for _, v := range row {
			mean += v / float64(len(row))
		}
		for _, v := range row {
			variance += (v - mean) * (v - mean) / float64(len(row))
		}
		for k, v := range row {
			y[i][k] = (v-mean)/math.Sqrt(variance+eps)*g[k] + b[k]
		}
	}
	return y
}

func softmax(x []float64) []float64 {
	m := math.Inf(-1)
	for _, v := range x {
		m = math.Max(m, v)
	}
	y, s := make([]float64, len(x)), 0.0
	for i, v := range x {
		y[i] = math.Exp(v - m)
		s += y[i]
	}
	for i := range y {
		y[i] /= s
	}
	return y
}

func (r *reference) attention(x rows, prefix string, heads int, causal bool) rows {
	d := len(x[0])
	hd := d / heads
	qkv := linear(x, r.p[prefix+"attn.in_proj_weight"], r.p[prefix+"attn.in_proj_bias"])
	out, scale := newRows(len(x), d), 1/math.Sqrt(float64(hd))
	for h := range heads {
		for i := range x {
			n := len(x)
			if causal {
				n = i + 1
			}
			scores := make([]float64, n)
			for j := range scores {
				for k := range hd {
					scores[j] += qkv[i][h*hd+k] * qkv[j][d+h*hd+k] * scale
				}
			}
			for j, p := range softmax(scores) {
				for k := range hd {
					out[i][h*hd+k] += p * qkv[j][2*d+h*hd+k]
				}
			}
		}
	}
	return linear(out, r.p[prefix+"attn.out_proj.weight"], r.p[prefix+"attn.out_proj.bias"])
}

func (r *reference) activate(x float64) float64 {
	if r.cfg.QuickGELU {
		return x / (1 + math.Exp(-1.702*x))
	}
	return x / 2 * (1 + math.Erf(x/math.Sqrt2))
}

func (r *reference) blocks(x rows, tower string, layers, heads int, causal bool, eps float64) rows {
	for l := range layers {
		pre := fmt.Sprintf("%s.resblocks.%d.", tower, l)
		add := func(y rows) {
			for i := range x {
				for k := range x[i] {
					x[i][k] += y[i][k]
				}
			}
		}
		add(r.attention(layerNorm(x, r.p[pre+"ln_1.weight"], r.p[pre+"ln_1.bias"], eps), pre, heads, causal))
		h := linear(layerNorm(x, r.p[pre+"ln_2.weight"], r.p[pre+"ln_2.bias"], eps), r.p[pre+"mlp.c_fc.weight"], r.p[pre+"mlp.c_fc.bias"])
		for i := range h {
			for k := range h[i] {
				h[i][k] = r.activate(h[i][k])
			}
		}
		add(linear(h, r.p[pre+"mlp.c_proj.weight"], r.p[pre+"mlp.c_proj.bias"]))
	}
	return x
}

// project is x times proj [width, embed].
func (r *reference) project(x, proj []float64) []float64 {
	y := make([]float64, r.cfg.EmbedDim)
	for k, v := range x {
		for j := range y {
			y[j] += v * proj[k*len(y)+j]
		}
	}
	return y
}

// image encodes pixels [3, S, S].
func (r *reference) image(pixels []float32) []float64 {
	v := r.cfg.Vision
	x := newRows(v.Tokens(), v.Width)
	side, ps := v.ImageSize/v.PatchSize, v.PatchSize
	conv := r.p["visual.conv1.weight"]
	for t := range x {
		for k := range x[t] {
			s := r.p["visual.positional_embedding"][t*v.Width+k]
			if t == 0 {
				s += r.p["visual.class_embedding"][k]
			} else {
				for c := range 3 {
					for i := range ps {
						for j := range ps {
							y, xx := (t-1)/side*ps+i, (t-1)%side*ps+j
							s += conv[((k*3+c)*ps+i)*ps+j] * float64(pixels[(c*v.ImageSize+y)*v.ImageSize+xx])
						}
					}
				}
			}
			x[t][k] = s
		}
	}
	x = layerNorm(x, r.p["visual.ln_pre.weight"], r.p["visual.ln_pre.bias"], v.LayerNormEps)
	x = r.blocks(x, "visual.transformer", v.Layers, v.Heads, false, v.LayerNormEps)
	x = layerNorm(x[:1], r.p["visual.ln_post.weight"], r.p["visual.ln_post.bias"], v.LayerNormEps)
	return r.project(x[0], r.p["visual.proj"])
}

// text encodes ids [ContextLength], all of them: what is behind the pooled token must make no difference.
func (r *reference) text(ids []int32) []float64 {
	t := r.cfg.Text
	x := newRows(len(ids), t.Width)
	pool := 0
	for i, id := range ids {
		for k := range x[i] {
			x[i][k] = r.p["token_embedding.weight"][int(id)*t.Width+k] + r.p["positional_embedding"][i*t.Width+k]
		}
	}
	for i, id := range ids {
		if t.EOT < 0 && id > ids[pool] {
			pool = i
		}
		if t.EOT >= 0 && int(id) == t.EOT {
			pool = i
			break
		}
	}
	x = r.blocks(x, "transformer", t.Layers, t.Heads, true, t.LayerNormEps)
	x = layerNorm(x, r.p["ln_final.weight"], r.p["ln_final.bias"], t.LayerNormEps)
	return r.project(x[pool], r.p["text_projection"])
}

func normalise(x []float64) []float64 {
	s := 0.0
	for _, v := range x {
		s += v * v
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = v / math.Sqrt(s)
	}
	return y
}

// crossEntropy is -sum(target * log softmax(logits)) with a smoothed target.
func crossEntropy(logits []float64, label int, smoothing float64) float64 {
	loss := 0.0
	for i, p := range softmax(logits) {
		target := smoothing / float64(len(logits))
		if i == label {
			target += 1 - smoothing
		}
		loss -= target * math.Log(p)
	}
	return loss
}

// headLoss is the loss of a StepHead.
func (r *reference) headLoss(b clip.HeadBatch) float64 {
	n, e, px := len(b.Labels), r.cfg.EmbedDim, len(b.Pixels)/len(b.Labels)
	loss := 0.0
	for i, label := range b.Labels {
		f := normalise(r.image(b.Pixels[i*px : (i+1)*px]))
		logits := make([]float64, len(b.Head)/e)
		for c := range logits {
			for k, v := range f {
				logits[c] += v * float64(b.Head[c*e+k])
			}
		}
		loss += crossEntropy(logits, label, b.LabelSmoothing) / float64(n)
	}
	return loss
}

func (r *reference) images(b clip.ContrastiveBatch) (f rows) {
	n := len(b.IDs) / r.cfg.Text.ContextLength
	for px := len(b.Pixels) / n; len(b.Pixels) > 0; b.Pixels = b.Pixels[px:] {
		f = append(f, normalise(r.image(b.Pixels[:px])))
	}
	return f
}

func (r *reference) texts(b clip.ContrastiveBatch) (g rows) {
	for n := r.cfg.Text.ContextLength; len(b.IDs) > 0; b.IDs = b.IDs[n:] {
		g = append(g, normalise(r.text(b.IDs[:n])))
	}
	return g
}

// contrastiveLoss is the loss of a StepContrastive, from the normalised features of both towers.
func (r *reference) contrastiveLoss(f, g rows) float64 {
	n, scale, loss := len(f), math.Exp(r.p["logit_scale"][0]), 0.0
	for i := range n {
		byText, byImage := make([]float64, n), make([]float64, n)
		for j := range n {
			for k := range f[i] {
				byText[j] += scale * f[i][k] * g[j][k]
				byImage[j] += scale * g[i][k] * f[j][k]
			}
		}
		loss += (crossEntropy(byText, i, 0) + crossEntropy(byImage, i, 0)) / float64(2*n)
	}
	return loss
}

// gradient is the derivative of loss by parameter name, by central differences.
func (r *reference) gradient(name string, loss func() float64) []float64 {
	x := r.p[name]
	g := make([]float64, len(x))
	for i, v := range x {
		const h = 1e-5
		x[i] = v + h
		up := loss()
		x[i] = v - h
		g[i] = (up - loss()) / (2 * h)
		x[i] = v
	}
	return g
}

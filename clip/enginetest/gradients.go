package enginetest

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"paint/clip"
	"paint/weights"
)

// firstGradient reads a gradient off the state after the first step.
func firstGradient(t *testing.T, state *weights.Set, name string) []float32 {
	t.Helper()
	x := state.Get("exp_avg." + name)
	if x == nil {
		t.Fatalf("the state has no tensor %q", "exp_avg."+name)
	}
	g := make([]float32, x.Len())
	for i, v := range x.Float32() {
		g[i] = float32(float64(v) / (1 - 0.9))
	}
	return g
}

// compare fails where a gradient is wrong. The thirds of an attention's input projection are held to their own
// sizes, but for the bias of the keys: its gradient is zero (softmax does not see it).
func compare(t *testing.T, name string, got []float32, want []float64) float64 {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("gradient of %s: %d values, want %d", name, len(got), len(want))
		return math.Inf(1)
	}
	parts, size := 1, 0.0
	if strings.Contains(name, "in_proj") {
		parts = 3
	}
	for _, v := range want {
		size = math.Max(size, math.Abs(v))
	}
	worst, n := 0.0, len(want)/parts
	for i := range parts {
		floor := 1e-3 * size
		if strings.HasSuffix(name, "in_proj_bias") && i == 1 {
			floor = size
		}
		err := relative(got[i*n:(i+1)*n], want[i*n:(i+1)*n], floor)
		if worst = math.Max(worst, err); !(err <= gradientTol) {
			t.Errorf("gradient of %s (part %d of %d) differs by %.3g relative, tolerance %g", name, i+1, parts, err, gradientTol)
		}
	}
	return worst
}

// truth is the loss of a reference and its gradients by parameter name.
type truth struct {
	loss  float64
	grads map[string][]float64
}

// truths keeps what was computed, for the suite runs once for each of an engine's kernels.
var truths sync.Map

func cached(key string, f func() *truth) *truth {
	v, _ := truths.LoadOrStore(key, sync.OnceValue(f))
	return v.(func() *truth)()
}

// testGradients compares every gradient of both losses with central differences.
func testGradients(t *testing.T, e clip.Engine) {
	for _, c := range []struct {
		quick       bool
		eot, layers int
	}{{true, 12, 2}, {false, -1, 2}, {true, -1, 1}} {
		cfg := Small(c.quick, c.eot)
		cfg.Vision.Layers, cfg.Text.Layers = c.layers, c.layers
		name := fmt.Sprintf("quick_gelu=%v/eot=%d/layers=%d", c.quick, c.eot, c.layers)
		w := Weights(cfg, 7)
		t.Run(name+"/head", func(t *testing.T) {
			b := headBatch(cfg, 4, 3, 0.1, 11)
			m := trainer(t, e, cfg, w, adamW(true, false))
			stats, err := m.StepHead(context.Background(), b, 1e-3)
			checkGradients(t, m, stats, err, cached(name+"/head", func() *truth {
				r, x := newReference(cfg, w), &truth{grads: make(map[string][]float64)}
				x.loss = r.headLoss(b)
				for name := range r.p {
					if strings.HasPrefix(name, "visual.") {
						x.grads[name] = r.gradient(name, func() float64 { return r.headLoss(b) })
					}
				}
				return x
			}))
		})
		t.Run(name+"/contrastive", func(t *testing.T) {
			b := contrastiveBatch(cfg, 3, 12)
			m := trainer(t, e, cfg, w, adamW(true, true))
			stats, err := m.StepContrastive(context.Background(), b, 1e-3)
			checkGradients(t, m, stats, err, cached(name+"/contrastive", func() *truth {
				r, x := newReference(cfg, w), &truth{grads: make(map[string][]float64)}
				f, g := r.images(b), r.texts(b)
				x.loss = r.contrastiveLoss(f, g)
				for name := range r.p {
					x.grads[name] = r.gradient(name, func() float64 {
						if strings.HasPrefix(name, "visual.") {
							return r.contrastiveLoss(r.images(b), g)
						}
						return r.contrastiveLoss(f, r.texts(b))
					})
				}
				return x
			}))
		})
	}
}

func checkGradients(t *testing.T, m clip.Trainer, stats clip.StepStats, err error, want *truth) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	near(t, "loss", stats.Loss, want.loss, 1e-5)
	state, worst, sq := m.State(), 0.0, 0.0
	for name, g := range want.grads {
		for _, v := range g {
			sq += v * v
		}
		worst = math.Max(worst, compare(t, name, firstGradient(t, state, name), g))
	}
	near(t, "gradient norm", stats.GradNorm, math.Sqrt(sq), 1e-4)
	t.Logf("largest relative error %.2g", worst)
}

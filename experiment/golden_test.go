package experiment_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"paint"
	"paint/checkpoint"
	"paint/clip"
	"paint/clip/enginetest"
	"paint/cpu"
	"paint/eval"
	"paint/preprocess"
	"paint/weights"
)

// sweepGolden is testdata/sweep/paint_sweep.json: one whole sweep with torch. The model of theta0 is good at "grate",
// theta_pos was fine-tuned on "pos".
type sweepGolden struct {
	Alphas       []float64
	Correct      map[string][]int
	MinMargin    map[string][]float64 `json:"min_margin"`
	N            int
	Parallel     map[string]map[string]int `json:"parallel_patch"`
	MeanAccuracy []float64                 `json:"mean_accuracy"`
	BestAlpha    float64                   `json:"best_alpha_by_mean_accuracy_first_on_ties"`
}

// sweepTolerance is the most by which a logit may differ. They reach about 12.
const sweepTolerance = 1e-4

// golden reads a file of testdata/sweep and holds it to the sum in the manifest.
func golden(t *testing.T, name string) *weights.Set {
	t.Helper()
	b := enginetest.Gunzip(t, os.DirFS("."), "sweep/"+name)
	var manifest struct {
		Files map[string]struct{ SHA256 string }
	}
	readJSON(t, filepath.Join("testdata", "sweep", "manifest.json"), &manifest)
	sum := sha256.Sum256(b)
	if got, want := hex.EncodeToString(sum[:]), manifest.Files[name+".safetensors"].SHA256; got != want {
		t.Fatalf("%s: sha256 %s, the manifest has %q", name, got, want)
	}
	s, err := checkpoint.Decode(b)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return s
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// tower picks an image tower from the golden weights.
func tower(all *weights.Set, prefix string) *weights.Set {
	out := &weights.Set{}
	for x := range all.All() {
		if name, ok := strings.CutPrefix(x.Name, prefix+"."); ok {
			out.Put(&weights.Tensor{Name: "visual." + name, DType: x.DType, Shape: x.Shape, Data: x.Data})
		}
	}
	return out
}

// sweepFixture is the golden sweep's model on the cpu engine, its tasks and what torch found.
type sweepFixture struct {
	want   sweepGolden
	logits *weights.Set
	towers map[string]*weights.Set
	heads  map[string][]float32
	images map[string]*eval.Images
	cfg    clip.Config
	enc    clip.Encoder
}

func newSweepFixture(t *testing.T) *sweepFixture {
	t.Helper()
	f := &sweepFixture{towers: map[string]*weights.Set{}, heads: map[string][]float32{}, images: map[string]*eval.Images{}}
	readJSON(t, filepath.Join("testdata", "sweep", "paint_sweep.json"), &f.want)
	all, data := golden(t, "paint_weights"), golden(t, "paint_data")
	f.logits = golden(t, "paint_logits")
	// The fixture is an image tower alone: any text tower goes with it, none is asked.
	f.cfg = clip.Config{
		EmbedDim: 24, QuickGELU: true,
		Vision: clip.Vision{ImageSize: 32, PatchSize: 8, Width: 32, Layers: 2, Heads: 2, MLPWidth: 128, LayerNormEps: 1e-5},
		Text:   clip.Text{ContextLength: 4, VocabSize: 4, Width: 4, Layers: 1, Heads: 1, MLPWidth: 4, LayerNormEps: 1e-5, EOT: 3},
	}
	for _, name := range []string{"theta0", "theta_pos", "theta_grate"} {
		f.towers[name] = tower(all, name)
	}
	w := clip.Random(f.cfg, 1)
	for x := range f.towers["theta0"].All() {
		if old := w.Get(x.Name); old == nil || old.Len() != x.Len() {
			t.Fatalf("the model has no tensor %q of shape %v", x.Name, x.Shape)
		}
		w.Put(x)
	}
	for task := range f.want.Correct {
		f.heads[task] = all.Get("head." + task).Float32()
		im := &eval.Images{Size: f.cfg.Vision.ImageSize, Crops: data.Get(task + ".images_u8").Data}
		for i, l := range data.Get(task + ".labels").Float32() {
			im.Labels, im.Groups = append(im.Labels, int(l)), append(im.Groups, i)
		}
		if im.Len() != f.want.N {
			t.Fatalf("task %s: %d images, want %d", task, im.Len(), f.want.N)
		}
		f.images[task] = im
	}
	eng, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(eng.Close)
	if f.enc, err = eng.NewEncoder(f.cfg, w); err != nil {
		t.Fatal(err)
	}
	return f
}

// measure returns how many images of each task the weights get right, and compares the logits with the golden ones of
// that name where there are any.
func (f *sweepFixture) measure(t *testing.T, w *weights.Set, name string) (correct map[string]int, compared bool) {
	t.Helper()
	if err := f.enc.SetWeights(w); err != nil {
		t.Fatal(err)
	}
	tr := preprocess.Transform{Size: f.cfg.Vision.ImageSize, Mean: clip.OpenAIMean, Std: clip.OpenAIStd}
	d := f.cfg.EmbedDim
	correct = map[string]int{}
	for task, head := range f.heads {
		im := f.images[task]
		feats, err := eval.Features(context.Background(), f.enc, d, im, tr, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, ok := range eval.Correct(eval.Predict(feats, head, d), im.Labels) {
			if ok {
				correct[task]++
			}
		}
		x := f.logits.Get("logits." + name + "." + task)
		if x == nil {
			continue
		}
		compared = true
		want, classes, worst := x.Float32(), len(head)/d, 0.0
		for i := range im.Len() {
			for c := range classes {
				var s float64
				for k := range d {
					s += float64(feats[i*d+k]) * float64(head[c*d+k])
				}
				worst = math.Max(worst, math.Abs(s-float64(want[i*classes+c])))
			}
		}
		if !(worst <= sweepTolerance) {
			t.Errorf("%s, task %s: a logit differs by %.3g, tolerance %g", name, task, worst, sweepTolerance)
		}
		t.Logf("%s, task %s: largest difference of a logit %.2g", name, task, worst)
	}
	return correct, compared
}

// The method from end to end as torch has it: at every alpha the same images are right, and the same alpha is best.
func TestSweepGolden(t *testing.T) {
	f := newSweepFixture(t)
	k, compared := 0, 0
	measure := func(_ context.Context, alpha float64, w *weights.Set) (paint.Point, error) {
		got, logits := f.measure(t, w, fmt.Sprintf("a%.1f", alpha))
		if logits {
			compared++
		}
		p := paint.Point{Split: "validation"}
		rounding := 1e-9
		share := func(task string) map[string]float64 {
			slack, want := 0, f.want.Correct[task][k]
			if f.want.MinMargin[task][k] < 1e-4 {
				slack = 1 // an image that close to the border may fall to either side
				rounding += 1 / float64(2*f.want.N)
			}
			if n := got[task]; n < want-slack || n > want+slack {
				t.Errorf("alpha %g, task %s: %d right, want %d", alpha, task, n, want)
			}
			return map[string]float64{task: float64(got[task]) / float64(f.want.N)}
		}
		p.Patching, p.Supported = share("pos"), share("grate")
		if mean := (p.PatchingMean() + p.SupportedMean()) / 2; math.Abs(mean-f.want.MeanAccuracy[k]) > rounding {
			t.Errorf("alpha %g: mean accuracy %g, want %g", alpha, mean, f.want.MeanAccuracy[k])
		}
		k++
		return p, nil
	}
	points, err := paint.Sweep(context.Background(), f.towers["theta0"], f.towers["theta_pos"], f.want.Alphas, measure)
	if err != nil {
		t.Fatal(err)
	}
	if len(points) != len(f.want.Alphas) || compared != 3 {
		t.Errorf("%d points and %d with logits, want %d and 3", len(points), compared, len(f.want.Alphas))
	}
	rule, err := paint.ParseRule("mean")
	if err != nil {
		t.Fatal(err)
	}
	choice, err := paint.Select(points, rule)
	if err != nil {
		t.Fatal(err)
	}
	if choice.Alpha != f.want.BestAlpha {
		t.Errorf("alpha %g was chosen (%s), want %g", choice.Alpha, choice.Why, f.want.BestAlpha)
	}
}

// Sums of several changes, theta0 + a*(theta_pos-theta0) + b*(theta_grate-theta0), as interpolations of interpolations.
func TestParallelGolden(t *testing.T) {
	f := newSweepFixture(t)
	lerp := func(x, y *weights.Set, alpha float64, opts ...paint.Option) *weights.Set {
		t.Helper()
		w, err := paint.Interpolate(x, y, alpha, opts...)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	zs, pos, grate := f.towers["theta0"], f.towers["theta_pos"], f.towers["theta_grate"]
	sums := map[string]*weights.Set{
		"0.5,0.5": lerp(pos, grate, 0.5),
		"0.3,0.6": lerp(lerp(zs, pos, 0.75), grate, 0.6),
		"1.0,1.0": lerp(zs, lerp(pos, grate, 0.5), 2, paint.Extrapolate()),
	}
	if len(f.want.Parallel) != len(sums) {
		t.Fatalf("%d golden sums, want %d", len(f.want.Parallel), len(sums))
	}
	for key, want := range f.want.Parallel {
		got, compared := f.measure(t, sums[key], "par_"+strings.Replace(key, ",", "_", 1))
		if !compared {
			t.Errorf("%s: no golden logits", key)
		}
		for task, n := range want {
			if got[task] != n {
				t.Errorf("%s, task %s: %d right, want %d", key, task, got[task], n)
			}
		}
	}
}

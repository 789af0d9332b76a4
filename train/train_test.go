package train

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"paint/clip"
	"paint/preprocess"
	"paint/weights"
)

// The reference's schedule: tables of its own code, for several bases, warm-ups and lengths.
func TestCosineLR(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "cosine_lr.json"))
	if err != nil {
		t.Fatal(err)
	}
	var tables []struct {
		Base          float64
		Warmup, Steps int
		LR            []float64
	}
	if err := json.Unmarshal(b, &tables); err != nil || len(tables) < 2 {
		t.Fatalf("%d tables, %v", len(tables), err)
	}
	for _, c := range tables {
		for i, want := range c.LR {
			if got := CosineLR(c.Base, i, c.Warmup, c.Steps); math.Abs(got-want) > 1e-12*want+1e-24 {
				t.Errorf("base %g, warm-up %d of %d, step %d: %g, want %g", c.Base, c.Warmup, c.Steps, i, got, want)
			}
		}
	}
}

// sumEngine is an engine whose weights are a running hash of all that it was shown, in order.
type sumEngine struct{ failAt int }

func (sumEngine) Name() string { return "sum" }
func (sumEngine) NewEncoder(clip.Config, *weights.Set) (clip.Encoder, error) {
	return nil, errors.New("no encoder")
}
func (e sumEngine) NewTrainer(clip.Config, *weights.Set, clip.TrainOptions) (clip.Trainer, error) {
	return &sumTrainer{failAt: e.failAt}, nil
}

type sumTrainer struct {
	clip.Trainer
	sum    float32
	steps  int
	failAt int
}

func (s *sumTrainer) StepHead(_ context.Context, b clip.HeadBatch, lr float64) (clip.StepStats, error) {
	if s.steps++; s.steps == s.failAt {
		return clip.StepStats{}, errors.New("loss is NaN")
	}
	for i, p := range b.Pixels {
		s.sum = s.sum*0.9999 + p*float32(1+i%7)
	}
	for _, l := range b.Labels {
		s.sum += float32(l) * float32(lr)
	}
	return clip.StepStats{Loss: float64(s.sum)}, nil
}
func (s *sumTrainer) Weights() *weights.Set {
	var w weights.Set
	w.Put(weights.FromFloat32("visual.sum", []float32{s.sum}, 1))
	return &w
}
func (s *sumTrainer) State() *weights.Set {
	var w weights.Set
	w.Put(weights.FromFloat32("sum", []float32{s.sum, float32(s.steps)}, 2))
	return &w
}
func (s *sumTrainer) Restore(w *weights.Set) error {
	v := w.Get("sum").Float32()
	s.sum, s.steps = v[0], int(v[1])
	return nil
}

// squares is a part of n pictures that differ.
type squares struct{ n, broken int }

func (s squares) Len() int        { return s.n }
func (s squares) Label(i int) int { return i % 3 }
func (s squares) Group(i int) int { return i }
func (s squares) ID(i int) string { return fmt.Sprintf("train[%d]", i) }
func (s squares) Image(i int) (*preprocess.Image, error) {
	if s.broken > 0 && i == s.broken {
		return nil, fmt.Errorf("decoding %s: truncated", s.ID(i))
	}
	img := &preprocess.Image{W: 12, H: 10, Pix: make([]uint8, 360)}
	for k := range img.Pix {
		img.Pix[k] = uint8(i*31 + k*7)
	}
	return img, nil
}

func job(dir string) Job {
	return Job{
		Model:  &clip.Model{Hash: "h"},
		Engine: sumEngine{}, Part: squares{n: 10}, Head: []float32{1, 2, 3},
		Transform: preprocess.Transform{Size: 8, Mean: clip.OpenAIMean, Std: clip.OpenAIStd},
		Options:   Options{Steps: 17, BatchSize: 4, LR: 1, Warmup: 3, Seed: 5, Augment: "affine"},
		Every:     5, Checkpoint: filepath.Join(dir, "state", "checkpoint.safetensors"),
	}
}

func bytesOf(t *testing.T, r *Result, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return r.Weights.Get("visual.sum").Data
}

// A run that is stopped at any step and resumed gives the bytes of one that was not.
func TestResumeAtAnyStep(t *testing.T) {
	j := job(t.TempDir())
	r, err := FineTune(context.Background(), j)
	want := bytesOf(t, r, err)
	for stop := 1; stop < j.Options.Steps; stop++ {
		j := job(t.TempDir())
		ctx, cancel := context.WithCancel(context.Background())
		j.Progress = func(step int, _ Point) {
			if step == stop {
				cancel()
			}
		}
		if _, err := FineTune(ctx, j); !errors.Is(err, context.Canceled) {
			t.Fatalf("stopped after %d: %v", stop, err)
		}
		j.Progress, j.Resume = nil, true
		r, err := FineTune(context.Background(), j)
		if got := bytesOf(t, r, err); !bytes.Equal(got, want) {
			t.Fatalf("stopped after %d steps: % x, want % x", stop, got, want)
		}
		if r.Resumed < stop || len(r.Points) != j.Options.Steps {
			t.Fatalf("stopped after %d: resumed %d, %d points", stop, r.Resumed, len(r.Points))
		}
	}
}

func TestSeedAndAugmentationMatter(t *testing.T) {
	seen := map[string]string{}
	for _, aug := range Augmentations {
		for seed := range uint64(3) {
			j := job(t.TempDir())
			j.Options.Seed, j.Options.Augment = seed, aug
			r, err := FineTune(context.Background(), j)
			key := string(bytesOf(t, r, err))
			if other, ok := seen[key]; ok {
				t.Errorf("%s, seed %d gives what %s gave", aug, seed, other)
			}
			seen[key] = fmt.Sprint(aug, seed)
		}
	}
}

func TestResumeRefusesOtherRun(t *testing.T) {
	j := job(t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	j.Progress = func(step int, _ Point) {
		if step == 6 {
			cancel()
		}
	}
	if _, err := FineTune(ctx, j); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Job){
		"learning rate": func(j *Job) { j.Options.LR = 2 },
		"head":          func(j *Job) { j.Head = []float32{1, 2, 4} },
		"model":         func(j *Job) { j.Model = &clip.Model{Hash: "other"} },
		"data":          func(j *Job) { j.Part = squares{n: 11} },
	} {
		k := j
		k.Progress, k.Resume = nil, true
		change(&k)
		if _, err := FineTune(context.Background(), k); !errors.Is(err, ErrCheckpoint) {
			t.Errorf("another %s: %v", name, err)
		}
	}
}

// A failing step or image names itself; the checkpoint of before stays.
func TestFailures(t *testing.T) {
	j := job(t.TempDir())
	j.Engine = sumEngine{failAt: 8}
	_, err := FineTune(context.Background(), j)
	if err == nil || !strings.Contains(err.Error(), "step 8 of 17: loss is NaN") {
		t.Errorf("failing step: %v", err)
	}
	if _, err := os.Stat(j.Checkpoint); err != nil {
		t.Errorf("the checkpoint of step 5 is gone: %v", err)
	}
	j = job(t.TempDir())
	j.Part = squares{n: 10, broken: 4}
	if _, err = FineTune(context.Background(), j); err == nil || !strings.Contains(err.Error(), "train[4]: truncated") {
		t.Errorf("broken image: %v", err)
	}
	j.Part = squares{}
	if _, err = FineTune(context.Background(), j); err == nil {
		t.Error("empty part: no error")
	}
}

func TestOptionsCheck(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"steps is 0":             func(o *Options) { o.Steps = 0 },
		"batch size is -1":       func(o *Options) { o.BatchSize = -1 },
		"learning rate is NaN":   func(o *Options) { o.LR = math.NaN() },
		"warm-up is 17 steps":    func(o *Options) { o.Warmup = 17 },
		"weight decay is -1":     func(o *Options) { o.WeightDecay = -1 },
		"norm limit is -1":       func(o *Options) { o.ClipNorm = -1 },
		"label smoothing is 1":   func(o *Options) { o.LabelSmoothing = 1 },
		`augmentation is "flip"`: func(o *Options) { o.Augment = "flip" },
	} {
		o := job("").Options
		change(&o)
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Package train fine-tunes the image tower of a model on a task with a frozen head.
//
// FineTune is the loop: batches drawn by seed, the reference's schedule, AdamW, checkpoints, resume. What a step sees
// depends only on the seed and the step's number, so a run that was killed and resumed gives the bytes of one that was
// not.
package train

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"paint/checkpoint"
	"paint/clip"
	"paint/dataset"
	"paint/preprocess"
	"paint/weights"
)

// Options are the hyperparameters of fine-tuning.
type Options struct {
	Steps          int     `json:"steps"`
	BatchSize      int     `json:"batch_size"`
	LR             float64 `json:"lr"`
	Warmup         int     `json:"warmup"` // steps
	WeightDecay    float64 `json:"wd"`
	ClipNorm       float64 `json:"clip_norm"`
	LabelSmoothing float64 `json:"label_smoothing"`
	Seed           uint64  `json:"seed"`
	Augment        string  `json:"augment"` // see Augmentations
}

// Paper is the recipe of the paper's experiments (OpenCLIP scaling paper, "following Ilharco et al.").
func Paper() Options {
	return Options{Steps: 2000, BatchSize: 128, LR: 1e-5, Warmup: 200, WeightDecay: 0.1, ClipNorm: 1, Augment: "crop"}
}

// Augmentations are the names that Options.Augment may have: the reference's random crop, the same after a small
// random rotation, zoom and shift, and none.
var Augmentations = []string{"crop", "affine", "none"}

// Check reports the first option that makes no sense.
func (o Options) Check() error {
	switch {
	case o.Steps < 1:
		return fmt.Errorf("fine-tuning: steps is %d, want 1 or more", o.Steps)
	case o.BatchSize < 1:
		return fmt.Errorf("fine-tuning: batch size is %d, want 1 or more", o.BatchSize)
	case !(o.LR > 0) || math.IsInf(o.LR, 0):
		return fmt.Errorf("fine-tuning: learning rate is %g, want a positive number", o.LR)
	case o.Warmup < 0 || o.Warmup >= o.Steps:
		return fmt.Errorf("fine-tuning: warm-up is %d steps of %d, want fewer", o.Warmup, o.Steps)
	case !(o.WeightDecay >= 0):
		return fmt.Errorf("fine-tuning: weight decay is %g, want 0 or more", o.WeightDecay)
	case !(o.ClipNorm >= 0):
		return fmt.Errorf("fine-tuning: gradient norm limit is %g, want 0 (none) or more", o.ClipNorm)
	case !(o.LabelSmoothing >= 0 && o.LabelSmoothing < 1):
		return fmt.Errorf("fine-tuning: label smoothing is %g, want 0 <= x < 1", o.LabelSmoothing)
	}
	_, err := o.augmentation()
	return err
}

func (o Options) augmentation() (preprocess.Augmentation, error) {
	crop := preprocess.Augmentation{ScaleMin: 0.9, ScaleMax: 1}
	switch o.Augment {
	case "crop":
		return crop, nil
	case "affine":
		crop.RotateDegrees, crop.Zoom, crop.Translate = 10, 0.125, 0.1
		return crop, nil
	case "none":
		return preprocess.Augmentation{}, nil
	}
	return preprocess.Augmentation{}, fmt.Errorf("fine-tuning: augmentation is %q, want one of %q", o.Augment, Augmentations)
}

// Job is one fine-tuning.
type Job struct {
	Model     *clip.Model
	Engine    clip.Engine
	Part      dataset.Part // the train part
	Head      []float32    // [classes, EmbedDim], frozen
	Transform preprocess.Transform
	Options   Options

	// Checkpoint is the file that holds the state of an unfinished run; empty means none is kept. It is written every
	// Every steps (0: only when interrupted) and removed by nobody here.
	Checkpoint string
	Every      int
	Resume     bool

	// Progress, where set, is told of every step that was taken.
	Progress func(step int, p Point)
}

// Point is what is kept of a step.
type Point struct {
	Step     int     `json:"step"` // from 1
	Loss     float64 `json:"loss"`
	LR       float64 `json:"lr"`
	GradNorm float64 `json:"grad_norm"`
	Accuracy float64 `json:"accuracy"` // of the batch
}

// Result is what fine-tuning leaves.
type Result struct {
	Weights *weights.Set // the trained tensors, F32, internal names
	Points  []Point
	Resumed int // steps that came from a checkpoint
}

// ErrCheckpoint is wrapped by errors about a checkpoint that does not belong to the job.
var ErrCheckpoint = errors.New("checkpoint of another run")

// FineTune trains the image tower for Options.Steps steps. When ctx ends, it writes the checkpoint and returns
// ctx.Err.
func FineTune(ctx context.Context, j Job) (*Result, error) {
	o := j.Options
	if err := o.Check(); err != nil {
		return nil, err
	}
	if j.Part == nil || j.Part.Len() == 0 {
		return nil, errors.New("fine-tuning: the task has no train part")
	}
	tr, err := j.Engine.NewTrainer(j.Model.Config, j.Model.Weights, clip.TrainOptions{
		Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: o.WeightDecay, ClipNorm: o.ClipNorm, Image: true})
	if err != nil {
		return nil, err
	}
	res := &Result{}
	id := j.identity()
	if j.Resume && j.Checkpoint != "" {
		if err := j.load(tr, id, res); err != nil {
			return nil, err
		}
	}
	start := res.Resumed
	batches := newLoader(ctx, j, start)
	defer batches.stop()
	for step := start; step < o.Steps; step++ {
		b, err := batches.next()
		if err == nil {
			err = ctx.Err() // a batch may have been ready when the run was stopped
		}
		if err != nil {
			return nil, j.interrupted(ctx, tr, id, res, err)
		}
		lr := CosineLR(o.LR, step, o.Warmup, o.Steps)
		st, err := tr.StepHead(ctx, clip.HeadBatch{Pixels: b.pixels, Labels: b.labels, Head: j.Head, LabelSmoothing: o.LabelSmoothing}, lr)
		if err != nil {
			return nil, j.interrupted(ctx, tr, id, res, fmt.Errorf("fine-tuning: step %d of %d: %w", step+1, o.Steps, err))
		}
		batches.recycle(b)
		p := Point{Step: step + 1, Loss: st.Loss, LR: lr, GradNorm: st.GradNorm, Accuracy: float64(st.Correct) / float64(len(b.labels))}
		res.Points = append(res.Points, p)
		if j.Progress != nil {
			j.Progress(step+1, p)
		}
		if j.Checkpoint != "" && j.Every > 0 && (step+1)%j.Every == 0 && step+1 < o.Steps {
			if err := j.save(tr, id, res); err != nil {
				return nil, err
			}
		}
	}
	res.Weights = tr.Weights()
	return res, nil
}

// interrupted keeps what was done when the run was cancelled, and hands the cause on.
func (j Job) interrupted(ctx context.Context, tr clip.Trainer, id string, res *Result, cause error) error {
	if ctx.Err() == nil {
		return cause
	}
	if j.Checkpoint != "" && len(res.Points) > res.Resumed {
		if err := j.save(tr, id, res); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// identity fingerprints everything that the bytes of the result depend on.
func (j Job) identity() string {
	h := sha256.New()
	e := json.NewEncoder(h)
	e.Encode(j.Options)                                                               //nolint:errcheck // a hash does not fail
	e.Encode([]any{j.Model.Hash, j.Engine.Name(), j.Part.Len(), j.Transform, j.Head}) //nolint:errcheck
	for i := range j.Part.Len() {
		fmt.Fprintln(h, j.Part.ID(i), j.Part.Label(i))
	}
	return hex.EncodeToString(h.Sum(nil))
}

const (
	metaRun    = "paint.run"
	metaPoints = "paint.points"
)

func (j Job) save(tr clip.Trainer, id string, res *Result) error {
	points, err := json.Marshal(res.Points)
	if err != nil {
		return fmt.Errorf("writing checkpoint: %w", err)
	}
	s := tr.State()
	s.Metadata = map[string]string{metaRun: id, metaPoints: string(points)}
	if err := os.MkdirAll(filepath.Dir(j.Checkpoint), 0o777); err != nil {
		return fmt.Errorf("writing checkpoint: %w", err)
	}
	return checkpoint.Write(j.Checkpoint, s)
}

func (j Job) load(tr clip.Trainer, id string, res *Result) error {
	f, err := checkpoint.Open(j.Checkpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // interrupted before the first checkpoint: start from the beginning
	}
	if err != nil {
		return err
	}
	defer f.Close()
	s := f.Set()
	if got := s.Metadata[metaRun]; got != id {
		return fmt.Errorf("resuming: %s: %w: its options, model or data have fingerprint %.12s, these %.12s", j.Checkpoint, ErrCheckpoint, got, id)
	}
	var points []Point
	if err := json.Unmarshal([]byte(s.Metadata[metaPoints]), &points); err != nil {
		return fmt.Errorf("resuming: %s: log of steps: %w", j.Checkpoint, err)
	}
	if len(points) > j.Options.Steps {
		return fmt.Errorf("resuming: %s: holds %d steps, the run has %d", j.Checkpoint, len(points), j.Options.Steps)
	}
	if err := tr.Restore(s); err != nil {
		return err
	}
	res.Points, res.Resumed = points, len(points)
	return nil
}

// batch is one step's input.
type batch struct {
	pixels []float32
	labels []int
	err    error
}

// loader prepares the next batch while the engine works on the last one.
type loader struct {
	ch     chan batch
	free   chan []float32
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newLoader(ctx context.Context, j Job, start int) *loader {
	ctx, cancel := context.WithCancel(ctx)
	l := &loader{ch: make(chan batch, 1), free: make(chan []float32, 3), cancel: cancel}
	l.wg.Go(func() {
		defer close(l.ch)
		s := newSampler(j)
		for step := start; step < j.Options.Steps; step++ {
			var buf []float32
			select {
			case buf = <-l.free:
			default:
			}
			b := s.batch(ctx, step, buf)
			select {
			case l.ch <- b:
			case <-ctx.Done():
				return
			}
			if b.err != nil {
				return
			}
		}
	})
	return l
}

func (l *loader) next() (batch, error) {
	b, ok := <-l.ch
	if !ok {
		return b, context.Canceled
	}
	return b, b.err
}

func (l *loader) recycle(b batch) {
	select {
	case l.free <- b.pixels:
	default:
	}
}

func (l *loader) stop() { l.cancel(); l.wg.Wait() }

// sampler draws batches: the examples of step s are positions s*BatchSize... of an endless row of permutations of the
// train part, each permutation drawn by (seed, its number), each example augmented by (seed, position).
type sampler struct {
	j     Job
	aug   preprocess.Augmentation
	epoch int
	perm  []int
}

func newSampler(j Job) *sampler {
	aug, _ := j.Options.augmentation() // Check has seen it
	return &sampler{j: j, aug: aug, epoch: -1}
}

func (s *sampler) at(pos int) int {
	n := s.j.Part.Len()
	if e := pos / n; e != s.epoch {
		s.epoch = e
		s.perm = rand.New(rand.NewPCG(s.j.Options.Seed, uint64(e)<<1|1)).Perm(n)
	}
	return s.perm[pos%n]
}

func (s *sampler) batch(ctx context.Context, step int, buf []float32) batch {
	n, px := s.j.Options.BatchSize, 3*s.j.Transform.Size*s.j.Transform.Size
	if len(buf) != n*px {
		buf = make([]float32, n*px)
	}
	b := batch{pixels: buf, labels: make([]int, n)}
	for i := range n {
		if err := ctx.Err(); err != nil {
			b.err = err
			return b
		}
		pos := step*n + i
		k := s.at(pos)
		img, err := s.j.Part.Image(k)
		if err != nil {
			b.err = fmt.Errorf("fine-tuning: %w", err)
			return b
		}
		dst := b.pixels[i*px : (i+1)*px]
		if s.j.Options.Augment == "none" {
			s.j.Transform.Apply(dst, img)
		} else {
			s.aug.Apply(dst, img, s.j.Transform, rand.New(rand.NewPCG(s.j.Options.Seed, uint64(pos)<<1)))
		}
		b.labels[i] = s.j.Part.Label(k)
	}
	return b
}

// Package experiment holds the recipes: what a verb of the command line does, as one call.
//
// Patch fine-tunes a model on a task, interpolates, chooses alpha on validation data, tests once and leaves a run
// directory. Sweep does the same from two checkpoints. Evaluate and Classify use a model as it is.
package experiment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"paint"
	"paint/checkpoint"
	"paint/clip"
	"paint/dataset"
	"paint/report"
	"paint/train"
	"paint/weights"
)

// Config is the input of Patch, FineTune and Sweep.
type Config struct {
	Model     string // reference, see OpenModel
	FineTuned string // Sweep: the fine-tuned model, a reference or a file of named tensors
	Task      string // reference, see OpenTask
	Supported []string
	DataDir   string

	Alphas string // "0:1:0.05"
	Select string // "mean" or "max-drop=1.0"
	Train  train.Options

	Out           string // run directory
	Resume        bool
	KeepFineTuned bool // leave the fine-tuned model in Out/finetuned

	Engine  clip.Engine
	Threads int
	Kernels string // for the record
	Version string
	Command string
}

// ErrExists is wrapped by the error about a run directory that is already in use.
var ErrExists = errors.New("exists already")

// run is a Patch or Sweep under way.
type run struct {
	cfg       Config
	ui        Progress
	rec       *report.Run
	model     *clip.Model
	patching  *dataset.Task
	tasks     []*dataset.Task // patching first
	supported []string
	alphas    []float64
	rule      paint.Rule
	ev        *evaluator
	started   time.Time
	stage     time.Time
	state     string // folder of what resuming needs; gone when the run is complete
}

// Patch runs the whole method and returns the record that it wrote to cfg.Out.
func Patch(ctx context.Context, cfg Config, ui Progress) (*report.Run, error) {
	r, err := newRun(cfg, ui, "patch")
	if err != nil {
		return nil, err
	}
	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	res, err := r.finetune(ctx)
	if err != nil {
		return nil, err
	}
	for i, p := range res.Points {
		if i%max(1, len(res.Points)/100) == 0 || i == len(res.Points)-1 {
			r.rec.Training = append(r.rec.Training, report.TrainPoint{Step: p.Step, Loss: p.Loss, LR: p.LR, GradNorm: p.GradNorm})
		}
	}
	return r.rest(ctx, res.Weights)
}

// Sweep is Patch for a fine-tuned model that exists already.
func Sweep(ctx context.Context, cfg Config, ui Progress) (*report.Run, error) {
	r, err := newRun(cfg, ui, "sweep")
	if err != nil {
		return nil, err
	}
	ft, err := OpenModel(cfg.FineTuned)
	if err != nil {
		return nil, err
	}
	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	return r.rest(ctx, ft.Weights)
}

// FineTune is step 1 alone: it leaves a complete model, in the layout of the input, in cfg.Out.
func FineTune(ctx context.Context, cfg Config, ui Progress) (*train.Result, error) {
	cfg.Supported = nil
	r, err := newRun(cfg, ui, "finetune")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(cfg.Out); err == nil {
		return nil, fmt.Errorf("fine-tuning: %s %w: give another --out", cfg.Out, ErrExists)
	}
	r.state = strings.TrimRight(cfg.Out, "/\\") + ".state"
	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	res, err := r.finetune(ctx)
	if err != nil {
		return nil, err
	}
	m, err := r.model.With(res.Weights)
	if err != nil {
		return nil, err
	}
	if err := m.Save(cfg.Out); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(r.state); err != nil {
		return nil, fmt.Errorf("removing the state of the finished run: %w", err)
	}
	return res, nil
}

func newRun(cfg Config, ui Progress, kind string) (*run, error) {
	now := time.Now()
	r := &run{cfg: cfg, ui: ui, started: now, stage: now, state: filepath.Join(cfg.Out, "state")}
	var err error
	if r.alphas, err = paint.Alphas(cfg.Alphas); err != nil {
		return nil, err
	}
	if !slices.Contains(r.alphas, 0) {
		r.alphas = append([]float64{0}, r.alphas...)
	}
	if r.rule, err = paint.ParseRule(cfg.Select); err != nil {
		return nil, err
	}
	if kind != "sweep" {
		if err := cfg.Train.Check(); err != nil {
			return nil, err
		}
	}
	if r.model, err = OpenModel(cfg.Model); err != nil {
		return nil, err
	}
	r.rec = &report.Run{Schema: 1, Tool: "paint", Version: cfg.Version, Kind: kind, Started: now.UTC().Format(time.RFC3339),
		Config: configMap(cfg, kind), Seed: cfg.Train.Seed, Model: describe(cfg.Model, r.model), Rule: r.rule.String(), Tasks: map[string]report.Task{},
		Times: map[string]float64{}, Command: cfg.Command,
		Machine: machine(cfg)}
	for i, ref := range append([]string{cfg.Task}, cfg.Supported...) {
		t, err := OpenTask(ref, cfg.DataDir)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(r.tasks, func(o *dataset.Task) bool { return o.Name == t.Name }) {
			return nil, fmt.Errorf("opening tasks: task %q is named twice", t.Name)
		}
		r.tasks = append(r.tasks, t)
		if i == 0 {
			r.patching, r.rec.Patching = t, []string{t.Name}
		} else {
			r.supported = append(r.supported, t.Name)
		}
		r.rec.Tasks[t.Name] = describeTask(t)
	}
	r.rec.Support = r.supported
	return r, r.checkParts()
}

// checkParts looks for the parts that the run will read: what is missing is said now, not after hours of fine-tuning.
func (r *run) checkParts() error {
	if r.rec.Kind != "sweep" {
		if _, err := part(r.patching, Train); err != nil {
			return err
		}
	}
	if r.rec.Kind == "finetune" {
		return nil
	}
	for _, t := range r.tasks {
		for _, s := range []Split{Validation, Test} {
			if _, err := part(t, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// claim takes the run directory, or refuses one that holds a finished run, models that no run of this kind left or,
// without Resume, an unfinished run.
func (r *run) claim() error {
	out := r.cfg.Out
	if out == "" {
		return errors.New("patching: no run directory given")
	}
	refuse := func(what, hint string) error {
		return fmt.Errorf("run directory %s: %s %w: %s", out, what, ErrExists, hint)
	}
	const another = "give another --out"
	if _, err := os.Stat(filepath.Join(out, "run.json")); err == nil {
		return refuse("a finished run", another)
	}
	kept, err := os.ReadDir(r.state)
	switch {
	case err == nil && r.rec.Kind == "sweep":
		// A sweep keeps nothing: an empty folder is what one that was stopped left behind.
		if len(kept) > 0 {
			return refuse("an unfinished run", another)
		}
	case err == nil:
		if !r.cfg.Resume {
			return refuse("an unfinished run", "add --resume to go on with it, or "+another)
		}
	default:
		for _, name := range []string{"patched", "finetuned"} {
			if _, err := os.Lstat(filepath.Join(out, name)); err == nil {
				return refuse(name, another)
			}
		}
	}
	if err == nil { // the directory is ours: what a run that was killed was writing is of no use
		written := []string{filepath.Join(out, "patched"), filepath.Join(out, "finetuned")}
		if r.rec.Kind == "finetune" {
			written = []string{out}
		}
		for _, path := range written {
			if err := checkpoint.RemoveParts(path); err != nil {
				return err
			}
		}
	}
	if err := os.MkdirAll(r.state, 0o777); err != nil {
		return fmt.Errorf("making run directory: %w", err)
	}
	return nil
}

// lap records the seconds since the last lap under the stage's name.
func (r *run) lap(stage string) {
	now := time.Now()
	r.rec.Times[stage] = round3(now.Sub(r.stage).Seconds())
	r.stage = now
}

// begin claims the run directory and builds the heads.
func (r *run) begin(ctx context.Context) (err error) {
	if err := r.claim(); err != nil {
		return err
	}
	r.ev, err = newEvaluator(ctx, r.cfg.Engine, r.cfg.Threads, r.model, r.tasks)
	r.lap("heads")
	return err
}

func (r *run) finetune(ctx context.Context) (*train.Result, error) {
	o := r.cfg.Train
	r.ui.Stage("fine-tuning on "+r.patching.Name, "steps", o.Steps)
	res, err := train.FineTune(ctx, train.Job{
		Model: r.model, Engine: r.cfg.Engine, Part: r.patching.Train, Head: r.ev.tasks[0].head, Transform: r.ev.tr, Options: o,
		Checkpoint: filepath.Join(r.state, "checkpoint.safetensors"), Every: max(20, o.Steps/20), Resume: r.cfg.Resume,
		Progress: func(step int, p train.Point) {
			r.ui.Update(step, fmt.Sprintf("loss %.3f", p.Loss))
		},
	})
	if err != nil {
		return nil, err
	}
	if res.Resumed > 0 {
		r.ui.Note(fmt.Sprintf("resumed after step %d of %d", res.Resumed, o.Steps))
	}
	r.lap("fine_tuning")
	return res, nil
}

// rest is everything after fine-tuning: sweep, choice, test, run directory.
func (r *run) rest(ctx context.Context, ft *weights.Set) (*report.Run, error) {
	tower := imageTower(r.model.Weights)
	trained, err := sameNames(tower, ft)
	if err != nil {
		return nil, err
	}
	if err := trained.CheckFinite(); err != nil {
		return nil, fmt.Errorf("fine-tuned model: %w", err)
	}
	diff, err := weights.Compare(tower, trained)
	if err != nil {
		return nil, err
	}
	r.rec.Change = report.Change{L2: diff.L2, Relative: diff.Relative, Cosine: diff.Cosine}
	ip, err := paint.NewInterpolator(tower, trained)
	if err != nil {
		return nil, err
	}
	points, err := r.sweep(ctx, ip)
	if err != nil {
		return nil, err
	}
	choice, err := paint.Select(points, r.rule)
	if err != nil {
		return nil, err
	}
	r.rec.Alpha, r.rec.Why = &choice.Alpha, choice.Why
	r.ui.Note(choice.Why)
	patched, err := r.test(ctx, ip, choice.Alpha)
	if err != nil {
		return nil, err
	}
	if err := r.write(trained, patched); err != nil {
		return nil, err
	}
	return r.rec, nil
}

// sweep measures every alpha on validation data.
func (r *run) sweep(ctx context.Context, ip *paint.Interpolator) ([]paint.Point, error) {
	if err := r.ev.prepare(ctx, Validation, r.ui); err != nil {
		return nil, err
	}
	r.lap("reading_validation")
	n := r.ev.n[Validation]
	r.ui.Stage(fmt.Sprintf("sweeping %d alphas", len(r.alphas)), "images", n*len(r.alphas))
	var points []paint.Point
	for i, a := range r.alphas {
		w, err := ip.At(a)
		if err != nil {
			return nil, err
		}
		if err := r.ev.enc.SetWeights(w); err != nil {
			return nil, err
		}
		m, err := r.ev.measure(ctx, Validation, func(done int) { r.ui.Update(i*n+done, fmt.Sprintf("alpha %.2f", a)) })
		if err != nil {
			return nil, err
		}
		p := paint.Point{Alpha: a, Split: string(Validation), Patching: map[string]float64{}, Supported: map[string]float64{}}
		for _, t := range r.rec.Patching {
			p.Patching[t] = m[t].acc.Top1
		}
		for _, t := range r.supported {
			p.Supported[t] = m[t].acc.Top1
		}
		points = append(points, p)
		rp := report.Point{Alpha: a, Split: p.Split, Accuracy: accuracies(m), Patching: meanOf(m, r.rec.Patching).Top1}
		if len(r.supported) > 0 {
			rp.Supported = meanOf(m, r.supported).Top1
		}
		r.rec.Curve = append(r.rec.Curve, rp)
	}
	r.ev.release(Validation)
	r.lap("sweep")
	return points, nil
}

// test reads the test split, once, for the two ends and the chosen alpha, and returns the patched image tower.
func (r *run) test(ctx context.Context, ip *paint.Interpolator, alpha float64) (*weights.Set, error) {
	if err := r.ev.prepare(ctx, Test, r.ui); err != nil {
		return nil, err
	}
	n := r.ev.n[Test]
	r.ui.Stage("testing", "images", 3*n)
	var outcomes [3]map[string]outcome
	var patched *weights.Set
	for i, a := range []float64{0, 1, alpha} {
		w, err := ip.At(a)
		if err != nil {
			return nil, err
		}
		if err := r.ev.enc.SetWeights(w); err != nil {
			return nil, err
		}
		if outcomes[i], err = r.ev.measure(ctx, Test, func(done int) { r.ui.Update(i*n+done, fmt.Sprintf("alpha %.2f", a)) }); err != nil {
			return nil, err
		}
		patched = w
	}
	r.ev.release(Test)
	r.rec.Final = final(outcomes[0], outcomes[1], outcomes[2], r.rec.Patching, r.supported)
	r.lap("test")
	return patched, nil
}

// write leaves the run directory: run.json last, so that its presence says that the rest is complete.
func (r *run) write(trained, patched *weights.Set) error {
	save := func(name string, w *weights.Set) error {
		m, err := r.model.With(w)
		if err != nil {
			return err
		}
		dir := filepath.Join(r.cfg.Out, name)
		if err := os.RemoveAll(dir); err != nil { // left by a run that was killed here
			return fmt.Errorf("writing model: %w", err)
		}
		return m.Save(dir)
	}
	if err := save("patched", patched); err != nil {
		return err
	}
	if r.cfg.KeepFineTuned {
		if err := save("finetuned", trained); err != nil {
			return err
		}
	}
	r.lap("writing")
	r.rec.Finished = time.Now().UTC().Format(time.RFC3339)
	r.rec.Times["total"] = round3(time.Since(r.started).Seconds())
	r.rec.PeakRSS = PeakRSS()
	if err := report.WriteAll(r.cfg.Out, r.rec); err != nil {
		return err
	}
	if err := r.rec.Write(r.cfg.Out); err != nil {
		return err
	}
	if err := os.RemoveAll(r.state); err != nil {
		return fmt.Errorf("removing the state of the finished run: %w", err)
	}
	return nil
}

// imageTower returns the tensors of the image tower.
func imageTower(w *weights.Set) *weights.Set {
	out := &weights.Set{}
	for t := range w.All() {
		if strings.HasPrefix(t.Name, "visual.") {
			out.Put(t)
		}
	}
	return out
}

// sameNames picks from ft the tensors that zs names.
func sameNames(zs, ft *weights.Set) (*weights.Set, error) {
	out := &weights.Set{}
	for t := range zs.All() {
		f := ft.Get(t.Name)
		if f == nil {
			return nil, fmt.Errorf("interpolating: tensor %q: in zero-shot, not in fine-tuned", t.Name)
		}
		out.Put(f)
	}
	return out, nil
}

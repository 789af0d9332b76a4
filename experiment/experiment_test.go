package experiment_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paint/cpu"
	"paint/experiment"
	"paint/report"
	"paint/train"
)

// shapes writes an image folder with the classes of small pictures: each class has its own colours, which drift from
// picture to picture, so that neither all nor none are told apart.
func shapes(t *testing.T, dir string, classes ...string) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, uint64(len(classes))))
	for _, s := range []struct {
		split string
		n     int
	}{{"train", 8}, {"validation", 5}, {"test", 6}} {
		for c, class := range classes {
			d := filepath.Join(dir, s.split, class)
			if err := os.MkdirAll(d, 0o777); err != nil {
				t.Fatal(err)
			}
			for i := range s.n {
				img := image.NewRGBA(image.Rect(0, 0, 20+i%3, 24))
				shift := rng.IntN(90)
				for y := range img.Rect.Dy() {
					for x := range img.Rect.Dx() {
						img.Set(x, y, color.RGBA{uint8(60*c + 7*x*(c%2) + shift), uint8(255 - 50*c - 5*y), uint8(40*c + rng.IntN(40)), 255})
					}
				}
				var b bytes.Buffer
				if err := png.Encode(&b, img); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(d, fmt.Sprintf("%03d.png", i)), b.Bytes(), 0o666); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return dir
}

// job is a short patch of the embedded model on two small image folders.
type job struct {
	patching, supported string
	eng                 *cpu.Engine
	threads             int
}

func newJob(t *testing.T, threads int) job {
	t.Helper()
	eng, err := cpu.New(cpu.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(eng.Close)
	dir := t.TempDir()
	return job{shapes(t, filepath.Join(dir, "colours"), "dax", "blicket", "wug", "fep"), shapes(t, filepath.Join(dir, "hues"), "green", "brown", "red"), eng, threads}
}

func (j job) config(out string) experiment.Config {
	o := train.Paper()
	o.Steps, o.BatchSize, o.LR, o.Warmup, o.Seed = 8, 6, 3e-4, 2, 3
	return experiment.Config{Model: "embedded", Task: j.patching, Supported: []string{j.supported}, Alphas: "0:1:0.5", Select: "mean", Train: o,
		Out: out, KeepFineTuned: true, Engine: j.eng, Threads: j.threads, Kernels: j.eng.Kernels(), Version: "test", Command: "paint patch"}
}

func patch(t *testing.T, cfg experiment.Config) *report.Run {
	t.Helper()
	rec, err := experiment.Patch(context.Background(), cfg, experiment.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// One unbroken run, seen from all sides.
func TestPatch(t *testing.T) {
	j := newJob(t, 2)
	cfg := j.config(filepath.Join(t.TempDir(), "run"))
	rec := patch(t, cfg)
	if maps.Equal(rec.Final.ZeroShot, rec.Final.FineTuned) {
		t.Error("fine-tuning changed no accuracy: these tests see too little")
	}
	t.Run("record", func(t *testing.T) { testRecord(t, j, cfg.Out, rec) })
	t.Run("evaluate", func(t *testing.T) { testEvaluate(t, j, cfg.Out, rec) })
	t.Run("threads", func(t *testing.T) { testThreads(t, j, cfg.Out) })
	t.Run("sweep", func(t *testing.T) { testSweepOfSaved(t, cfg, rec) })
	t.Run("resume", func(t *testing.T) { testResume(t, j, cfg.Out) })
	t.Run("test comes last", func(t *testing.T) { testComesLast(t, j, rec) })
}

// The record that a run leaves is complete, and reads back as what Patch returned.
func testRecord(t *testing.T, j job, out string, rec *report.Run) {
	back, err := report.Read(out)
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*report.Run{"returned": rec, "read back": back} {
		var b bytes.Buffer
		if err := r.Encode(&b); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), read(t, out, "run.json")) {
			t.Errorf("the run as %s is not what run.json holds", name)
		}
	}

	m, err := experiment.OpenModel("embedded")
	if err != nil {
		t.Fatal(err)
	}
	if back.Schema != report.Schema || back.Tool != "paint" || back.Kind != "patch" || back.Version != "test" || back.Command != "paint patch" {
		t.Errorf("header: %d, %q, %q, %q, %q", back.Schema, back.Tool, back.Kind, back.Version, back.Command)
	}
	if back.Started == "" || back.Finished < back.Started {
		t.Errorf("started %q, finished %q", back.Started, back.Finished)
	}
	if back.Model.Hash != m.Hash || back.Model.Name != "embedded" || back.Model.ImageTower <= 0 || back.Model.ImageTower >= back.Model.Parameters {
		t.Errorf("model: %+v", back.Model)
	}
	if back.Seed != 3 || back.Rule != "mean" || back.Machine.Threads != 2 || back.Machine.Kernels != j.eng.Kernels() {
		t.Errorf("seed %d, rule %q, machine %+v", back.Seed, back.Rule, back.Machine)
	}
	for _, k := range []string{"model", "task", "supported", "alphas", "select", "threads", "engine", "steps", "batch_size", "lr", "warmup", "wd",
		"clip_norm", "label_smoothing", "seed", "augment"} {
		if _, ok := back.Config[k]; !ok {
			t.Errorf("config lacks %q", k)
		}
	}
	for _, k := range []string{"heads", "fine_tuning", "reading_validation", "sweep", "test", "writing", "total"} {
		if _, ok := back.Times[k]; !ok {
			t.Errorf("times lack %q", k)
		}
	}
	if !slices.Equal(back.Patching, []string{"colours"}) || !slices.Equal(back.Support, []string{"hues"}) {
		t.Errorf("tasks %q and %q", back.Patching, back.Support)
	}
	for name, want := range map[string]map[string]int{
		"colours": {"train": 32, "validation": 20, "test": 24},
		"hues":    {"train": 24, "validation": 15, "test": 18},
	} {
		task := back.Tasks[name]
		if !maps.Equal(task.N, want) || len(task.Classes) == 0 || len(task.Templates) == 0 || task.Split == "" || len(task.Checksums) == 0 {
			t.Errorf("task %s: %+v", name, task)
		}
		if a := back.Final.Patched[name]; a.N != want["test"] {
			t.Errorf("task %s was tested on %d images, want %d", name, a.N, want["test"])
		}
		if _, ok := back.Final.Difference[name]; !ok {
			t.Errorf("task %s has no difference", name)
		}
	}
	if len(back.Final.Means) != 2 {
		t.Errorf("means: %v", back.Final.Means)
	}
	if len(back.Training) != 8 || back.Training[7].Step != 8 || !(back.Training[7].Loss < back.Training[0].Loss) {
		t.Errorf("training: %+v", back.Training)
	}
	if !(back.Change.L2 > 0 && back.Change.Relative > 0 && back.Change.Cosine < 1) {
		t.Errorf("change: %+v", back.Change)
	}

	grid := []float64{0, 0.5, 1}
	if back.Alpha == nil || !slices.Contains(grid, *back.Alpha) || !strings.Contains(back.Why, fmt.Sprintf("alpha %.2f", *back.Alpha)) {
		t.Errorf("alpha %v (%s), want one of %v", back.Alpha, back.Why, grid)
	}
	for i, p := range back.Curve {
		if i >= len(grid) || p.Alpha != grid[i] || p.Split != "validation" || p.Accuracy["colours"].N != 20 || p.Accuracy["hues"].N != 15 ||
			p.Patching != p.Accuracy["colours"].Top1 || p.Supported != p.Accuracy["hues"].Top1 {
			t.Errorf("point %d: %+v", i, p)
		}
	}
	if len(back.Curve) != len(grid) {
		t.Errorf("%d points, want %d", len(back.Curve), len(grid))
	}
	if _, err := os.Stat(filepath.Join(out, "state")); err == nil {
		t.Error("the state of the finished run is still there")
	}
}

// What a run says of its models is what Evaluate says of them, on validation and on test data.
func testEvaluate(t *testing.T, j job, out string, rec *report.Run) {
	at := func(alpha float64) map[string]report.Accuracy {
		i := slices.IndexFunc(rec.Curve, func(p report.Point) bool { return p.Alpha == alpha })
		return rec.Curve[i].Accuracy
	}
	for _, c := range []struct {
		name, model string
		split       experiment.Split
		want        map[string]report.Accuracy
	}{
		{"alpha 0", "embedded", experiment.Validation, at(0)},
		{"alpha 1", filepath.Join(out, "finetuned"), experiment.Validation, at(1)},
		{"chosen", filepath.Join(out, "patched"), experiment.Validation, at(*rec.Alpha)},
		{"zero-shot", "embedded", experiment.Test, rec.Final.ZeroShot},
		{"fine-tuned", filepath.Join(out, "finetuned"), experiment.Test, rec.Final.FineTuned},
		{"patched", filepath.Join(out, "patched"), experiment.Test, rec.Final.Patched},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := experiment.OpenModel(c.model)
			if err != nil {
				t.Fatal(err)
			}
			rs, err := experiment.Evaluate(context.Background(), j.eng, 2, m, []string{j.patching, j.supported}, "", c.split, experiment.Silent{})
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]report.Accuracy{}
			for _, r := range rs {
				if r.Split != string(c.split) {
					t.Errorf("split %q, want %q", r.Split, c.split)
				}
				got[r.Task] = r.Accuracy
			}
			if !maps.Equal(got, c.want) {
				t.Errorf("Evaluate says %v, the run %v", got, c.want)
			}
		})
	}
}

// Threads change no byte of what is written.
func testThreads(t *testing.T, j job, two string) {
	eng, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	j.eng, j.threads = eng, 1
	one := filepath.Join(t.TempDir(), "run")
	patch(t, j.config(one))
	for _, name := range []string{"results.jsonl", "patched/open_clip_model.safetensors", "finetuned/open_clip_model.safetensors"} {
		if !bytes.Equal(read(t, one, name), read(t, two, name)) {
			t.Errorf("%s differs between one thread and two", name)
		}
	}
}

// Patch is FineTune and then Sweep.
func testSweepOfSaved(t *testing.T, cfg experiment.Config, whole *report.Run) {
	dir := t.TempDir()
	alone := cfg
	alone.Out = filepath.Join(dir, "ft")
	res, err := experiment.FineTune(context.Background(), alone, experiment.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Points) != cfg.Train.Steps || res.Resumed != 0 {
		t.Errorf("%d steps, %d of them resumed", len(res.Points), res.Resumed)
	}
	if !bytes.Equal(read(t, alone.Out, "open_clip_model.safetensors"), read(t, cfg.Out, "finetuned", "open_clip_model.safetensors")) {
		t.Error("FineTune and Patch leave different fine-tuned models")
	}

	sweep := cfg
	sweep.FineTuned, sweep.Out = alone.Out, filepath.Join(dir, "swept")
	// One that is stopped on the way keeps nothing and is simply run again.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if _, err := experiment.Sweep(ctx, sweep, &stopper{at: 40, stop: cancel}); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want %v", err, context.Canceled)
	}
	rec, err := experiment.Sweep(context.Background(), sweep, experiment.Silent{})
	if err != nil {
		t.Fatal(err)
	}
	if rec.Kind != "sweep" || rec.Config["fine_tuned"] != alone.Out || len(rec.Training) != 0 {
		t.Errorf("kind %q, config %v, %d training points", rec.Kind, rec.Config, len(rec.Training))
	}
	if len(rec.Curve) != len(whole.Curve) || *rec.Alpha != *whole.Alpha {
		t.Fatalf("%d points and alpha %g, want %d and %g", len(rec.Curve), *rec.Alpha, len(whole.Curve), *whole.Alpha)
	}
	for i, p := range rec.Curve {
		if p.Alpha != whole.Curve[i].Alpha || !maps.Equal(p.Accuracy, whole.Curve[i].Accuracy) {
			t.Errorf("point %d: %+v, want %+v", i, p, whole.Curve[i])
		}
	}
	if !maps.Equal(rec.Final.Patched, whole.Final.Patched) {
		t.Errorf("test: %v, want %v", rec.Final.Patched, whole.Final.Patched)
	}
}

// curtain is a Progress that calls open when the choice of alpha is announced.
type curtain struct {
	experiment.Silent
	open   func()
	stages []string
	notes  []string
}

func (c *curtain) Stage(name, _ string, _ int) { c.stages = append(c.stages, name) }

func (c *curtain) Note(line string) {
	c.notes = append(c.notes, line)
	if c.open != nil && strings.HasPrefix(line, "alpha ") {
		c.open()
	}
}

// No test image is opened before alpha is chosen: until then they are no images at all.
func testComesLast(t *testing.T, j job, plain *report.Run) {
	dir := t.TempDir()
	hidden := map[string][]byte{}
	for _, task := range []*string{&j.patching, &j.supported} {
		copied := filepath.Join(dir, filepath.Base(*task))
		if err := os.CopyFS(copied, os.DirFS(*task)); err != nil {
			t.Fatal(err)
		}
		*task = copied
		files, err := filepath.Glob(filepath.Join(copied, "test", "*", "*.png"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			hidden[f] = read(t, f)
			if err := os.WriteFile(f, []byte("not an image"), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(hidden) != 24+18 {
		t.Fatalf("%d test images", len(hidden))
	}

	// They stay hidden: everything up to the choice works, the test fails and nothing has a final name.
	ui, out := &curtain{}, filepath.Join(dir, "failed")
	_, err := experiment.Patch(context.Background(), j.config(out), ui)
	if err == nil || !strings.Contains(err.Error(), ".png") {
		t.Errorf("error %v, want one about a test image", err)
	}
	if len(ui.notes) != 1 || ui.notes[0] != plain.Why {
		t.Errorf("notes %q, want %q", ui.notes, plain.Why)
	}
	if got := ui.stages[len(ui.stages)-1]; got != "reading test images" {
		t.Errorf("failed in stage %q", got)
	}
	for _, name := range []string{"run.json", "results.jsonl", "patched", "finetuned", "README.md", "report.html"} {
		if _, err := os.Stat(filepath.Join(out, name)); err == nil {
			t.Errorf("a failed run left %s", name)
		}
	}

	// They come back with the choice, and the unfinished run goes on to the end.
	ui = &curtain{open: func() {
		for f, b := range hidden {
			if err := os.WriteFile(f, b, 0o666); err != nil {
				t.Error(err)
			}
		}
	}}
	cfg := j.config(out)
	cfg.Resume = true
	rec, err := experiment.Patch(context.Background(), cfg, ui)
	if err != nil {
		t.Fatal(err)
	}
	if *rec.Alpha != *plain.Alpha || !maps.Equal(rec.Final.Patched, plain.Final.Patched) || !maps.Equal(rec.Final.ZeroShot, plain.Final.ZeroShot) {
		t.Errorf("alpha %g and test %v, want %g and %v", *rec.Alpha, rec.Final.Patched, *plain.Alpha, plain.Final.Patched)
	}
	want := []string{"fine-tuning on colours", "reading validation images", "sweeping 3 alphas", "reading test images", "testing"}
	if !slices.Equal(ui.stages, want) {
		t.Errorf("stages %q, want %q", ui.stages, want)
	}
}

// Options that make no sense and directories in use are refused before anything is written.
func TestPatchRefuses(t *testing.T) {
	j, dir := newJob(t, 1), t.TempDir()
	without := func(name string, parts ...string) string {
		task := filepath.Join(dir, name)
		if err := os.CopyFS(task, os.DirFS(j.patching)); err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			if err := os.RemoveAll(filepath.Join(task, p)); err != nil {
				t.Fatal(err)
			}
		}
		return task
	}
	evalOnly, testOnly := without("evalonly", "train"), without("testonly", "train", "validation")
	for _, c := range []struct {
		name, want string
		set        func(c *experiment.Config)
	}{
		{"alphas", `parsing alphas "0:2:1"`, func(c *experiment.Config) { c.Alphas = "0:2:1" }},
		{"rule", `parsing rule "best"`, func(c *experiment.Config) { c.Select = "best" }},
		{"steps", "steps is 0", func(c *experiment.Config) { c.Train.Steps = 0 }},
		{"model", `nowhere`, func(c *experiment.Config) { c.Model = filepath.Join(dir, "nowhere") }},
		{"task", `nowhere`, func(c *experiment.Config) { c.Task = filepath.Join(dir, "nowhere") }},
		{"twice", `task "colours" is named twice`, func(c *experiment.Config) { c.Supported = []string{c.Task} }},
		{"no directory", "no run directory", func(c *experiment.Config) { c.Out = "" }},
		{"no train part", `task "evalonly" has no train part`, func(c *experiment.Config) { c.Task = evalOnly }},
		{"no validation part", `task "testonly" has no validation part`, func(c *experiment.Config) { c.Supported = []string{testOnly} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := j.config(filepath.Join(t.TempDir(), "run"))
			c.set(&cfg)
			_, err := experiment.Patch(context.Background(), cfg, experiment.Silent{})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want one line with %q", err, c.want)
			}
			if cfg.Out != "" {
				if _, err := os.Stat(cfg.Out); err == nil {
					t.Error("the run directory was made")
				}
			}
		})
	}
	t.Run("finished", func(t *testing.T) {
		cfg := j.config(t.TempDir())
		if err := os.WriteFile(filepath.Join(cfg.Out, "run.json"), []byte("{}"), 0o666); err != nil {
			t.Fatal(err)
		}
		for _, cfg.Resume = range []bool{false, true} {
			if _, err := experiment.Patch(context.Background(), cfg, experiment.Silent{}); !errors.Is(err, experiment.ErrExists) {
				t.Errorf("resume %v: error %v, want ErrExists", cfg.Resume, err)
			}
		}
		if got := string(read(t, cfg.Out, "run.json")); got != "{}" {
			t.Errorf("run.json became %q", got)
		}
	})
	t.Run("somebody's models", func(t *testing.T) {
		cfg := j.config(t.TempDir())
		theirs := filepath.Join(cfg.Out, "patched")
		if err := os.Mkdir(theirs, 0o777); err != nil {
			t.Fatal(err)
		}
		_, err := experiment.Patch(context.Background(), cfg, experiment.Silent{})
		if !errors.Is(err, experiment.ErrExists) || !strings.Contains(err.Error(), "patched exists already") {
			t.Errorf("error %v, want ErrExists", err)
		}
		if _, err := os.Stat(theirs); err != nil {
			t.Error(err)
		}
	})
	t.Run("unfinished", func(t *testing.T) {
		cfg := j.config(t.TempDir())
		if err := os.Mkdir(filepath.Join(cfg.Out, "state"), 0o777); err != nil {
			t.Fatal(err)
		}
		if _, err := experiment.Patch(context.Background(), cfg, experiment.Silent{}); !errors.Is(err, experiment.ErrExists) {
			t.Errorf("error %v, want ErrExists", err)
		}
		// A sweep has nothing of its own to go on with, and leaves what others have.
		cfg.FineTuned = "embedded"
		kept := filepath.Join(cfg.Out, "state", "checkpoint.safetensors")
		if err := os.WriteFile(kept, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		for _, cfg.Resume = range []bool{false, true} {
			if _, err := experiment.Sweep(context.Background(), cfg, experiment.Silent{}); !errors.Is(err, experiment.ErrExists) {
				t.Errorf("sweep: error %v, want ErrExists", err)
			}
		}
		if _, err := os.Stat(kept); err != nil {
			t.Error(err)
		}
	})
}

// A run that is stopped in the middle of fine-tuning goes on where it was, to the same bytes.
func testResume(t *testing.T, j job, whole string) {
	broken := j.config(filepath.Join(t.TempDir(), "run"))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if _, err := experiment.Patch(ctx, broken, &stopper{at: 5, stop: cancel}); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want %v", err, context.Canceled)
	}
	broken.Resume = true
	ui := &curtain{}
	if _, err := experiment.Patch(context.Background(), broken, ui); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(ui.notes, "resumed after step 5 of 8") {
		t.Errorf("notes %q", ui.notes)
	}
	for _, name := range []string{"results.jsonl", "patched/open_clip_model.safetensors"} {
		if !bytes.Equal(read(t, whole, name), read(t, broken.Out, name)) {
			t.Errorf("%s differs from an unbroken run's", name)
		}
	}
}

// stopper is a Progress that calls stop after a step of fine-tuning.
type stopper struct {
	experiment.Silent
	at   int
	stop func()
}

func (s *stopper) Update(done int, _ string) {
	if done == s.at {
		s.stop()
	}
}

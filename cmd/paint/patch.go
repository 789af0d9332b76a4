package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"paint"
	"paint/embedded"
	"paint/experiment"
	"paint/report"
	"paint/train"
)

// jobFlags are the flags of the verbs that fine-tune or sweep.
type jobFlags struct {
	engineFlags
	model, task, supported, data string
	alphas, rule, strategy       string
	train                        train.Options
	out                          string
	resume, json, quiet, keep    bool
}

func (f *jobFlags) common(c *cobra.Command) {
	f.engineFlags.add(c)
	modelFlag(c, &f.model)
	dataFlag(c, &f.data)
	jsonFlag(c, &f.json)
	quietFlag(c, &f.quiet)
	c.Flags().StringVar(&f.task, "task", "", "the patching task: a name that \"paint datasets\" lists, or a path")
	c.Flags().StringVar(&f.out, "out", "", "directory to write (default: a new one named after the task)")
}

func (f *jobFlags) addTraining(c *cobra.Command) {
	p := train.Paper()
	c.Flags().IntVar(&f.train.Steps, "steps", p.Steps, "optimizer steps")
	c.Flags().IntVar(&f.train.BatchSize, "batch-size", p.BatchSize, "images a step")
	c.Flags().Float64Var(&f.train.LR, "lr", p.LR, "peak learning rate")
	c.Flags().IntVar(&f.train.Warmup, "warmup", p.Warmup, "steps of linear warm-up, before the cosine (at most a tenth of --steps unless given)")
	c.Flags().Float64Var(&f.train.WeightDecay, "wd", p.WeightDecay, "decoupled weight decay of AdamW")
	c.Flags().Float64Var(&f.train.ClipNorm, "clip-norm", p.ClipNorm, "largest global gradient norm (0: no limit)")
	c.Flags().Float64Var(&f.train.LabelSmoothing, "label-smoothing", p.LabelSmoothing, "label smoothing")
	c.Flags().StringVar(&f.train.Augment, "augment", p.Augment, "random views in training: "+strings.Join(train.Augmentations, ", "))
	c.Flags().Uint64Var(&f.train.Seed, "seed", 0, "seed of everything random")
	c.Flags().BoolVar(&f.resume, "resume", false, "go on with an interrupted run in --out")
}

func (f *jobFlags) addSweep(c *cobra.Command) {
	c.Flags().StringVar(&f.supported, "supported", "", "tasks whose accuracy is to be kept, separated by commas (default for the embedded model: its eight)")
	c.Flags().StringVar(&f.alphas, "alphas", "0:1:0.05", "alphas to try: first:last:step, or a list")
	c.Flags().StringVar(&f.rule, "select", "max-drop=1.0", "rule: mean, or max-drop=X (percentage points of the mean supported accuracy)")
}

// recipe fills in what no flag says: the embedded model's own defaults, since it is three orders of magnitude smaller
// than the models that the paper's recipe was made for, and a warm-up that fits a run shorter than the default one.
func (f *jobFlags) recipe(c *cobra.Command) {
	set := c.Flags().Changed
	if f.model == "embedded" {
		e := experiment.EmbeddedRecipe()
		if !set("steps") {
			f.train.Steps = e.Steps
		}
		if !set("batch-size") {
			f.train.BatchSize = e.BatchSize
		}
		if !set("lr") {
			f.train.LR = e.LR
		}
		if !set("warmup") {
			f.train.Warmup = e.Warmup
		}
		if !set("augment") {
			f.train.Augment = e.Augment
		}
	}
	if !set("warmup") && f.train.Warmup > f.train.Steps/10 {
		f.train.Warmup = f.train.Steps / 10
	}
}

// config turns the flags into a job and starts the engine.
func (f *jobFlags) config(c *cobra.Command) (experiment.Config, func(), error) {
	if f.task == "" {
		return experiment.Config{}, nil, usagef("%s: --task is missing (see paint %s --help)", c.Name(), c.Name())
	}
	if tasks := splitList(f.task); len(tasks) > 1 && f.strategy != "" {
		return experiment.Config{}, nil, usagef("%s: --task names %d tasks, this version patches one at a time", c.Name(), len(tasks))
	}
	if f.strategy != "" && !slices.Contains([]string{"joint", "sequential", "parallel"}, f.strategy) {
		return experiment.Config{}, nil, usagef("%s: --strategy is %q, want joint, sequential or parallel", c.Name(), f.strategy)
	}
	f.recipe(c)
	if err := f.check(c); err != nil {
		return experiment.Config{}, nil, err
	}
	supported := splitList(f.supported)
	if f.model == "embedded" && !c.Flags().Changed("supported") {
		supported = slices.DeleteFunc(embedded.Supported(), func(s string) bool { return s == f.task })
	}
	if f.out == "" {
		if f.resume {
			return experiment.Config{}, nil, usagef("%s: --resume needs --out, the directory of the interrupted run", c.Name())
		}
		f.out = freeName("paint-" + c.Name() + "-" + experiment.TaskName(f.task))
	}
	eng, err := f.open()
	if err != nil {
		return experiment.Config{}, nil, err
	}
	return experiment.Config{
		Model: f.model, Task: f.task, Supported: supported, DataDir: f.data, Alphas: f.alphas, Select: f.rule, Train: f.train,
		Out: f.out, Resume: f.resume, KeepFineTuned: f.keep,
		Engine: eng, Threads: f.threads, Kernels: eng.Kernels(), Version: version, Command: commandLine(),
	}, func() { eng.Close() }, nil
}

// check refuses values of flags that make no sense, before anything is opened.
func (f *jobFlags) check(c *cobra.Command) error {
	if _, err := paint.Alphas(f.alphas); err != nil {
		return usagef("%s: --alphas: %w", c.Name(), err)
	}
	if _, err := paint.ParseRule(f.rule); err != nil {
		return usagef("%s: --select: %w", c.Name(), err)
	}
	if c.Flags().Lookup("steps") != nil {
		if err := f.train.Check(); err != nil {
			return usagef("%s: %w", c.Name(), err)
		}
	}
	return nil
}

func patchCmd() *cobra.Command {
	var f jobFlags
	paper, small := train.Paper(), experiment.EmbeddedRecipe()
	c := &cobra.Command{
		Use:   "patch --task TASK [flags]",
		Short: "Fine-tune, interpolate, choose alpha on validation data, test, write a run directory",
		Long: fmt.Sprintf(`patch is the main job. It fine-tunes the image tower of a model on a task with the head frozen to the text tower's
class embeddings, interpolates between the weights before and after, chooses alpha on validation data, reads the test
data once for the two ends and the chosen alpha, and writes a run directory: run.json, results.jsonl, patched/ (a
complete model in the layout of the input), README.md (model card) and report.html.

Defaults are the paper's recipe (%d steps of %d, learning rate %g); for the embedded model, which is far smaller, %d steps
of %d at %g.`, paper.Steps, paper.BatchSize, paper.LR, small.Steps, small.BatchSize, small.LR),
		Example: "  paint patch --task mnist\n  paint patch --model ./clip-vit-base-patch32 --task ./my-images --supported ./cifar10,./food --out run",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.runPatch(c)
		},
	}
	f.common(c)
	f.addTraining(c)
	f.addSweep(c)
	c.Flags().StringVar(&f.strategy, "strategy", "joint", "how several tasks are patched: joint, sequential, parallel (the same for one task)")
	c.Flags().BoolVar(&f.keep, "keep-finetuned", false, "leave the fine-tuned model in OUT/finetuned as well")
	return c
}

func (f *jobFlags) runPatch(c *cobra.Command) error {
	cfg, done, err := f.config(c)
	if err != nil {
		return err
	}
	defer done()
	ui := newProgress(c, f.quiet)
	rec, err := experiment.Patch(c.Context(), cfg, ui)
	ui.close()
	if err != nil {
		return err
	}
	return f.print(c, rec, cfg.Out)
}

// print shows the result: a table for people, or the object of the contract.
func (f *jobFlags) print(c *cobra.Command, rec *report.Run, out string) error {
	if f.json {
		return printJSON(c, summary(rec, out))
	}
	w := c.OutOrStdout()
	if err := report.Table(w, rec); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%.1f s, peak memory %d MiB. Run directory: %s (report.html, patched/)\n", rec.Times["total"], rec.PeakRSS>>20, out)
	return err
}

// summary is the JSON object of patch, demo and sweep.
func summary(r *report.Run, out string) map[string]any {
	top1 := func(m map[string]report.Accuracy) map[string]float64 {
		t := map[string]float64{}
		for k, v := range m {
			t[k] = v.Top1
		}
		return t
	}
	var curve []map[string]any
	for _, p := range r.Curve {
		row := map[string]any{"alpha": p.Alpha, "split": p.Split}
		for k, v := range p.Accuracy {
			row[k] = v.Top1
		}
		curve = append(curve, row)
	}
	supported := r.Support
	if supported == nil {
		supported = []string{}
	}
	return map[string]any{
		"alpha": r.Alpha, "rule": r.Rule, "why": r.Why, "patching": r.Patching, "supported": supported,
		"zero_shot": top1(r.Final.ZeroShot), "fine_tuned": top1(r.Final.FineTuned), "patched": top1(r.Final.Patched),
		"means": r.Final.Means, "difference": r.Final.Difference,
		"curve": curve, "seconds": r.Times["total"], "peak_rss_bytes": r.PeakRSS, "run_dir": out,
	}
}

package experiment

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"paint/clip"
	"paint/dataset"
	"paint/eval"
	"paint/preprocess"
	"paint/report"
)

// Split names a part of a task.
type Split string

// The splits.
const (
	Train      Split = "train"
	Validation Split = "validation"
	Test       Split = "test"
)

func part(t *dataset.Task, s Split) (dataset.Part, error) {
	p := map[Split]dataset.Part{Train: t.Train, Validation: t.Validation, Test: t.Test}[s]
	if p == nil || p.Len() == 0 {
		return nil, fmt.Errorf("task %q has no %s part", t.Name, s)
	}
	return p, nil
}

// evalTask is a task with its frozen head.
type evalTask struct {
	*dataset.Task
	head []float32
}

// evaluator measures the weights that its encoder holds, over tasks whose images it prepares once a split.
type evaluator struct {
	cfg     clip.Config
	enc     clip.Encoder
	tr      preprocess.Transform
	tasks   []evalTask
	threads int
	images  map[Split][]*eval.Images
	n       map[Split]int
}

// newEvaluator builds the heads with the text tower of m.
func newEvaluator(ctx context.Context, eng clip.Engine, threads int, m *clip.Model, tasks []*dataset.Task) (*evaluator, error) {
	enc, tok, scale, err := towers(eng, m)
	if err != nil {
		return nil, err
	}
	e := &evaluator{cfg: m.Config, enc: enc, tr: TransformOf(m.Config), threads: threads, images: map[Split][]*eval.Images{}, n: map[Split]int{}}
	for _, t := range tasks {
		head, err := eval.Head(ctx, enc, tok, m.Config, t.Classes, t.Templates, scale)
		if err != nil {
			return nil, fmt.Errorf("task %q: %w", t.Name, err)
		}
		e.tasks = append(e.tasks, evalTask{t, head})
	}
	return e, nil
}

// prepare decodes the images of a split of every task.
func (e *evaluator) prepare(ctx context.Context, s Split, ui Progress) error {
	total := 0
	parts := make([]dataset.Part, len(e.tasks))
	for i, t := range e.tasks {
		p, err := part(t.Task, s)
		if err != nil {
			return err
		}
		parts[i] = p
		total += p.Len()
	}
	ui.Stage("reading "+string(s)+" images", "images", total)
	before := 0
	for i, t := range e.tasks {
		im, err := eval.Prepare(ctx, parts[i], e.tr, e.threads, func(done, _ int) { ui.Update(before+done, t.Name) })
		if err != nil {
			return err
		}
		before += parts[i].Len()
		e.images[s] = append(e.images[s], im)
	}
	e.n[s] = total
	return nil
}

// release forgets the images of a split.
func (e *evaluator) release(s Split) { delete(e.images, s) }

// outcome is what a model did on one task.
type outcome struct {
	correct []bool
	groups  []int
	acc     eval.Accuracy
}

// measure classifies a prepared split with the encoder's present weights.
func (e *evaluator) measure(ctx context.Context, s Split, progress func(done int)) (map[string]outcome, error) {
	out := make(map[string]outcome, len(e.tasks))
	before := 0
	for i, t := range e.tasks {
		im := e.images[s][i]
		f, err := eval.Features(ctx, e.enc, e.cfg.EmbedDim, im, e.tr, func(done, _ int) { progress(before + done) })
		if err != nil {
			return nil, fmt.Errorf("task %q: %w", t.Name, err)
		}
		before += im.Len()
		c := eval.Correct(eval.Predict(f, t.head, e.cfg.EmbedDim), im.Labels)
		out[t.Name] = outcome{c, im.Groups, eval.Score(c, im.Groups)}
	}
	return out, nil
}

func accuracy(a eval.Accuracy) report.Accuracy {
	return report.Accuracy{Top1: a.Top1, N: a.N, CI95: a.CI95}
}

func accuracies(m map[string]outcome) map[string]report.Accuracy {
	out := make(map[string]report.Accuracy, len(m))
	for k, v := range m {
		out[k] = accuracy(v.acc)
	}
	return out
}

func meanOf(m map[string]outcome, names []string) eval.Accuracy {
	as := make([]eval.Accuracy, len(names))
	for i, n := range names {
		as[i] = m[n].acc
	}
	return eval.MeanAccuracy(as)
}

// final compares the unpatched, fine-tuned and patched model on the test split.
func final(zs, ft, patched map[string]outcome, patching, supported []string) report.Final {
	f := report.Final{ZeroShot: accuracies(zs), FineTuned: accuracies(ft), Patched: accuracies(patched),
		Difference: map[string]report.Difference{}, Means: map[string]report.Means{}}
	diff := map[string]eval.Difference{}
	for _, k := range slices.Sorted(maps.Keys(zs)) {
		d := eval.Paired(zs[k].correct, patched[k].correct, zs[k].groups)
		diff[k] = d
		f.Difference[k] = report.Difference{Value: d.Value, CI95: d.CI95}
	}
	for kind, names := range map[string][]string{"patching": patching, "supported": supported} {
		if len(names) == 0 {
			continue
		}
		ds := make([]eval.Difference, len(names))
		for i, n := range names {
			ds[i] = diff[n]
		}
		d := eval.MeanDifference(ds)
		f.Means[kind] = report.Means{ZeroShot: accuracy(meanOf(zs, names)), FineTuned: accuracy(meanOf(ft, names)),
			Patched: accuracy(meanOf(patched, names)), Difference: report.Difference{Value: d.Value, CI95: d.CI95}}
	}
	return f
}

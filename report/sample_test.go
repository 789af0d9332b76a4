package report

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// wilson is the 95 % interval of a proportion.
func wilson(p float64, n int) [2]float64 {
	const z = 1.959963984540054
	m := float64(n)
	mid := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return [2]float64{math.Max(0, mid-half), math.Min(1, mid+half)}
}

func accuracy(p float64, n int) Accuracy {
	p = math.Round(p*float64(n)) / float64(n)
	return Accuracy{Top1: p, N: n, CI95: wilson(p, n)}
}

func round(v float64, digits int) float64 {
	k := math.Pow10(digits)
	return math.Round(v*k) / k
}

// sample is a run made up by formula: the patching task rises along a logistic curve of alpha, supported tasks fall
// slowly, then fast. It stands for no measurement.
func sample() *Run {
	supported := []struct {
		name     string
		zs, fall float64
		classes  int
	}{
		{"fashion_mnist", 0.671, 0.42, 10}, {"cifar10", 0.898, 0.48, 10}, {"cifar100", 0.642, 0.36, 100}, {"eurosat", 0.452, 0.24, 10},
		{"shapes", 0.943, 0.31, 8}, {"textures", 0.441, 0.12, 47}, {"traffic_signs", 0.325, 0.08, 43}, {"letters", 0.588, -0.07, 26},
	}
	patch := func(a float64) float64 { return 0.484 + 0.512*(1-math.Exp(-6.2*a*a-2.1*a))/(1-math.Exp(-8.3)) }
	keep := func(zs, fall, a float64) float64 { return zs - fall*math.Pow(a, 3.1) + 0.012*math.Sin(math.Pi*a) }
	run := &Run{
		Schema: Schema, Tool: "paint", Version: "0.1.0", Kind: "patch", Started: "2026-03-14T09:26:53Z", Finished: "2026-03-14T09:29:12Z",
		Seed: 18446744073709551615, Rule: "max-drop=1.0", Patching: []string{"mnist"}, Tasks: map[string]Task{},
		Model: Model{Name: "ViT-B-32/openai", Layout: "openclip", Hash: strings.Repeat("40d365715913c9da", 4), Parameters: 151277313,
			ImageTower: 87849216, ImageSize: 224, EmbedDim: 512, License: "mit"},
		Config: map[string]any{"alphas": "0:1:0.05", "batch_size": 128, "compute": "f32", "lr": 1e-5, "select": "max-drop=1.0", "steps": 2000,
			"supported": []any{"fashion_mnist", "cifar10"}, "warmup": 200, "weight_decay": 0.1, "augment": map[string]any{"crop": true, "scale": []any{0.9, 1.0}}},
		Times:   map[string]float64{"load": 1.62, "fine_tune": 97.4, "features": 21.3, "sweep": 17.9, "report": 0.041, "total": 138.9},
		PeakRSS: 1771044864, Machine: Machine{OS: "linux", Arch: "amd64", CPU: "Example Core 9", Kernels: "avx512", Threads: 2},
		Change: Change{L2: 4.8123, Relative: 0.0123, Cosine: 0.999924}, Command: "paint patch --task mnist --supported fashion_mnist,cifar10,cifar100,eurosat,shapes,textures,traffic_signs,letters --model ViT-B-32/openai --select max-drop=1.0 --seed 18446744073709551615 --out run",
	}
	task := func(name string, classes, test int) Task {
		t := Task{Source: "data/" + name, Split: "a tenth of train, at most 5000 images, seed 0", N: map[string]int{"train": 9 * test / 2, "validation": test / 2, "test": test},
			Checksums: map[string]string{name + "-test.parquet": strings.Repeat("9f86d081884c7d65", 4), name + "-train.parquet": strings.Repeat("2cf24dba5fb0a30e", 4)}}
		for i := range classes {
			t.Classes = append(t.Classes, fmt.Sprintf("%s %d", strings.ReplaceAll(name, "_", " "), i))
		}
		t.Templates = []string{"a photo of a {}.", "a blurry photo of a {}."}
		return t
	}
	const n = 10000
	digits := task("mnist", 10, n)
	digits.Classes, digits.License = strings.Fields("0 1 2 3 4 5 6 7 8 9"), "CC BY-SA 3.0"
	digits.Templates = []string{`a photo of the number: "{}".`}
	run.Tasks["mnist"] = digits
	for _, s := range supported {
		run.Support = append(run.Support, s.name)
		run.Tasks[s.name] = task(s.name, s.classes, n/2)
	}
	means := func(a float64, val bool, m int) (map[string]Accuracy, float64, float64) {
		shift := 0.0
		if val { // validation and test differ a little
			shift = 0.004
		}
		acc := map[string]Accuracy{"mnist": accuracy(patch(a)-shift/4, m)}
		var sum float64
		for _, s := range supported {
			acc[s.name] = accuracy(keep(s.zs, s.fall, a)+shift, m/2)
			sum += acc[s.name].Top1
		}
		return acc, acc["mnist"].Top1, round(sum/float64(len(supported)), 6)
	}
	for i := 0; i <= 20; i++ {
		a := float64(i) / 20
		acc, p, s := means(a, true, n/2)
		run.Curve = append(run.Curve, Point{Alpha: a, Split: "validation", Accuracy: acc, Patching: p, Supported: s})
		if drop := 100 * (run.Curve[0].Supported - s); drop <= 1 {
			best := a
			run.Alpha = &best
		}
	}
	zs, zp, zm := means(0, false, n)
	ft, _, fm := means(1, false, n)
	pt, pp, pm := means(*run.Alpha, false, n)
	diff := func(a, b float64, m int) Difference {
		half := 1.96 * math.Sqrt((math.Abs(a-b)+0.02)/float64(m))
		return Difference{Value: round(b-a, 6), CI95: [2]float64{round(b-a-half, 6), round(b-a+half, 6)}}
	}
	mean := func(v float64) Accuracy {
		return Accuracy{Top1: v, N: 8 * n / 2, CI95: [2]float64{round(v-0.0046, 6), round(v+0.0046, 6)}}
	}
	run.Final = Final{ZeroShot: zs, FineTuned: ft, Patched: pt, Difference: map[string]Difference{}, Means: map[string]Means{
		"patching":  {ZeroShot: zs["mnist"], FineTuned: ft["mnist"], Patched: pt["mnist"], Difference: diff(zp, pp, n)},
		"supported": {ZeroShot: mean(zm), FineTuned: mean(fm), Patched: mean(pm), Difference: diff(zm, pm, 8*n)},
	}}
	for name := range zs {
		run.Final.Difference[name] = diff(zs[name].Top1, pt[name].Top1, zs[name].N)
	}
	run.Why = fmt.Sprintf("Alpha %.2f has the best patching accuracy on validation among the alphas that lose at most 1.0 points of the supported mean: mnist %.1f %% (zero-shot %.1f %%), supported mean %.1f %% (zero-shot %.1f %%).",
		*run.Alpha, 100*run.Curve[int(*run.Alpha*20+0.5)].Patching, 100*run.Curve[0].Patching, 100*run.Curve[int(*run.Alpha*20+0.5)].Supported, 100*run.Curve[0].Supported)
	for step := 0; step <= 2000; step += 20 {
		x := float64(step)
		lr := 1e-5 * math.Min(1, (x+1)/200)
		if step > 200 {
			lr = 0.5e-5 * (1 + math.Cos(math.Pi*(x-200)/1800))
		}
		run.Training = append(run.Training, TrainPoint{Step: step, Loss: round(0.06+1.9*math.Exp(-x/180)+0.05*math.Abs(math.Sin(x))*math.Exp(-x/900), 5),
			LR: round(lr, 9), GradNorm: round(0.8+4*math.Exp(-x/300), 4)})
	}
	return run
}

// several is a joint run on three patching tasks with the grid 0, 0.1, ..., 1 and the other layout.
func several() *Run {
	run := sample()
	run.Patching = []string{"mnist", "svhn", "gtsrb"}
	run.Support = run.Support[:4]
	run.Model.Name, run.Model.Layout, run.Model.License = "hf-hub:example-org/clip-tiny@main", "hf", ""
	keep := map[string]bool{"mnist": true}
	for _, s := range run.Support {
		keep[s] = true
	}
	extra := map[string]float64{"svhn": -0.12, "gtsrb": -0.2}
	fix := func(m map[string]Accuracy) (p, s float64) {
		for name := range m {
			if !keep[name] && extra[name] == 0 {
				delete(m, name)
			}
		}
		for name, d := range extra {
			m[name] = accuracy(m["mnist"].Top1+d, 8000)
		}
		for _, name := range run.Patching {
			p += m[name].Top1 / 3
		}
		for _, name := range run.Support {
			s += m[name].Top1 / 4
		}
		return round(p, 6), round(s, 6)
	}
	var curve []Point
	for i := 0; i < len(run.Curve); i += 2 {
		p := run.Curve[i]
		p.Patching, p.Supported = fix(p.Accuracy)
		curve = append(curve, p)
	}
	run.Curve = curve
	a := 0.4
	run.Alpha, run.Rule = &a, "mean"
	run.Why = "Alpha 0.40 has the best mean of supported and patching accuracy on validation."
	run.Final.Means = nil // an older record: means follow from the tasks, without intervals
	fix(run.Final.ZeroShot)
	fix(run.Final.FineTuned)
	fix(run.Final.Patched)
	for name := range run.Final.Difference {
		if !keep[name] {
			delete(run.Final.Difference, name)
		}
	}
	return run
}

// degenerate runs: what a report must survive.
func degenerate() map[string]*Run {
	runs := map[string]*Run{"empty": {Schema: Schema}}
	one := sample()
	one.Curve = one.Curve[:1]
	one.Final, one.Alpha, one.Training = Final{}, nil, one.Training[:1]
	runs["one point"] = one
	same := sample()
	for i := range same.Curve {
		same.Curve[i].Accuracy = same.Curve[0].Accuracy
		same.Curve[i].Patching, same.Curve[i].Supported = same.Curve[0].Patching, same.Curve[0].Supported
	}
	runs["identical values"] = same
	cut := sample()
	cut.Curve = cut.Curve[:12] // stops before alpha 1
	cut.Final.FineTuned, cut.Final.Means = nil, nil
	runs["no fine-tuned end"] = cut
	ends := sample()
	zero := 0.0
	ends.Alpha, ends.Final.Patched = &zero, ends.Final.ZeroShot
	runs["zero-shot kept"] = ends
	tuned := sample()
	full := 1.0
	tuned.Alpha, tuned.Final.Patched = &full, tuned.Final.FineTuned
	runs["fine-tuned chosen"] = tuned
	alone := sample()
	alone.Support = nil
	runs["no supported task"] = alone
	sweep := sample()
	sweep.Kind, sweep.Alpha, sweep.Why, sweep.Rule, sweep.Final, sweep.Training = "sweep", nil, "", "", Final{}, nil
	runs["sweep without choice"] = sweep
	perfect := sample()
	for i := range perfect.Curve {
		perfect.Curve[i].Patching, perfect.Curve[i].Supported = 1, 1
		perfect.Curve[i].Accuracy = map[string]Accuracy{"mnist": {Top1: 1, N: 10, CI95: [2]float64{0.7, 1}}, "cifar10": {Top1: 0, N: 10, CI95: [2]float64{0, 0.3}}}
	}
	runs["perfect"] = perfect
	huge := sample() // values so large that their neighbours are far away
	huge.Training = []TrainPoint{{Step: math.MaxInt, Loss: -maxLoss, LR: 1, GradNorm: 1}}
	runs["huge loss"] = huge
	wide := sample()
	wide.Curve[0].Alpha, wide.Curve[20].Alpha = -maxAlpha, maxAlpha
	wide.Training = []TrainPoint{{Step: math.MinInt, Loss: maxLoss}, {Step: math.MaxInt, Loss: -maxLoss}}
	runs["wide range"] = wide
	many := sample()
	for i := range 60 {
		many.Support = append(many.Support, fmt.Sprintf("task-%02d-with-a-rather-long-name", i))
	}
	for i := range many.Curve {
		for k, name := range many.Support[8:] {
			many.Curve[i].Accuracy[name] = accuracy(math.Max(0, 0.9-0.01*float64(k)-0.2*many.Curve[i].Alpha), 100)
		}
	}
	runs["many tasks"] = many
	return runs
}

// golden compares got with a file of testdata, or writes it with -update.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		g, w := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
		for i := range g {
			if i >= len(w) || !bytes.Equal(g[i], w[i]) {
				t.Fatalf("%s differs at line %d (go test -update rewrites it):\ngot  %.300s", name, i+1, g[i])
			}
		}
		t.Fatalf("%s is longer than what was made now: %d lines, got %d", name, len(w), len(g))
	}
}

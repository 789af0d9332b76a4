package experiment

import (
	"bufio"
	"encoding/json"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"

	"paint/clip"
	"paint/dataset"
	"paint/embedded"
	"paint/report"
)

func round3(x float64) float64 { return math.Round(x*1000) / 1000 }

// configMap lists every option of the run as resolved.
func configMap(c Config, kind string) map[string]any {
	m := map[string]any{"model": c.Model, "task": c.Task, "supported": strings.Join(c.Supported, ","), "alphas": c.Alphas, "select": c.Select,
		"threads": c.Threads, "engine": c.Engine.Name()}
	if kind == "sweep" {
		m["fine_tuned"] = c.FineTuned
		return m
	}
	b, _ := json.Marshal(c.Train) // plain numbers and strings
	_ = json.Unmarshal(b, &m)     // adds the training options beside the others
	return m
}

func describe(ref string, m *clip.Model) report.Model {
	r := report.Model{Name: ref, Layout: string(m.Layout), Hash: m.Hash, ImageSize: m.Config.Vision.ImageSize, EmbedDim: m.Config.EmbedDim}
	if r.Name == "" {
		r.Name = "embedded"
	}
	for t := range m.Weights.All() {
		r.Parameters += t.Len()
		if strings.HasPrefix(t.Name, "visual.") {
			r.ImageTower += t.Len()
		}
	}
	return r
}

func describeTask(t *dataset.Task) report.Task {
	r := report.Task{Classes: t.Classes, Templates: t.Templates, Source: t.Source, N: map[string]int{}, Checksums: t.Checksums, Split: t.Split}
	if t.Source == "embedded" {
		for _, i := range embedded.Tasks() {
			if i.Name == t.Name {
				r.License = i.Licence
			}
		}
	} else if k, ok := dataset.Known(t.Name); ok {
		r.License = k.Licence
	}
	for s, p := range map[Split]dataset.Part{Train: t.Train, Validation: t.Validation, Test: t.Test} {
		if p != nil {
			r.N[string(s)] = p.Len()
		}
	}
	return r
}

func machine(c Config) report.Machine {
	return report.Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPU: cpuName(), Kernels: c.Kernels, Threads: c.Threads}
}

// cpuName is the processor's name where the system tells it in a file, else empty.
func cpuName() string {
	return procValue("/proc/cpuinfo", "model name")
}

// PeakRSS is the largest resident memory that the process has had, in bytes; 0 where the system does not say.
func PeakRSS() int64 {
	kb, err := strconv.ParseInt(strings.TrimSuffix(procValue("/proc/self/status", "VmHWM"), " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return kb << 10
}

// procValue returns what follows "key:" in a file of such lines.
func procValue(path, key string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"paint/cpu"
)

// engineFlags are the flags of verbs that run a model.
type engineFlags struct {
	engine  string
	threads int
}

func (f *engineFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.engine, "engine", "cpu", "what runs the model: cpu")
	c.Flags().IntVar(&f.threads, "threads", runtime.GOMAXPROCS(0), "threads to use")
}

// open starts the engine; close it when done.
func (f *engineFlags) open() (*cpu.Engine, error) {
	if f.engine != "cpu" {
		return nil, usagef("--engine is %q, this binary has: cpu", f.engine)
	}
	if f.threads < 1 {
		return nil, usagef("--threads is %d, want 1 or more", f.threads)
	}
	return cpu.New(cpu.Options{Threads: f.threads})
}

// modelFlag adds --model.
func modelFlag(c *cobra.Command, p *string) {
	c.Flags().StringVar(p, "model", "embedded", `model: "embedded", a directory in HF or OpenCLIP layout, a .safetensors file`)
}

// dataFlag adds --data.
func dataFlag(c *cobra.Command, p *string) {
	c.Flags().StringVar(p, "data", defaultData(), "where data sets lie (or PAINT_DATA)")
}

func defaultData() string {
	if d := os.Getenv("PAINT_DATA"); d != "" {
		return d
	}
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "data"
		}
		cache = filepath.Join(home, ".cache")
	}
	return filepath.Join(cache, "paint", "data")
}

// jsonFlag adds --json.
func jsonFlag(c *cobra.Command, p *bool) {
	c.Flags().BoolVar(p, "json", false, "print one JSON object on standard output and nothing else there")
}

func printJSON(c *cobra.Command, v any) error {
	e := json.NewEncoder(c.OutOrStdout())
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// commandLine is the call as a shell would take it.
func commandLine() string {
	words := []string{"paint"}
	for _, a := range os.Args[1:] {
		if a == "" || strings.ContainsAny(a, " \t\n\"'\\$`*?[]{}()<>|&;#~!") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

// freeName returns base, or base-2, base-3, ... : the first that is not taken by something that exists.
func freeName(base string) string {
	for i := 1; ; i++ {
		name := base
		if i > 1 {
			name = fmt.Sprintf("%s-%d", base, i)
		}
		if _, err := os.Lstat(name); os.IsNotExist(err) {
			return name
		}
	}
}

func splitList(s string) []string {
	var out []string
	for _, p := range strings.Split(s, ",") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

func percent(x float64) string { return fmt.Sprintf("%.1f", 100*x) }

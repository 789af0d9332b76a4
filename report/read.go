package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// Schema is the version of run.json that this package reads and writes.
const Schema = 1

// Limits on a run.json from outside. A sweep of a thousand alphas over a hundred tasks stays far below them.
const (
	maxRunBytes  = 64 << 20
	maxTasks     = 1000
	maxAlphas    = 2001
	maxTraining  = 1 << 20
	maxNameBytes = 1024
	maxAlpha     = 100.0 // extrapolation lies outside 0 to 1, but not by much
	maxLoss      = 1e30
)

// Read reads and checks run.json in the run directory dir; dir may also name the file itself. A file that is
// truncated, of another schema, with unknown keys, or whose accuracies lie outside 0 to 1 is an error of one line.
func Read(dir string) (*Run, error) {
	path := dir
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		path = filepath.Join(dir, "run.json")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading run %q: %w", path, plainCause(err))
	}
	defer f.Close()
	run, err := Decode(f)
	if err != nil {
		return nil, fmt.Errorf("reading run %q: %w", path, err)
	}
	return run, nil
}

// plainCause drops the operation and the path that the os package repeats.
func plainCause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Decode reads one run.json from r and checks it; see Read.
func Decode(r io.Reader) (*Run, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxRunBytes+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxRunBytes {
		return nil, fmt.Errorf("more than %d bytes, the limit", maxRunBytes)
	}
	// The schema comes first: a file of another schema should say so, not complain about its unknown keys.
	var head struct {
		Schema *int `json:"schema"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, jsonError(err, len(raw))
	}
	switch {
	case head.Schema == nil:
		return nil, errors.New(`no key "schema": not a run.json of paint`)
	case *head.Schema != Schema:
		return nil, fmt.Errorf("schema %d, this version reads schema %d", *head.Schema, Schema)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	dec.UseNumber() // config values keep their digits: a 64-bit seed does not fit a float64
	run := new(Run)
	if err := dec.Decode(run); err != nil {
		return nil, jsonError(err, len(raw))
	}
	if err := run.check(); err != nil {
		return nil, err
	}
	return run, nil
}

// jsonError says in one line what encoding/json found.
func jsonError(err error, size int) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("JSON ends early, after %d bytes", size)
	case errors.As(err, &syntax):
		if size == 0 {
			return errors.New("the file is empty")
		}
		if syntax.Offset >= int64(size) {
			return fmt.Errorf("JSON ends early, after %d bytes", size)
		}
		return fmt.Errorf("invalid JSON at byte %d: %s", syntax.Offset, syntax.Error())
	case errors.As(err, &kind):
		where := "the top level"
		if kind.Field != "" {
			where = fmt.Sprintf("key %q", kind.Field)
		}
		return fmt.Errorf("invalid JSON at byte %d: %s is a %s, want %s", kind.Offset, where, kind.Value, kind.Type)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("unknown key %s", name)
	}
	return fmt.Errorf("invalid JSON: %q", err.Error())
}

// check holds a run to what the report relies on.
func (run *Run) check() error {
	if n := len(run.Patching) + len(run.Support) + len(run.Tasks); n > maxTasks {
		return fmt.Errorf("%d task names, the limit is %d", n, maxTasks)
	}
	if n := len(run.Curve); n > maxAlphas {
		return fmt.Errorf("curve of %d points, the limit is %d", n, maxAlphas)
	}
	if n := len(run.Training); n > maxTraining {
		return fmt.Errorf("%d training points, the limit is %d", n, maxTraining)
	}
	seen := make(map[string]bool)
	for _, name := range slices.Concat(run.Patching, run.Support) {
		switch {
		case name == "":
			return errors.New("a task without a name")
		case len(name) > maxNameBytes:
			return fmt.Errorf("task name of %d bytes, the limit is %d", len(name), maxNameBytes)
		case seen[name]:
			return fmt.Errorf("task %q is listed twice", name)
		}
		seen[name] = true
	}
	if run.Alpha != nil && !(math.Abs(*run.Alpha) <= maxAlpha) {
		return fmt.Errorf("alpha %v, want at most %v either way", *run.Alpha, maxAlpha)
	}
	for _, t := range run.Training {
		if !(math.Abs(t.Loss) <= maxLoss) {
			return fmt.Errorf("training step %d: loss %v, want at most %v", t.Step, t.Loss, maxLoss)
		}
	}
	alphas := make(map[float64]bool)
	for _, p := range run.Curve {
		if !(math.Abs(p.Alpha) <= maxAlpha) {
			return fmt.Errorf("curve has alpha %v, want at most %v either way", p.Alpha, maxAlpha)
		}
		if alphas[p.Alpha] {
			return fmt.Errorf("curve has alpha %v twice", p.Alpha)
		}
		alphas[p.Alpha] = true
		if !fraction(p.Patching) || !fraction(p.Supported) {
			return fmt.Errorf("curve at alpha %v: means %v and %v, want fractions between 0 and 1", p.Alpha, p.Patching, p.Supported)
		}
		if err := checkAccuracies(p.Accuracy); err != nil {
			return fmt.Errorf("curve at alpha %v: %w", p.Alpha, err)
		}
	}
	for _, set := range []struct {
		name string
		m    map[string]Accuracy
	}{{"zero_shot", run.Final.ZeroShot}, {"fine_tuned", run.Final.FineTuned}, {"patched", run.Final.Patched}} {
		if err := checkAccuracies(set.m); err != nil {
			return fmt.Errorf("final %s: %w", set.name, err)
		}
	}
	for _, key := range sortedKeys(run.Final.Means) {
		m := run.Final.Means[key]
		for _, a := range []Accuracy{m.ZeroShot, m.FineTuned, m.Patched} {
			if err := a.check(); err != nil {
				return fmt.Errorf("final means %q: %w", key, err)
			}
		}
		if err := m.Difference.check(); err != nil {
			return fmt.Errorf("final means %q: %w", key, err)
		}
	}
	for _, key := range sortedKeys(run.Final.Difference) {
		if err := run.Final.Difference[key].check(); err != nil {
			return fmt.Errorf("final difference of task %q: %w", key, err)
		}
	}
	return nil
}

func checkAccuracies(m map[string]Accuracy) error {
	if len(m) > maxTasks {
		return fmt.Errorf("%d tasks, the limit is %d", len(m), maxTasks)
	}
	for _, name := range sortedKeys(m) {
		if len(name) > maxNameBytes {
			return fmt.Errorf("task name of %d bytes, the limit is %d", len(name), maxNameBytes)
		}
		if err := m[name].check(); err != nil {
			return fmt.Errorf("task %q: %w", name, err)
		}
	}
	return nil
}

func (a Accuracy) check() error {
	if !fraction(a.Top1) || !fraction(a.CI95[0]) || !fraction(a.CI95[1]) {
		return fmt.Errorf("accuracy %v [%v, %v], want fractions between 0 and 1", a.Top1, a.CI95[0], a.CI95[1])
	}
	if a.CI95[0] > a.CI95[1] {
		return fmt.Errorf("interval [%v, %v] is upside down", a.CI95[0], a.CI95[1])
	}
	if a.N < 0 {
		return fmt.Errorf("%d images", a.N)
	}
	return nil
}

func (d Difference) check() error {
	for _, v := range []float64{d.Value, d.CI95[0], d.CI95[1]} {
		if !(v >= -1 && v <= 1) {
			return fmt.Errorf("difference %v [%v, %v], want between -1 and 1", d.Value, d.CI95[0], d.CI95[1])
		}
	}
	if d.CI95[0] > d.CI95[1] {
		return fmt.Errorf("interval [%v, %v] is upside down", d.CI95[0], d.CI95[1])
	}
	return nil
}

func fraction(v float64) bool { return v >= 0 && v <= 1 }
func finite(v float64) bool   { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// Encode writes run.json to w: indented, keys in a fixed order, so equal runs give equal bytes. A NaN or an infinity
// anywhere in the run is an error, as is a run that Read would refuse.
func (run *Run) Encode(w io.Writer) error {
	if run.Schema != Schema {
		return fmt.Errorf("writing run.json: schema %d, this version writes schema %d", run.Schema, Schema)
	}
	if err := run.check(); err != nil {
		return fmt.Errorf("writing run.json: %w", err)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(run); err != nil {
		return fmt.Errorf("writing run.json: %w", err)
	}
	if _, err := w.Write(buf.Bytes()); err != nil {
		return fmt.Errorf("writing run.json: %w", err)
	}
	return nil
}

// Write writes run.json into the run directory dir, by a temporary file and a rename.
func (run *Run) Write(dir string) error {
	var buf bytes.Buffer
	if err := run.Encode(&buf); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, "run.json"), buf.Bytes())
}

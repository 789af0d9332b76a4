package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// ResultsJSONL is results.jsonl: one row an alpha, ascending, with "alpha" and "TASK:top1" for each task, the keys that
// the reference code writes. Accuracies are fractions on the validation split.
func ResultsJSONL(run *Run) ([]byte, error) {
	var buf bytes.Buffer
	names := run.names()
	for _, p := range run.points() {
		alpha, err := json.Marshal(p.Alpha)
		if err != nil {
			return nil, fmt.Errorf("writing results.jsonl: alpha %v: %w", p.Alpha, err)
		}
		fmt.Fprintf(&buf, `{"alpha":%s`, alpha)
		for _, name := range names {
			a, ok := p.Accuracy[name]
			if !ok {
				continue
			}
			key, err := json.Marshal(name + ":top1")
			if err != nil {
				return nil, fmt.Errorf("writing results.jsonl: task %q: %w", name, err)
			}
			value, err := json.Marshal(a.Top1)
			if err != nil {
				return nil, fmt.Errorf("writing results.jsonl: task %q: %w", name, err)
			}
			fmt.Fprintf(&buf, ",%s:%s", key, value)
		}
		buf.WriteString("}\n")
	}
	return buf.Bytes(), nil
}

// ResultsCSV is results.csv: one row an alpha, ascending; columns alpha, split, patching_mean, supported_mean and for
// each task top1, n and the ends of the 95 % interval. Accuracies are fractions. A field is empty where the run has
// no value.
func ResultsCSV(run *Run) ([]byte, error) {
	var buf bytes.Buffer
	w := csv.NewWriter(&buf)
	names := run.names()
	header := []string{"alpha", "split", "patching_mean", "supported_mean"}
	for _, name := range names {
		header = append(header, name+":top1", name+":n", name+":lo", name+":hi")
	}
	if err := w.Write(header); err != nil {
		return nil, fmt.Errorf("writing results.csv: %w", err)
	}
	num := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	for _, p := range run.points() {
		row := []string{num(p.Alpha), p.Split, "", ""}
		if len(run.Patching) > 0 {
			row[2] = num(p.Patching)
		}
		if len(run.Support) > 0 {
			row[3] = num(p.Supported)
		}
		for _, name := range names {
			a, ok := p.Accuracy[name]
			if !ok {
				row = append(row, "", "", "", "")
				continue
			}
			row = append(row, num(a.Top1), strconv.Itoa(a.N), num(a.CI95[0]), num(a.CI95[1]))
		}
		if err := w.Write(row); err != nil {
			return nil, fmt.Errorf("writing results.csv: %w", err)
		}
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return nil, fmt.Errorf("writing results.csv: %w", err)
	}
	return buf.Bytes(), nil
}

// WriteAll writes everything that follows from run.json into the directory dir: results.jsonl, results.csv, README.md,
// report.html, frontier.svg and alpha.svg. It makes all of them before it writes the first, and each file by a temporary
// file and a rename, so a failure leaves no half-written file under a final name. It does not write run.json; see Write.
func WriteAll(dir string, run *Run) error {
	page, err := HTML(run)
	if err != nil {
		return err
	}
	rows, err := ResultsJSONL(run)
	if err != nil {
		return err
	}
	table, err := ResultsCSV(run)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{
		{"results.jsonl", rows},
		{"results.csv", table},
		{"frontier.svg", SVG(run)},
		{"alpha.svg", AlphaSVG(run)},
		{"README.md", []byte(ModelCard(run))},
		{"report.html", page},
	} {
		if err := writeFile(filepath.Join(dir, f.name), f.data); err != nil {
			return err
		}
	}
	return nil
}

// writeFile writes data to path by a temporary file in the same folder and a rename.
func writeFile(path string, data []byte) (err error) {
	fail := func(err error) error { return fmt.Errorf("writing %q: %w", path, plainCause(err)) }
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.part")
	if err != nil {
		return fail(err)
	}
	done := false
	defer func() {
		if !done {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(data); err != nil {
		return fail(err)
	}
	// A report is for others to read too; CreateTemp makes files for the owner alone.
	if err := f.Chmod(0o644); err != nil {
		return fail(err)
	}
	if err := f.Sync(); err != nil {
		return fail(err)
	}
	if err := f.Close(); err != nil {
		return fail(err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fail(err)
	}
	done = true
	return nil
}

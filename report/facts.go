package report

import (
	"fmt"
	"strconv"
	"strings"
)

func (run *Run) changeFacts() []setting {
	c := run.Change
	if c == (Change{}) {
		return nil
	}
	return []setting{
		{"L2 distance", fmt.Sprintf("%.4g", c.L2)},
		{"Relative to the zero-shot norm", fmt.Sprintf("%.3g %%", 100*c.Relative)},
		{"Cosine similarity", fmt.Sprintf("%.6f", c.Cosine)},
	}
}

func (run *Run) modelFacts() []setting {
	m := run.Model
	var out []setting
	add := func(key, value string) {
		if value != "" {
			out = append(out, setting{key, value})
		}
	}
	count := func(n int, unit string) string {
		if n == 0 {
			return ""
		}
		return grouped(n) + unit
	}
	add("Model", m.Name)
	add("Layout", m.Layout)
	add("Licence", m.License)
	add("SHA-256", m.Hash)
	add("Parameters", count(m.Parameters, ""))
	add("of these in the image tower", count(m.ImageTower, ""))
	add("Image size", count(m.ImageSize, " pixels"))
	add("Embedding", count(m.EmbedDim, " dimensions"))
	add("Seed", strconv.FormatUint(run.Seed, 10))
	add("Rule for alpha", run.Rule)
	return out
}

func (run *Run) machineFacts() []setting {
	m := run.Machine
	var out []setting
	add := func(key, value string) {
		if strings.Trim(value, " /") != "" {
			out = append(out, setting{key, value})
		}
	}
	add("System", m.OS+"/"+m.Arch)
	add("Processor", m.CPU)
	add("Kernels", m.Kernels)
	if m.Threads > 0 {
		add("Threads", strconv.Itoa(m.Threads))
	}
	if run.PeakRSS > 0 {
		add("Peak memory", bytesText(run.PeakRSS))
	}
	for _, k := range sortedKeys(run.Times) {
		if k != "total" {
			add("Time, "+strings.ReplaceAll(k, "_", " "), seconds(run.Times[k]))
		}
	}
	if t, ok := run.Times["total"]; ok {
		add("Time in all", seconds(t))
	}
	add("Started", run.Started)
	add("Finished", run.Finished)
	return out
}

// maxListed is how many class names the page and the card print.
const maxListed = 200

func (run *Run) dataRows() []dataRow {
	names := run.names()
	seen := make(map[string]bool)
	for _, n := range names {
		seen[n] = true
	}
	for _, n := range sortedKeys(run.Tasks) {
		if !seen[n] {
			names = append(names, n)
		}
	}
	var out []dataRow
	for _, name := range names {
		t, ok := run.Tasks[name]
		if !ok {
			continue
		}
		count := func(split string) string {
			if n, ok := t.N[split]; ok {
				return grouped(n)
			}
			return missing
		}
		row := dataRow{Name: name, Classes: grouped(len(t.Classes)), Train: count("train"), Validation: count("validation"), Test: count("test"),
			Source: orMissing(t.Source), License: orMissing(t.License), Split: t.Split, Templates: t.Templates, ClassList: classList(t.Classes)}
		if run.role(name) == "patching" {
			row.Class = "p"
		}
		for _, file := range sortedKeys(t.Checksums) {
			row.Checksums = append(row.Checksums, setting{file, "sha256:" + t.Checksums[file]})
		}
		row.More = len(t.Classes)+len(t.Templates)+len(t.Checksums) > 0 || t.Split != ""
		out = append(out, row)
	}
	return out
}

func classList(classes []string) string {
	if len(classes) > maxListed {
		return strings.Join(classes[:maxListed], ", ") + fmt.Sprintf(" and %d more", len(classes)-maxListed)
	}
	return strings.Join(classes, ", ")
}

func (run *Run) footer() string {
	parts := []string{"Written by paint " + orMissing(run.Version)}
	if run.Started != "" {
		parts = append(parts, "run started "+run.Started)
	}
	parts = append(parts, "everything here comes from run.json and can be rebuilt with paint report")
	return strings.Join(parts, "; ") + "."
}

// Package embedded holds the model and the data that are inside the program, so that the whole method runs offline.
//
// Model is a small open-vocabulary CLIP; Task opens one of the data sets that Tasks lists. What the data are, where they
// come from and under which licences stands in data/NOTICE.md; scripts/embedded makes them from public packages.
package embedded

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"paint/clip"
	"paint/dataset"
)

//go:embed model/open_clip_config.json model/open_clip_model.safetensors
var modelFiles embed.FS

//go:embed data
var dataFiles embed.FS

//go:embed data/NOTICE.md
var notice string

// Notice is the text that says where the embedded data come from and under which licences they are.
func Notice() string { return notice }

// Licenses holds the full texts of the licences that Notice names.
func Licenses() fs.FS {
	sub, err := fs.Sub(dataFiles, "data/licenses")
	if err != nil {
		panic("embedded: " + err.Error()) // the path is a constant
	}
	return sub
}

var model = sync.OnceValues(func() (*clip.Model, error) {
	dir, err := fs.Sub(modelFiles, "model")
	if err != nil {
		return nil, err
	}
	return clip.LoadFS(dir)
})

// Model returns the embedded model. It is shared: replace its tensors by clip.Model.With, never write through them.
func Model() (*clip.Model, error) { return model() }

// Info describes an embedded task.
type Info struct {
	Name    string `json:"name"`
	Title   string `json:"title"`
	Kind    string `json:"kind"` // "patching", "supported" or "heldout"
	Licence string `json:"licence"`
	Classes int    `json:"classes"`
	// Images by split, and the drawings of which they are views.
	Train      Count `json:"train"`
	Validation Count `json:"validation"`
	Test       Count `json:"test"`
}

// Count is a number of images and of the independent drawings behind them.
type Count struct {
	Images   int `json:"images"`
	Drawings int `json:"drawings"`
}

// task is an entry of data/manifest.json.
type task struct {
	Name, Title, Kind, Format, Licence string
	Classes, Templates                 []string
	Parts                              map[string]Count
}

var manifest = sync.OnceValues(func() ([]task, error) {
	b, err := dataFiles.ReadFile("data/manifest.json")
	if err != nil {
		return nil, err
	}
	var m struct{ Tasks []task }
	err = json.Unmarshal(b, &m)
	return m.Tasks, err
})

// Tasks lists the embedded tasks.
func Tasks() []Info {
	ts, err := manifest()
	if err != nil {
		panic("embedded: " + err.Error()) // a test reads it: the program would not have been built
	}
	out := make([]Info, len(ts))
	for i, t := range ts {
		out[i] = Info{t.Name, t.Title, t.Kind, t.Licence, len(t.Classes), t.Parts["train"], t.Parts["validation"], t.Parts["test"]}
	}
	return out
}

// Supported names the supported tasks, in the order of the manifest.
func Supported() []string {
	var out []string
	for _, t := range Tasks() {
		if t.Kind == "supported" {
			out = append(out, t.Name)
		}
	}
	return out
}

// Task opens an embedded task.
func Task(name string) (*dataset.Task, error) {
	ts, err := manifest()
	if err != nil {
		return nil, err
	}
	for _, t := range ts {
		if t.Name != name {
			continue
		}
		d, err := t.open()
		if err != nil {
			return nil, fmt.Errorf("opening embedded task %q: %w", name, err)
		}
		d.Classes = t.Classes
		d.Templates, d.Source, d.Split = t.Templates, "embedded", t.split()
		return d, nil
	}
	names := make([]string, len(ts))
	for i, t := range ts {
		names[i] = t.Name
	}
	return nil, fmt.Errorf("opening embedded task %q: want one of %s", name, strings.Join(names, ", "))
}

// split says how the parts were made.
func (t task) split() string {
	switch {
	case t.Name == "clipart":
		return "pictures kept out of pre-training, halved class by class by a seed"
	case t.Format == "zip":
		return "validation in one style of drawing, test in another, neither seen in pre-training"
	}
	return "test from the official test files; train and validation, disjoint, from the train files"
}

func (t task) open() (*dataset.Task, error) {
	if t.Format == "zip" {
		b, err := dataFiles.ReadFile(path.Join("data", t.Name+".zip"))
		if err != nil {
			return nil, err
		}
		z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return nil, err
		}
		d, err := dataset.OpenFolder(z, t.Name)
		if err != nil {
			return nil, err
		}
		// Labels count in the order of the folders; the manifest has the names in that order.
		if !slices.Equal(d.Classes, t.Classes) {
			return nil, fmt.Errorf("the classes of %s.zip are not those of the manifest", t.Name)
		}
		d.Checksums = map[string]string{t.Name + ".zip": fmt.Sprintf("%x", sha256.Sum256(b))}
		return d, nil
	}
	dir, err := fs.Sub(dataFiles, path.Join("data", t.Name))
	if err != nil {
		return nil, err
	}
	d := &dataset.Task{Name: t.Name, Checksums: map[string]string{}}
	for split, part := range map[string]*dataset.Part{"train": &d.Train, "validation": &d.Validation, "test": &d.Test} {
		x, err := dataset.ReadIDX(dir, split+"-images-idx3-ubyte.gz", split+"-labels-idx1-ubyte.gz", len(t.Classes))
		if err != nil {
			return nil, err
		}
		*part = x
		for k, v := range x.Checksums {
			d.Checksums[k] = v
		}
	}
	return d, nil
}

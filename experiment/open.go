package experiment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"paint/clip"
	"paint/dataset"
	"paint/embedded"
	"paint/preprocess"
)

// OpenModel resolves a model reference: "embedded", a directory, a checkpoint file.
func OpenModel(ref string) (*clip.Model, error) {
	if ref == "" || ref == "embedded" {
		return embedded.Model()
	}
	if strings.HasPrefix(ref, "hf-hub:") {
		return nil, fmt.Errorf("opening model %q: this version reads local checkpoints only: download it and give the directory", ref)
	}
	return clip.Load(ref)
}

// OpenTask resolves a task reference: a path, a data set whose files lie in dataDir, or an embedded one. Files win
// over the embedded subset of the same name; Task.Source says which was taken.
func OpenTask(ref, dataDir string) (*dataset.Task, error) {
	t, err := dataset.Open(ref, dataDir)
	// Files that are there but damaged must not be passed over in silence.
	if errors.Is(err, dataset.ErrUnknown) || errors.Is(err, fs.ErrNotExist) {
		for _, i := range embedded.Tasks() {
			if i.Name == ref {
				return embedded.Task(ref)
			}
		}
	}
	return t, err
}

// TransformOf is the preprocessing that a model expects.
func TransformOf(c clip.Config) preprocess.Transform {
	return preprocess.Transform{Size: c.Vision.ImageSize, Mean: c.Preprocess.Mean, Std: c.Preprocess.Std}
}

// TaskName is the short name of a task reference, the key of its results: what OpenTask calls the task.
func TaskName(ref string) string {
	name := ref
	st, err := os.Stat(ref)
	if err != nil {
		name, _, _ = strings.Cut(ref, ",")
	}
	if abs, err := filepath.Abs(name); err == nil {
		name = abs // "." has a name, too
	}
	base := filepath.Base(name)
	if err == nil && st.IsDir() {
		return base
	}
	return strings.TrimSuffix(base, filepath.Ext(base))
}

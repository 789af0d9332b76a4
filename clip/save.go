package clip

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"paint/checkpoint"
	"paint/weights"
)

// Save writes the model to a new directory, in the layout and with the companion files with which it came; the tensors
// keep their names, order, types and division into files. The directory appears when it is complete; an existing one is
// refused, and after an error there is nothing.
func (m *Model) Save(dir string) error {
	set, err := m.fileSet()
	if err != nil {
		return fmt.Errorf("writing model %q: %w", dir, err)
	}
	return checkpoint.WriteDir(dir, func(tmp string) error {
		for n, b := range m.Files {
			if err := os.WriteFile(filepath.Join(tmp, n), b, 0o666); err != nil {
				return fmt.Errorf("file %q: %w", n, bare(err))
			}
		}
		file := filepath.Join(tmp, m.file)
		if m.sharding != nil {
			return m.writeSharded(file, set)
		}
		return checkpoint.Write(file, set)
	})
}

// writeSharded writes the files of tensors and the index. Libraries end and indent an index in different ways: where it
// says the same as the one that was read, it is written as that was.
func (m *Model) writeSharded(file string, set *weights.Set) error {
	if err := checkpoint.WriteSharded(file, set, m.sharding); err != nil {
		return err
	}
	b, err := os.ReadFile(file)
	if err != nil || !sameJSON(b, m.index) {
		return err
	}
	return os.WriteFile(file, m.index, 0o666)
}

// sameJSON reports whether two texts are the same JSON value, numbers compared as text.
func sameJSON(a, b []byte) bool {
	value := func(b []byte) (v any, err error) {
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		err = d.Decode(&v)
		return v, err
	}
	x, errX := value(a)
	y, errY := value(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}

// fileSet returns the tensors as the file has them, and checks that the file names are plain and distinct.
func (m *Model) fileSet() (*weights.Set, error) {
	if m.file == "" || len(m.Order) == 0 {
		return nil, errors.New("it was not loaded from a checkpoint: nothing says how its files are named")
	}
	taken := []string{m.file}
	if m.sharding != nil {
		for _, s := range m.sharding.Shards {
			taken = append(taken, s.Name)
		}
	}
	for n := range m.Files {
		if err := checkpoint.CheckName(n); err != nil {
			return nil, err
		}
		if slices.Contains(taken, n) {
			return nil, fmt.Errorf("file %q: a companion file has the name of a file of tensors", n)
		}
	}
	byName := map[string]*weights.Tensor{}
	for t := range m.Weights.All() {
		if slices.Contains(m.Layout.fileNames(t.Name), "") {
			return nil, fmt.Errorf("tensor %q has no name in layout %s", t.Name, m.Layout)
		}
		for _, f := range m.Layout.toFile(t) {
			byName[f.Name] = f
		}
	}
	for t := range m.Extra.All() {
		byName[t.Name] = t
	}
	set := &weights.Set{Metadata: m.Weights.Metadata}
	for _, n := range m.Order {
		t := byName[n]
		if t == nil {
			return nil, fmt.Errorf("tensor %q is gone", n)
		}
		set.Put(t)
		delete(byName, n)
	}
	for n := range byName {
		return nil, fmt.Errorf("tensor %q is none of the checkpoint that the model came from", n)
	}
	return set, nil
}

package experiment_test

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paint/experiment"
)

// idx writes MNIST's four files with n blank images of 28x28 in each part.
func idx(t *testing.T, dir string, n int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		name string
		dims []int
	}{
		{"train-images-idx3-ubyte", []int{n, 28, 28}}, {"train-labels-idx1-ubyte", []int{n}},
		{"t10k-images-idx3-ubyte", []int{n, 28, 28}}, {"t10k-labels-idx1-ubyte", []int{n}},
	} {
		b, size := []byte{0, 0, 8, byte(len(f.dims))}, 1
		for _, d := range f.dims {
			b = binary.BigEndian.AppendUint32(b, uint32(d))
			size *= d
		}
		data := make([]byte, size)
		if len(f.dims) == 1 {
			for i := range data {
				data[i] = byte(i % 10)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, f.name), append(b, data...), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// Official files in the data directory win over the embedded subset, also where they are not what they should be.
func TestOpenTask(t *testing.T) {
	data := t.TempDir()
	embedded, err := experiment.OpenTask("mnist", data)
	if err != nil {
		t.Fatal(err)
	}
	if embedded.Source != "embedded" || embedded.Name != "mnist" || embedded.Train.Len() == 0 {
		t.Errorf("without files: task %q of %q", embedded.Name, embedded.Source)
	}
	only, err := experiment.OpenTask("clipart", data)
	if err != nil || only.Source != "embedded" {
		t.Errorf("a task that is embedded only: %+v, %v", only, err)
	}

	home := filepath.Join(data, "mnist")
	idx(t, home, 30)
	_, err = experiment.OpenTask("mnist", data)
	if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "sha256") || !strings.Contains(err.Error(), "train-images-idx3-ubyte") {
		t.Errorf("files of other contents: error %v, want one about a checksum", err)
	}
	if err := os.Truncate(filepath.Join(home, "t10k-images-idx3-ubyte"), 1000); err != nil {
		t.Fatal(err)
	}
	if _, err = experiment.OpenTask("mnist", data); err == nil || !strings.Contains(err.Error(), "t10k-images-idx3-ubyte") {
		t.Errorf("a truncated file: error %v, want one that names it", err)
	}

	// The same files as a folder of one's own are a task like any other.
	idx(t, home, 30)
	own, err := experiment.OpenTask(home, data)
	if err != nil {
		t.Fatal(err)
	}
	if own.Source != home || own.Name != "mnist" || own.Test.Len() != 30 || own.Train.Len()+own.Validation.Len() != 30 {
		t.Errorf("as a folder: task %q of %q, %d test images", own.Name, own.Source, own.Test.Len())
	}

	if _, err := experiment.OpenTask("nonsense", data); err == nil || !strings.Contains(err.Error(), `"nonsense"`) {
		t.Errorf("an unknown name: error %v", err)
	}
}

// What is no model is refused in one line that names it.
func TestOpenModel(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
		return p
	}
	write("empty/README.md", "nothing here")
	write("torn/open_clip_config.json", "{}")
	write("torn/open_clip_model.safetensors", "\x10")
	for _, c := range []struct{ name, ref, want string }{
		{"hub", "hf-hub:org/name", `opening model "hf-hub:org/name"`},
		{"missing", filepath.Join(dir, "nowhere"), "nowhere"},
		{"no weights", filepath.Join(dir, "empty"), "empty"},
		{"truncated", filepath.Join(dir, "torn"), "open_clip_model.safetensors"},
		{"no checkpoint", write("words.safetensors", "these are words, not tensors"), "words.safetensors"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := experiment.OpenModel(c.ref)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want one line with %q", err, c.want)
			}
		})
	}
	for _, ref := range []string{"", "embedded"} {
		m, err := experiment.OpenModel(ref)
		if err != nil || m.Hash == "" {
			t.Errorf("OpenModel(%q): %v", ref, err)
		}
	}
}

// A reference's short name is that of the task it opens.
func TestTaskName(t *testing.T) {
	for ref, want := range map[string]string{
		"mnist":                              "mnist",
		"./photos":                           "photos",
		"photos/":                            "photos",
		filepath.Join("a", "b", "birds.zip"): "birds",
		filepath.Join("x", "train-images-idx3-ubyte.gz") + ",y": "train-images-idx3-ubyte",
	} {
		if got := experiment.TaskName(ref); got != want {
			t.Errorf("TaskName(%q) is %q, want %q", ref, got, want)
		}
	}

	dir := t.TempDir()
	folder := shapes(t, filepath.Join(dir, "shapes.v1.2"), "red", "green")
	plain := filepath.Join(dir, "digits")
	idx(t, plain, 30)
	t.Chdir(folder)
	for _, ref := range []string{
		"mnist", "clipart", folder, folder + string(filepath.Separator), ".", filepath.Join("..", "shapes.v1.2"), plain,
		filepath.Join(plain, "train-images-idx3-ubyte") + "," + filepath.Join(plain, "train-labels-idx1-ubyte"),
	} {
		task, err := experiment.OpenTask(ref, dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := experiment.TaskName(ref); got != task.Name {
			t.Errorf("TaskName(%q) is %q, the task's name is %q", ref, got, task.Name)
		}
	}
}

// Extract's folder is the same task when it is opened again.
func TestExtract(t *testing.T) {
	dir := t.TempDir()
	want, err := experiment.OpenTask(shapes(t, filepath.Join(dir, "shapes"), "red", "dark green", "red!"), "")
	if err != nil {
		t.Fatal(err)
	}
	want.Classes = []string{"red", "dark green", "red!"}
	want.Templates = []string{"a photo of a {}.", "{}"}
	out := filepath.Join(dir, "copy")
	if err := experiment.Extract(want, out); err != nil {
		t.Fatal(err)
	}
	got, err := experiment.OpenTask(out, "")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Classes, want.Classes) || !slices.Equal(got.Templates, want.Templates) {
		t.Errorf("classes %q and templates %q, want %q and %q", got.Classes, got.Templates, want.Classes, want.Templates)
	}
	if got.Train.Len() != want.Train.Len() || got.Validation.Len() != want.Validation.Len() || got.Test.Len() != want.Test.Len() {
		t.Fatalf("%d, %d and %d images", got.Train.Len(), got.Validation.Len(), got.Test.Len())
	}
	for i := range want.Test.Len() {
		a, err := want.Test.Image(i)
		if err != nil {
			t.Fatal(err)
		}
		b, err := got.Test.Image(i)
		if err != nil {
			t.Fatal(err)
		}
		if got.Test.Label(i) != want.Test.Label(i) || a.W != b.W || a.H != b.H || !slices.Equal(a.Pix, b.Pix) {
			t.Errorf("test image %d is another", i)
		}
	}
	if err := experiment.Extract(want, out); !errors.Is(err, fs.ErrExist) {
		t.Errorf("into a folder that is there: error %v, want fs.ErrExist", err)
	}
}

package dataset

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestOpenRefusals(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]string{
		"a.tar":                      "is a WebDataset (.tar)",
		"a.tar.gz":                   "is an archive",
		"train.parquet":              "is a parquet file",
		"train.bin":                  "is CIFAR-100's files",
		"train-images-idx3-ubyte.gz": "is one IDX file; give the pair",
		"cat.png":                    "a file of this kind is not read as a task",
	} {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte("x"), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Open(p, dir)
		wantError(t, err, "opening task", name, want)
		if errors.Is(err, ErrUnknown) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v counts as missing", name, err)
		}
	}
	for _, ref := range []string{"", "cifar10", filepath.Join(dir, "none")} {
		_, err := Open(ref, dir)
		wantError(t, err, "opening task", "fashion_mnist, mnist")
		if !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v is not ErrUnknown", ref, err)
		}
	}
	_, err := Open("mnist", dir)
	if !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrUnknown) {
		t.Errorf("missing files: %v", err)
	}
}

func TestOpenFolderByPath(t *testing.T) {
	dir := onDisk(t, files(t, "pets/test/a/1.png", "pets/test/b/1.png"))
	t.Chdir(dir)
	for _, ref := range []string{"pets", "./pets/", filepath.Join(dir, "pets")} {
		task, err := Open(ref, "")
		if err != nil {
			t.Fatal(err)
		}
		if task.Name != "pets" || task.Source != ref || task.Test.ID(0) != "pets/test/a/1.png" {
			t.Errorf("%q: %+v, ID %s", ref, task, task.Test.ID(0))
		}
	}
	t.Chdir(filepath.Join(dir, "pets"))
	task, err := Open(".", "")
	if err != nil || task.Name != "pets" {
		t.Errorf("%+v, %v", task, err)
	}
}

package checkpoint

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paint/weights"
)

func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		t.Errorf("left behind: %s", f.Name())
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	for _, text := range []string{"one", "two"} {
		err := WriteFile(path, func(w io.Writer) error {
			during, err := filepath.Glob(path + ".*.part")
			if err != nil || len(during) != 1 {
				t.Errorf("while writing: %v, %v", during, err)
			}
			_, err = io.WriteString(w, text)
			return err
		})
		if err != nil || content(t, path) != text {
			t.Errorf("%q, %v", content(t, path), err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o044 == 0 {
		t.Errorf("mode %v: as private as a temporary file", info.Mode())
	}
	fault := errors.New("disk on fire")
	err = WriteFile(path, func(w io.Writer) error {
		io.WriteString(w, strings.Repeat("x", 1<<20)) //nolint:errcheck // the fault comes after
		return fault
	})
	if !errors.Is(err, fault) || !strings.HasPrefix(err.Error(), `writing "`) || content(t, path) != "two" {
		t.Errorf("%v, file %q", err, content(t, path))
	}
	func() {
		defer func() { recover() }()
		WriteFile(path, func(io.Writer) error { panic("bug") }) //nolint:errcheck // does not return
	}()
	os.Remove(path)
	checkEmpty(t, dir)
	if err := WriteFile(filepath.Join(dir, "no", "x"), func(io.Writer) error { return nil }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("into no folder: %v", err)
	}
	sub := filepath.Join(dir, "sub")
	if err := os.MkdirAll(filepath.Join(sub, "full"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(sub, func(io.Writer) error { return nil }); err == nil {
		t.Error("a file took a directory's place")
	}
	os.RemoveAll(sub)
	checkEmpty(t, dir)
}

func build(files ...string) func(string) error {
	return func(tmp string) error {
		for _, f := range files {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(tmp, f)), 0o777); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(tmp, f), []byte(f), 0o444); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestWriteDir(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "run")
	if err := WriteDir(dir+string(filepath.Separator), build("a", "sub/b")); err != nil {
		t.Fatal(err)
	}
	if content(t, filepath.Join(dir, "sub", "b")) != "sub/b" {
		t.Error("content")
	}
	called := false
	err := WriteDir(dir, func(string) error { called = true; return nil })
	if !errors.Is(err, fs.ErrExist) || called || !strings.HasPrefix(err.Error(), `writing directory "`) {
		t.Errorf("existing: %v, built: %v", err, called)
	}
	if err := WriteDir(dir, build("c"), Replace()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a")); err == nil || content(t, filepath.Join(dir, "c")) != "c" {
		t.Error("not replaced")
	}
	fault := errors.New("disk on fire")
	for _, path := range []string{dir, filepath.Join(top, "new")} {
		err = WriteDir(path, func(tmp string) error { return errors.Join(build("a", "sub/b")(tmp), fault) }, Replace())
		if !errors.Is(err, fault) || content(t, filepath.Join(dir, "c")) != "c" {
			t.Errorf("%v", err)
		}
		func() {
			defer func() { recover() }()
			WriteDir(path, func(tmp string) error { build("a")(tmp); panic("bug") }, Replace()) //nolint:errcheck // does not return
		}()
	}
	file := put(t, filepath.Join(top, "file"), nil)
	if err := WriteDir(file, build("a"), Replace()); err == nil || !strings.Contains(err.Error(), "a file is in its place") {
		t.Errorf("over a file: %v", err)
	}
	if err := WriteDir(file, build("a")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	// A directory that appears while another is built is not overwritten.
	late := filepath.Join(top, "late")
	err = WriteDir(late, func(tmp string) error { return errors.Join(build("a")(tmp), os.Mkdir(late, 0o777)) })
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("late: %v", err)
	}
	if err := WriteDir(filepath.Join(top, "no", "x"), build("a")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("into no folder: %v", err)
	}
	for _, p := range []string{dir, file, late} {
		os.RemoveAll(p)
	}
	checkEmpty(t, top)
}

// failAfter is a disk that is full after n bytes.
type failAfter struct{ n int }

var errFull = errors.New("no space left")

func (f *failAfter) Write(b []byte) (int, error) {
	if len(b) > f.n {
		n := f.n
		f.n = 0
		return n, errFull
	}
	f.n -= len(b)
	return len(b), nil
}

func TestEncodeReportsFailedWrites(t *testing.T) {
	s := allTypes()
	size := 0
	if err := Encode(writerFunc(func(b []byte) (int, error) { size += len(b); return len(b), nil }), s); err != nil {
		t.Fatal(err)
	}
	for n := range size {
		if err := Encode(&failAfter{n}, s); !errors.Is(err, errFull) {
			t.Fatalf("full after %d of %d bytes: %v", n, size, err)
		}
	}
	dir := t.TempDir()
	err := WriteFile(filepath.Join(dir, "x"), func(w io.Writer) error {
		return Encode(writerFunc(func(b []byte) (int, error) { w.Write(b); return 0, errFull }), &weights.Set{})
	})
	if !errors.Is(err, errFull) {
		t.Error(err)
	}
	checkEmpty(t, dir)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// What a killed process left is removed, and nothing that only looks like it.
func TestRemoveParts(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model")
	ours := []string{filepath.Base(partName(path)), filepath.Base(partName(path))}
	others := []string{"model", "model.part", "model.short.part", "model.lowercase_.part", "model.ABCDEFGHIJ", "model.v2.ABCDEFGHIJ.part", "ABCDEFGHIJ.part"}
	for i, name := range append(slices.Clone(ours), others...) {
		if i == 0 {
			if err := os.Mkdir(filepath.Join(dir, name), 0o777); err != nil {
				t.Fatal(err)
			}
			name = filepath.Join(name, "inside")
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveParts(path); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range left {
		got = append(got, e.Name())
	}
	slices.Sort(others)
	if !slices.Equal(got, others) {
		t.Errorf("left %q, want %q", got, others)
	}
	if err := RemoveParts(filepath.Join(dir, "nowhere", "model")); err != nil {
		t.Errorf("in a folder that is not there: %v", err)
	}
}

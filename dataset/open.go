package dataset

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrUnknown is wrapped by Open's error for a reference that is neither a known name nor a path.
var ErrUnknown = errors.New("no such task")

// Open resolves a task reference:
//
//   - the name of a known data set (List), whose official files lie in its folder below dataDir; their contents are
//     checked against the official checksums;
//   - a folder of images or a .zip of one (see OpenFolder);
//   - a folder with IDX files under MNIST's names (train-images-idx3-ubyte and so on, .gz or plain), with class names
//     in classes.txt, or numbers;
//   - "images,labels", a pair of IDX files: divided as a folder without parts is.
//
// A name goes before a path: "./mnist" is a folder. Kinds that are known but not read are refused by name. The error
// wraps ErrUnknown where ref is neither name nor path, and fs.ErrNotExist where a known data set's files are missing.
func Open(ref, dataDir string) (*Task, error) {
	if k, ok := Known(ref); ok {
		return k.open(dataDir)
	}
	st, err := os.Stat(ref)
	if images, labels, ok := strings.Cut(ref, ","); ok && err != nil {
		return openPair(ref, images, labels)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && ref == "":
		return nil, fmt.Errorf("opening task %q: %w: neither a known name (%s) nor a file or folder", ref, ErrUnknown, strings.Join(names(), ", "))
	case err != nil:
		return nil, fmt.Errorf("opening task %q: %w", ref, err)
	}
	var t *Task
	if st.IsDir() {
		t, err = openDir(ref)
	} else {
		t, err = openFile(ref)
	}
	if err != nil {
		return nil, fmt.Errorf("opening task %q: %w", ref, err)
	}
	t.Source = ref
	return t, nil
}

func names() []string {
	var out []string
	for _, k := range known {
		out = append(out, k.Name)
	}
	return out
}

// unread are kinds of data that people have and that are not read: endings of file names, and what they are.
var unread = []struct{ suffix, kind string }{
	{".tar", "a WebDataset (.tar)"},
	{".tar.gz", "an archive (.tar.gz)"},
	{".tgz", "an archive (.tgz)"},
	{".parquet", "a parquet file"},
	{".arrow", "an Arrow file"},
	{".tfrecord", "a TFRecord file"},
	{".mat", "a MATLAB file"},
	{".npz", "a NumPy file"},
	{".npy", "a NumPy file"},
	{"data_batch_1", "CIFAR-10's batches"},
	{"data_batch_1.bin", "CIFAR's batches"},
	{"train.bin", "CIFAR-100's files"},
	{"idx3-ubyte", "one IDX file; give the pair as images,labels, or their folder"},
	{"idx3-ubyte.gz", "one IDX file; give the pair as images,labels, or their folder"},
	{".idx", "one IDX file; give the pair as images,labels"},
}

func refuse(name string) error {
	for _, u := range unread {
		if strings.HasSuffix(strings.ToLower(name), u.suffix) {
			return fmt.Errorf("%q is %s, which is not read as a task", name, u.kind)
		}
	}
	return nil
}

func taskName(p string) string {
	abs, err := filepath.Abs(p)
	if err != nil {
		abs = p
	}
	return filepath.Base(abs)
}

func openDir(dir string) (*Task, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	fsys := root.FS() // keeps root open as long as the task is in use
	name := taskName(dir)
	for _, f := range []string{trainImages, testImages} {
		if _, err := find(fsys, f); err == nil {
			t, _, err := openIDX(fsys, name, nil)
			if err != nil {
				return nil, err
			}
			t.Templates, err = templates(fsys)
			return t, err
		}
	}
	return OpenFolder(fsys, name)
}

func openFile(file string) (*Task, error) {
	if strings.ToLower(filepath.Ext(file)) != ".zip" {
		if err := refuse(filepath.Base(file)); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("a file of this kind is not read as a task; give a folder or a .zip of class folders, or a pair images,labels of IDX files")
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	keep := false
	defer func() {
		if !keep {
			f.Close()
		}
	}()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, err
	}
	z, err := zip.NewReader(f, st.Size())
	if err != nil {
		return nil, err
	}
	t, err := OpenFolder(inner(z), strings.TrimSuffix(taskName(file), filepath.Ext(file)))
	if err != nil {
		return nil, err
	}
	keep = true // read by the task's parts from now on
	t.Checksums[filepath.Base(file)] = hex.EncodeToString(h.Sum(nil))
	return t, nil
}

// inner is the folder that an archive was made of: its only top folder, unless that is a class or a split.
func inner(z fs.FS) fs.FS {
	entries, err := fs.ReadDir(z, ".")
	if err != nil {
		return z
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return hidden(e.Name()) })
	if len(entries) != 1 || !entries[0].IsDir() {
		return z
	}
	name := entries[0].Name()
	if slices.ContainsFunc(splits, func(s splitNames) bool { return slices.Contains(s.names, strings.ToLower(name)) }) {
		return z
	}
	inside, err := fs.ReadDir(z, name)
	if err != nil || !slices.ContainsFunc(inside, fs.DirEntry.IsDir) {
		return z
	}
	sub, err := fs.Sub(z, name)
	if err != nil {
		return z
	}
	return sub
}

// openPair reads one pair of IDX files; its classes are numbers.
func openPair(ref, images, labels string) (*Task, error) {
	d, err := OpenIDXPair(images, labels, 256)
	if err != nil {
		return nil, fmt.Errorf("opening task %q: %w", ref, err)
	}
	t := &Task{Name: strings.TrimSuffix(taskName(images), filepath.Ext(images)), Classes: numbers(d), Templates: []string{DefaultTemplate},
		Source: ref, Checksums: d.Checksums}
	if err := t.assemble(parts{train: d}); err != nil {
		return nil, fmt.Errorf("opening task %q: %w", ref, err)
	}
	return t, nil
}

// osFiles opens paths of the operating system, which fs.FS's rules for names exclude.
type osFiles struct{}

func (osFiles) Open(name string) (fs.File, error) {
	st, err := os.Stat(name)
	if err == nil && !st.Mode().IsRegular() { // a pipe would wait for its writer
		return nil, fmt.Errorf("%q is no regular file", name)
	}
	return os.Open(name)
}

package dataset

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Info is what is known of a data set whose official files a user can put in the data directory.
type Info struct {
	Name      string
	Title     string
	Classes   []string
	Templates []string
	Licence   string
	Home      string // folder below the data directory
	Files     []File
}

// File is one official file.
type File struct {
	Name   string // unpacked; the file serves as well as it is distributed, gzipped, with ".gz" behind the name
	SHA256 string // of the unpacked file: distributions pack it differently
	Bytes  int64  // unpacked
}

const (
	trainImages = "train-images-idx3-ubyte"
	trainLabels = "train-labels-idx1-ubyte"
	testImages  = "t10k-images-idx3-ubyte"
	testLabels  = "t10k-labels-idx1-ubyte"
)

var known = []Info{
	{
		Name: "fashion_mnist", Title: "Fashion-MNIST, articles of clothing", Home: "fashion_mnist",
		Classes:   []string{"T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"},
		Templates: []string{DefaultTemplate},
		Licence:   "MIT",
		Files: []File{
			{trainImages, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888", 47040016},
			{trainLabels, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9", 60008},
			{testImages, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b", 7840016},
			{testLabels, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34", 10008},
		},
	},
	{
		Name: "mnist", Title: "MNIST, handwritten digits", Home: "mnist",
		Classes:   []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"},
		Templates: []string{`a photo of the number: "{}".`},
		Licence:   "none stated by its authors; some mirrors say CC-BY-SA-3.0",
		Files: []File{
			{trainImages, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", 47040016},
			{trainLabels, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", 60008},
			{testImages, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", 7840016},
			{testLabels, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", 10008},
		},
	},
}

// List returns what is known, in alphabetical order.
func List() []Info { return slices.Clone(known) }

// Known returns what is known of the data set of that name.
func Known(name string) (Info, bool) {
	for _, k := range known {
		if k.Name == name {
			return k, true
		}
	}
	return Info{}, false
}

// Dir is where the files are expected.
func (k Info) Dir(dataDir string) string { return filepath.Join(dataDir, k.Home) }

// Present reports whether all files are there.
func (k Info) Present(dataDir string) bool { return k.missing(dataDir) == nil }

// missing returns nil, or an error that lists the files that are not there.
func (k Info) missing(dataDir string) error {
	var none []string
	for _, f := range k.Files {
		if _, err := find(os.DirFS(k.Dir(dataDir)), f.Name); err != nil {
			none = append(none, f.Name)
		}
	}
	if none == nil {
		return nil
	}
	return fmt.Errorf("opening task %q: %s (or with .gz) not found in %q: %w", k.Name, strings.Join(none, ", "), k.Dir(dataDir), fs.ErrNotExist)
}

// find returns the name under which an official file is there: unpacked, or with ".gz"; with "-" or, as some archives
// have it, "." before "idx".
func find(fsys fs.FS, name string) (string, error) {
	dotted := strings.Replace(name, "-idx", ".idx", 1)
	var first error
	for _, n := range []string{name, name + ".gz", dotted, dotted + ".gz"} {
		st, err := fs.Stat(fsys, n)
		if err == nil && st.Mode().IsRegular() {
			return n, nil
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = fmt.Errorf("%q is no file", name)
	}
	return "", first
}

// open reads the official files; contents other than the official ones are refused.
func (k Info) open(dataDir string) (*Task, error) {
	if err := k.missing(dataDir); err != nil {
		return nil, err
	}
	dir := k.Dir(dataDir)
	t, contents, err := openIDX(os.DirFS(dir), k.Name, k.Classes)
	if err != nil {
		return nil, fmt.Errorf("opening task %q in %q: %w", k.Name, dir, err)
	}
	for _, f := range k.Files {
		if got := contents[f.Name]; got != f.SHA256 {
			return nil, fmt.Errorf("opening task %q: %q has sha256 %s (unpacked), the official file has %s", k.Name, filepath.Join(dir, f.Name), got, f.SHA256)
		}
	}
	t.Templates, t.Source = k.Templates, dir
	return t, nil
}

// openIDX reads the files of a data set distributed as MNIST is: a train pair, a test pair (t10k) or both. With
// classes nil they are read from classes.txt, and without one are numbers. contents is by the official
// names.
func openIDX(fsys fs.FS, name string, classes []string) (t *Task, contents map[string]string, err error) {
	t = &Task{Name: name, Classes: classes, Checksums: map[string]string{}}
	if classes == nil && exists(fsys, "classes.txt") {
		if t.Classes, err = lines(fsys, "classes.txt"); err != nil {
			return nil, nil, err
		}
	}
	most := len(t.Classes)
	if most == 0 {
		most = 256
	}
	contents = map[string]string{}
	read := func(images, labels string) (*IDX, error) {
		i, err := find(fsys, images)
		if err != nil {
			return nil, err
		}
		l, err := find(fsys, labels)
		if err != nil {
			return nil, err
		}
		d, err := ReadIDX(fsys, i, l, most)
		if err != nil {
			return nil, err
		}
		maps.Copy(t.Checksums, d.Checksums)
		contents[images], contents[labels] = d.Contents[strings.TrimSuffix(i, ".gz")], d.Contents[strings.TrimSuffix(l, ".gz")]
		return d, nil
	}
	var p parts
	var all []*IDX
	for _, f := range []struct{ split, images, labels string }{{"train", trainImages, trainLabels}, {"test", testImages, testLabels}} {
		_, noImages := find(fsys, f.images)
		_, noLabels := find(fsys, f.labels)
		if noImages != nil && noLabels != nil {
			continue
		}
		d, err := read(f.images, f.labels)
		if err != nil {
			return nil, nil, err
		}
		d.name = name + "/" + f.split
		p.set(f.split, f.split, d)
		all = append(all, d)
	}
	if t.Classes == nil {
		t.Classes = numbers(all...)
	}
	if err := t.assemble(p); err != nil {
		return nil, nil, err
	}
	return t, contents, nil
}

// numbers names the classes 0 to the largest label.
func numbers(parts ...*IDX) []string {
	most := 0
	for _, p := range parts {
		for _, l := range p.labels {
			most = max(most, int(l))
		}
	}
	var out []string
	for c := range most + 1 {
		out = append(out, fmt.Sprint(c))
	}
	return out
}

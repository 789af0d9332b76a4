package dataset

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestOpenFolderParts(t *testing.T) {
	for _, c := range []struct {
		name                    string
		files                   []string
		classes                 []string
		train, validation, test []string
	}{
		{"three parts, natural order, underscores", []string{
			"train/c10/b.png", "train/c10/a.png", "train/c2_x/i10.jpg", "train/c2_x/i9.png", "train/c2_x/note.md",
			"val/c10/v.PNG", "Test/c10/t.png", "Test/c2_x/u.png", "README.md=text", ".git/config=x"},
			[]string{"c2 x", "c10"},
			[]string{"train/c2_x/i9.png", "train/c2_x/i10.jpg", "train/c10/a.png", "train/c10/b.png"},
			[]string{"val/c10/v.PNG"}, []string{"Test/c2_x/u.png", "Test/c10/t.png"}},
		{"only parts to evaluate: the classes of both", []string{"valid/b/1.png", "testing/a/1.png"},
			[]string{"a", "b"}, nil, []string{"valid/b/1.png"}, []string{"testing/a/1.png"}},
		{"test alone", []string{"test/a/1.png", "test/b/1.png"}, []string{"a", "b"}, nil, nil, []string{"test/a/1.png", "test/b/1.png"}},
		{"a class may be called train", []string{
			"train/1.png", "train/2.png", "train/3.png", "train/4.png", "train/5.png", "train/6.png", "train/7.png",
			"bus/1.png", "bus/2.png", "bus/3.png", "bus/4.png"}, []string{"bus", "train"},
			// Permutation(11, 0) begins with 2, Permutation(10, 0) with 4.
			[]string{"bus/1.png", "bus/2.png", "bus/4.png", "train/1.png", "train/3.png", "train/4.png", "train/5.png", "train/6.png", "train/7.png"},
			[]string{"train/2.png"}, []string{"bus/3.png"}},
		{"folders inside class folders", []string{"test/a/x/y/1.png", "test/a/2.png", "test/.hidden/1.png", "test/__MACOSX/1.png"},
			[]string{"a"}, nil, nil, []string{"test/a/2.png", "test/a/x/y/1.png"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			task, err := OpenFolder(files(t, c.files...), "task")
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(task.Classes, c.classes) {
				t.Errorf("classes %q, want %q", task.Classes, c.classes)
			}
			for _, p := range []struct {
				name string
				part Part
				want []string
			}{{"train", task.Train, c.train}, {"validation", task.Validation, c.validation}, {"test", task.Test, c.test}} {
				if (p.part == nil) != (p.want == nil) {
					t.Errorf("%s: part %v, want %q", p.name, p.part, p.want)
				}
				if got := ids(p.part, "task"); !slices.Equal(got, p.want) {
					t.Errorf("%s: %q, want %q", p.name, got, p.want)
				}
			}
			if len(task.Checksums) != 1 || !slices.Equal(task.Templates, []string{DefaultTemplate}) || task.Split == "" {
				t.Errorf("checksums %v, templates %q, split %q", task.Checksums, task.Templates, task.Split)
			}
		})
	}
}

func TestOpenFolderMakesParts(t *testing.T) {
	var train, val []string
	for _, c := range []string{"a", "b"} {
		for i := range 10 {
			n := string(rune('0' + i))
			train = append(train, "train/"+c+"/"+n+".png")
			val = append(val, "val/"+c+"/"+n+".png")
		}
	}
	for _, c := range []struct {
		name  string
		files []string
		sizes [3]int
		split string
	}{
		{"train and test", append(slices.Clone(train), "test/a/1.png"), [3]int{18, 2, 1}, "validation: 2 of 20 training examples, split off by seed 0"},
		{"train and validation", append(slices.Clone(train), val...), [3]int{18, 2, 20}, `test is the part "val"; validation: 2 of 20`},
		{"train alone", train, [3]int{16, 2, 2}, "test: 2 of 20 examples, split off by seed 0; validation: 2 of 18"},
	} {
		task, err := OpenFolder(files(t, c.files...), "task")
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := [3]int{task.Train.Len(), task.Validation.Len(), task.Test.Len()}; got != c.sizes {
			t.Errorf("%s: sizes %v, want %v", c.name, got, c.sizes)
		}
		if !strings.HasPrefix(task.Split, c.split) {
			t.Errorf("%s: split %q, want %q", c.name, task.Split, c.split)
		}
		all := slices.Concat(ids(task.Train, ""), ids(task.Validation, ""), ids(task.Test, ""))
		slices.Sort(all)
		if len(slices.Compact(all)) != c.sizes[0]+c.sizes[1]+c.sizes[2] {
			t.Errorf("%s: parts share examples", c.name)
		}
	}
}

func TestOpenFolderImages(t *testing.T) {
	m := files(t, "test/a/0.png", "test/b/cat--0.png", "test/b/cat--1.png", "test/b/dog--0.png", "test/c/cat--0.png", "test/c/bad.png=not a picture")
	task, err := OpenFolder(m, "pets")
	if err != nil {
		t.Fatal(err)
	}
	p := task.Test
	for i := range 4 {
		img, err := p.Image(i)
		if err != nil {
			t.Fatal(err)
		}
		if img.W != 1 || img.H != 1 || !bytes.Equal(img.Pix, []byte{byte(i), byte(i), byte(i)}) {
			t.Errorf("%s: %+v", p.ID(i), img)
		}
	}
	var labels, groups []int
	for i := range p.Len() {
		labels, groups = append(labels, p.Label(i)), append(groups, p.Group(i))
	}
	if !slices.Equal(labels, []int{0, 1, 1, 1, 2, 2}) {
		t.Errorf("labels %v", labels)
	}
	if groups[1] != groups[2] {
		t.Errorf("views of one thing have groups %v", groups)
	}
	slices.Sort(groups)
	if len(slices.Compact(groups)) != 5 {
		t.Errorf("groups %v, want 5", groups)
	}
	bad := slices.Index(ids(p, "pets"), "test/c/bad.png")
	_, err = p.Image(bad)
	wantError(t, err, "reading image", "pets/test/c/bad.png")
	delete(m, "test/a/0.png")
	_, err = p.Image(0)
	wantError(t, err, "reading image", "pets/test/a/0.png", "not exist")
}

func TestOpenFolderNames(t *testing.T) {
	base := []string{"test/x_1/1.png", "test/x_2/1.png"}
	for _, c := range []struct {
		name, file string
		want       []string
		err        string
	}{
		{"list of lines", "classes.txt=\ufeffapple pie\r\n\r\n crème brûlée \n", []string{"apple pie", "crème brûlée"}, ""},
		{"lines with folders", "classes.txt=x_2\tsecond\nx_1\tfirst\nx_3\tnot here\n", []string{"first", "second"}, ""},
		{"object", `classnames.json={"x_2":"second","x_1":"first","x_3":"not here"}`, []string{"first", "second"}, ""},
		{"list", `classnames.json=["one","two"]`, []string{"one", "two"}, ""},
		{"too few lines", "classes.txt=a\n", nil, "1 names for 2 class folders"},
		{"empty", "classes.txt=\n\n", nil, "classes.txt is empty"},
		{"a line without tab", "classes.txt=x_1\tfirst\nsecond\n", nil, `line "second" has no tab`},
		{"a folder without name", `classnames.json={"x_1":"first"}`, nil, `no name for class folder "x_2"`},
		{"list too long", `classnames.json=["a","b","c"]`, nil, "3 names for 2 class folders"},
		{"no JSON", `classnames.json={"x_1":`, nil, "classnames.json"},
		{"other JSON", `classnames.json=7`, nil, "neither an object"},
		{"same names", "classes.txt=a\na\n", nil, `have the same name "a"`},
		{"no name", `classnames.json=["a",""]`, nil, "is empty"},
		{"control characters", `classnames.json=["a","b\nc"]`, nil, "control characters"},
		{"no UTF-8", "classes.txt=a\nb\xff\n", nil, "not UTF-8"},
		{"long name", "classes.txt=a\n" + strings.Repeat("b", 1001), nil, "1001 bytes"},
	} {
		task, err := OpenFolder(files(t, append(slices.Clone(base), c.file)...), "task")
		if c.err != "" {
			wantError(t, err, `reading image folder "task"`, c.err)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if !slices.Equal(task.Classes, c.want) {
			t.Errorf("%s: %q, want %q", c.name, task.Classes, c.want)
		}
	}
	_, err := OpenFolder(files(t, append(slices.Clone(base), "classes.txt=a\nb", `classnames.json=["a","b"]`)...), "task")
	wantError(t, err, "both classes.txt and classnames.json")
}

func TestOpenFolderTemplates(t *testing.T) {
	task, err := OpenFolder(files(t, "test/a/1.png", "templates.txt=a photo of {}\n{c}, drawn\n"), "task")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a photo of {}", "{}, drawn"}; !slices.Equal(task.Templates, want) {
		t.Errorf("%q, want %q", task.Templates, want)
	}
	for content, want := range map[string]string{"a photo": `has 0 "{}"`, "{} and {}": `has 2 "{}"`, "": "is empty"} {
		_, err := OpenFolder(files(t, "test/a/1.png", "templates.txt="+content), "task")
		wantError(t, err, "templates.txt", want)
	}
}

func TestOpenFolderErrors(t *testing.T) {
	deep := "test/a/" + strings.Repeat("d/", 20) + "1.png"
	for _, c := range []struct {
		name  string
		files []string
		want  string
	}{
		{"nothing", []string{"note.txt=x"}, "no class folders"},
		{"an empty class folder", []string{"train/a/1.png", "train/b/.keep=x"}, `class folder "train/b" is empty`},
		{"no images but others", []string{"a/1.png", "b/list.txt=x"}, `class folder "b" holds no image, but files such as "list.txt"`},
		{"an image outside the classes", []string{"train/a/1.png", "train/2.png"}, `image "train/2.png" lies in no class folder`},
		{"an unknown class in test", []string{"train/a/1.png", "test/A/1.png"}, `class folder "test/A" is not in "train"`},
		{"two train folders", []string{"train/a/1.png", "training/a/1.png"}, `"train" and "training" are both train folders`},
		{"a stray folder", []string{"train/a/1.png", "extra/b/1.png"}, `folder "extra" stands beside split folders`},
		{"too few to split", []string{"a/1.png", "b/1.png"}, "2 examples are too few"},
		{"too few to split off", []string{"train/a/1.png", "test/a/1.png"}, "1 examples are too few"},
		{"same name", []string{"test/a_b/1.png", "test/a b/1.png"}, `have the same name "a b"`},
		{"too deep", []string{deep}, "more than 16 folders deep"},
		{"WebDataset", []string{"train/0.tar=x", "test/0.tar=x"}, `"train/0.tar" is a WebDataset`},
		{"parquet", []string{"data/train-0.parquet=x"}, "is a parquet file"},
		{"CIFAR", []string{"data_batch_1=x"}, "is CIFAR-10's batches"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := OpenFolder(files(t, c.files...), "task")
			wantError(t, err, `reading image folder "task": `, c.want)
		})
	}
	m := fstest.MapFS{"test/a": &fstest.MapFile{Mode: fs.ModeDir}, "test/b/1.png": &fstest.MapFile{Data: picture(t, 0)}}
	_, err := OpenFolder(m, "task")
	wantError(t, err, `class folder "test/a" is empty`)
	m = fstest.MapFS{"test/a/1.png": &fstest.MapFile{Mode: fs.ModeNamedPipe}}
	_, err = OpenFolder(m, "task")
	wantError(t, err, `"test/a/1.png" is no regular file`)
}

func TestLinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Log("links need a privilege on Windows: only their absence is tested there")
		return
	}
	outside := onDisk(t, files(t, "secret.png", "dir/1.png"))
	for _, c := range []struct {
		link, target, want string // want "" where the link is followed
	}{
		{"test/a/2.png", "1.png", ""},
		{"test/a/2.png", "../b/1.png", ""},
		{"test/c", "a", ""},
		{"test/a/2.png", filepath.Join(outside, "secret.png"), `link "test/a/2.png"`},
		{"test/a/2.png", "../../../../../../../etc/hostname.png", `link "test/a/2.png"`},
		{"test/c", filepath.Join(outside, "dir"), `link "test/c"`},
		{"test/a/d", "../b", `link "test/a/d" leads to a folder`},
		{"test/a/2.png", "nowhere.png", `link "test/a/2.png"`},
		{"test/a/2.png", "2.png", `link "test/a/2.png"`},
	} {
		dir := onDisk(t, files(t, "test/a/1.png", "test/b/1.png"))
		if err := os.Symlink(c.target, filepath.Join(dir, filepath.FromSlash(c.link))); err != nil {
			t.Fatal(err)
		}
		for how, open := range map[string]func() (*Task, error){
			"Open":     func() (*Task, error) { return Open(dir, t.TempDir()) },
			"os.DirFS": func() (*Task, error) { return OpenFolder(os.DirFS(dir), "task") },
		} {
			task, err := open()
			if c.want != "" {
				wantError(t, err, c.want)
				continue
			}
			if err != nil {
				t.Errorf("%s, %s -> %s: %v", how, c.link, c.target, err)
				continue
			}
			for i := range task.Test.Len() {
				if _, err := task.Test.Image(i); err != nil {
					t.Errorf("%s, %s -> %s: %v", how, c.link, c.target, err)
				}
			}
		}
	}
	// A link put in place of an image after the folder was listed.
	dir := onDisk(t, files(t, "test/a/1.png"))
	task, err := Open(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	p := filepath.Join(dir, "test", "a", "1.png")
	if err := os.Remove(p); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "secret.png"), p); err != nil {
		t.Fatal(err)
	}
	_, err = task.Test.Image(0)
	wantError(t, err, "reading image", "test/a/1.png", "escapes")
}

// zipped packs files into an archive.
func zipped(t testing.TB, m fstest.MapFS) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	if err := z.AddFS(m); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestOpenZip(t *testing.T) {
	for name, names := range map[string][]string{
		"flat":           {"test/a/1.png", "test/b/1.png"},
		"in a folder":    {"pets/test/a/1.png", "pets/test/b/1.png", "__MACOSX/pets/x=y"},
		"only one class": {"test/a/1.png", "test/b/1.png", "templates.txt={}"},
	} {
		path := filepath.Join(t.TempDir(), "pets.zip")
		if err := os.WriteFile(path, zipped(t, files(t, names...)), 0o666); err != nil {
			t.Fatal(err)
		}
		task, err := Open(path, "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if task.Name != "pets" || task.Source != path || !slices.Equal(task.Classes, []string{"a", "b"}) || task.Test.Len() != 2 || len(task.Checksums) != 2 {
			t.Errorf("%s: %+v", name, task)
		}
		if _, err := task.Test.Image(1); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: "test/a/1.png"}
	h.SetMode(fs.ModeSymlink | 0o777)
	w, err := z.CreateHeader(h)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("/etc/passwd")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "link.zip")
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = Open(path, "")
	wantError(t, err, "test/a/1.png")
	if err := os.WriteFile(path, []byte("PK no archive"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = Open(path, "")
	wantError(t, err, "link.zip", "zip")
}

func TestNatural(t *testing.T) {
	names := []string{"b", "a10", "a2", "a", "a02", "a2b", "10", "9", "a10b", "é", "B"}
	slices.SortFunc(names, natural)
	want := []string{"9", "10", "B", "a", "a02", "a2", "a2b", "a10", "a10b", "b", "é"}
	if !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}

// FuzzNames: whatever the names' files hold, opening ends in an error or in distinct, usable names.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"a\nb", "x\ty\nb\tz", "[\"a\",\"b\"]", "{\"a\":\"1\",\"b\":\"2\"}", "{}", "\ufeff", "a\na", "{}{}"} {
		f.Add([]byte(s))
	}
	pic := picture(f, 0)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, name := range []string{"classes.txt", "classnames.json", "templates.txt"} {
			task, err := OpenFolder(fstest.MapFS{name: {Data: b}, "test/a/1.png": {Data: pic}, "test/b/1.png": {Data: pic}}, "task")
			if err != nil {
				if strings.Contains(err.Error(), "\n") {
					t.Errorf("error of several lines: %q", err)
				}
				continue
			}
			if len(task.Classes) != 2 || task.Classes[0] == task.Classes[1] {
				t.Errorf("classes %q", task.Classes)
			}
			for _, s := range slices.Concat(task.Classes, task.Templates) {
				if checkName(s) != nil {
					t.Errorf("name %q", s)
				}
			}
		}
	})
}

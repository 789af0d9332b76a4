package embedded

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"paint/checkpoint"
	"paint/dataset"
)

// classesOf are the numbers of classes of the prototype of these tasks, in the style that the test part has.
var classesOf = map[string]int{"mnist": 10, "fashion_mnist": 10, "animals": 140, "food": 118, "travel": 200, "objects": 232,
	"smileys": 171, "activities": 71, "flags": 270, "clipart": 10, "heldout": 100}

func TestClassCounts(t *testing.T) {
	got := map[string]int{}
	for _, i := range Tasks() {
		got[i.Name] = i.Classes
		if want := map[string]string{"mnist": "patching", "fashion_mnist": "patching", "heldout": "heldout"}[i.Name]; i.Kind != want && (want != "" || i.Kind != "supported") {
			t.Errorf("%s is %q", i.Name, i.Kind)
		}
		if i.Title == "" || i.Licence == "" {
			t.Errorf("%+v", i)
		}
	}
	if !maps.Equal(got, classesOf) {
		t.Errorf("classes %v, want %v", got, classesOf)
	}
}

// The files are those that the manifest lists, with its checksums, and no others.
func TestManifest(t *testing.T) {
	b, err := dataFiles.ReadFile("data/manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Files map[string]struct {
			Bytes  int
			SHA256 string
		}
	}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	total := 0
	err = fs.WalkDir(dataFiles, "data", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || p == "data/manifest.json" {
			return err
		}
		b, err := dataFiles.ReadFile(p)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(p, "data/")
		want, ok := m.Files[name]
		if !ok {
			t.Errorf("%s is not in the manifest", name)
			return nil
		}
		delete(m.Files, name)
		sum := sha256.Sum256(b)
		if want.Bytes != len(b) || want.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("%s: %d bytes, sha256 %x; the manifest has %d, %s", name, len(b), sum, want.Bytes, want.SHA256)
		}
		total += len(b)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range m.Files {
		t.Errorf("%s is in the manifest only", name)
	}
	if total > 20<<20 {
		t.Errorf("%d bytes of data, at most 20 MiB are wanted", total)
	}
}

// The notice names each package with a checksum, a licence and an attribution, and its licence texts are there.
func TestNotice(t *testing.T) {
	sections := strings.Split(Notice(), "\n## ")[1:]
	if len(sections) != 8 {
		t.Errorf("%d sections, want seven packages and the model", len(sections))
	}
	text := regexp.MustCompile("`([A-Za-z0-9.-]+\\.txt)`")
	for _, s := range sections {
		title, _, _ := strings.Cut(s, "\n")
		if title == "The model" {
			continue
		}
		for _, want := range []string{"- Client: ", "- Licence: ", "- Attribution: ", "- Used for: ", "- Changes: "} {
			if !strings.Contains(s, "\n"+want) {
				t.Errorf("%s: no line %q", title, want)
			}
		}
		if !regexp.MustCompile("- sha256: `[0-9a-f]{64}`").MatchString(s) {
			t.Errorf("%s: no checksum", title)
		}
		for _, m := range text.FindAllStringSubmatch(s, -1) {
			b, err := fs.ReadFile(Licenses(), m[1])
			if err != nil || len(b) < 500 {
				t.Errorf("%s: licence text: %d bytes, %v", title, len(b), err)
			}
		}
	}
}

type sum = [sha256.Size]byte

// hashes are the images of a part by the checksum of their pixels, with the index of the first.
func hashes(t *testing.T, p dataset.Part) map[sum]int {
	t.Helper()
	out := map[sum]int{}
	for i := range p.Len() {
		img, err := p.Image(i)
		if err != nil {
			t.Fatal(err)
		}
		if img.W != img.H || img.W != 48 && img.W != 28 || len(img.Pix) != 3*img.W*img.H {
			t.Fatalf("%s: %d x %d", p.ID(i), img.W, img.H)
		}
		if h := sha256.Sum256(img.Pix); !has(out, h) {
			out[h] = i
		}
	}
	return out
}

func has(m map[sum]int, h sum) bool { _, ok := m[h]; return ok }

// No picture is in two parts of a task. A drawing's views have one label and one group; other drawings have others.
func TestParts(t *testing.T) {
	for _, info := range Tasks() {
		t.Run(info.Name, func(t *testing.T) { t.Parallel(); testParts(t, info) })
	}
}

func testParts(t *testing.T, info Info) {
	task, err := Task(info.Name)
	if err != nil {
		t.Fatal(err)
	}
	if task.Source != "embedded" || task.Split == "" || len(task.Checksums) == 0 || task.Name != info.Name {
		t.Errorf("%s: %+v", info.Name, task)
	}
	for _, n := range slices.Concat(task.Classes, task.Templates) {
		if strings.TrimSpace(n) != n || n == "" {
			t.Errorf("%s: name %q", info.Name, n)
		}
	}
	if (task.Train != nil) != (info.Kind == "patching") || task.Validation == nil || task.Test == nil {
		t.Fatalf("%s: train %v, validation %v, test %v", info.Name, task.Train, task.Validation, task.Test)
	}
	seen := map[sum]string{}
	for _, p := range []dataset.Part{task.Train, task.Validation, task.Test} {
		if p == nil {
			continue
		}
		all := hashes(t, p)
		for h, i := range all {
			if other, ok := seen[h]; ok {
				t.Errorf("%s: %s is the same picture as %s", info.Name, p.ID(i), other)
			}
			seen[h] = p.ID(i)
		}
		// Six flags of the test style and three of the other are drawn alike for 7 and 4 further places.
		if n := p.Len() - len(all); n > 0 && info.Name != "flags" || n > 7 {
			t.Errorf("%s: %d of %d pictures are there twice", info.Name, n, p.Len())
		}
		drawing := map[string]int{} // file name up to the view -> group
		groups := map[int]string{}
		for i := range p.Len() {
			id := p.ID(i)
			if k := strings.LastIndex(id, "--"); k > 0 {
				id = id[:k]
			}
			g, known := drawing[id]
			if !known {
				drawing[id] = p.Group(i)
				if other, ok := groups[p.Group(i)]; ok {
					t.Errorf("%s: %s and %s share group %d", info.Name, id, other, p.Group(i))
				}
				groups[p.Group(i)] = id
			} else if g != p.Group(i) {
				t.Errorf("%s: views of %s have groups %d and %d", info.Name, id, g, p.Group(i))
			}
		}
	}
}

// A drawing's first view is the drawing on white: its corners are white more often than not.
func TestFirstViewIsPlain(t *testing.T) {
	task, err := Task("animals")
	if err != nil {
		t.Fatal(err)
	}
	white, n := 0, 0
	for i := range task.Test.Len() {
		if !strings.HasSuffix(task.Test.ID(i), "--0.png") {
			continue
		}
		img, err := task.Test.Image(i)
		if err != nil {
			t.Fatal(err)
		}
		n++
		if img.Pix[0] == 255 && img.Pix[1] == 255 && img.Pix[2] == 255 {
			white++
		}
	}
	if n != 140 || white < 120 {
		t.Errorf("%d first views, %d with a white corner", n, white)
	}
}

// The labels of the patching tasks are spread over the classes.
func TestLabelsSpread(t *testing.T) {
	for _, name := range []string{"mnist", "fashion_mnist"} {
		task, err := Task(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []dataset.Part{task.Train, task.Validation, task.Test} {
			counts := make([]int, len(task.Classes))
			for i := range p.Len() {
				counts[p.Label(i)]++
			}
			if lo, hi := slices.Min(counts), slices.Max(counts); lo < p.Len()/15 || hi > p.Len()/7 {
				t.Errorf("%s: of %d images the classes have %v", name, p.Len(), counts)
			}
		}
	}
}

// The expected outputs belong to this model: the shapes are its own.
func TestExpected(t *testing.T) {
	m, err := Model()
	if err != nil {
		t.Fatal(err)
	}
	s, err := checkpoint.Read(path.Join("testdata", "expected.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	c := m.Config
	for name, want := range map[string][]int{
		"pixels_u8":      {4, 3, c.Vision.ImageSize, c.Vision.ImageSize},
		"token_ids":      {6, c.Text.ContextLength},
		"image_features": {4, c.EmbedDim},
		"text_features":  {6, c.EmbedDim},
	} {
		if x := s.Get(name); x == nil || !slices.Equal(x.Shape, want) {
			t.Errorf("%s: %+v, want shape %v", name, x, want)
		}
	}
}

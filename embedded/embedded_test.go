package embedded

import (
	"slices"
	"strings"
	"testing"
)

// Every label is in range; counts are those of the manifest.
func TestTasks(t *testing.T) {
	for _, info := range Tasks() {
		task, err := Task(info.Name)
		if err != nil {
			t.Error(err)
			continue
		}
		if len(task.Classes) != info.Classes || len(task.Templates) == 0 {
			t.Errorf("%s: %d classes, %d templates; the manifest has %d classes", info.Name, len(task.Classes), len(task.Templates), info.Classes)
		}
		for _, p := range []struct {
			name string
			part interface {
				Len() int
				Label(int) int
				Group(int) int
				ID(int) string
			}
			want Count
		}{{"train", task.Train, info.Train}, {"validation", task.Validation, info.Validation}, {"test", task.Test, info.Test}} {
			if p.want.Images == 0 {
				continue
			}
			if p.part == nil || p.part.Len() != p.want.Images {
				t.Errorf("%s: %s part does not have the %d images of the manifest", info.Name, p.name, p.want.Images)
				continue
			}
			groups, labels := map[int]bool{}, map[int]bool{}
			for i := range p.part.Len() {
				groups[p.part.Group(i)], labels[p.part.Label(i)] = true, true
				if l := p.part.Label(i); l < 0 || l >= len(task.Classes) {
					t.Fatalf("%s: label %d of %d classes", p.part.ID(i), l, len(task.Classes))
				}
			}
			if len(groups) != p.want.Drawings {
				t.Errorf("%s: %s part has %d groups, the manifest %d drawings", info.Name, p.name, len(groups), p.want.Drawings)
			}
			if p.name == "test" && len(labels) != len(task.Classes) {
				t.Errorf("%s: test images of %d of %d classes", info.Name, len(labels), len(task.Classes))
			}
		}
	}
}

// The names of the classes are those of the folders that hold the images: order and spelling.
func TestClassNamesMatchFolders(t *testing.T) {
	plain := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
				return r
			}
			return -1
		}, strings.NewReplacer("å", "a", "ç", "c", "é", "e", "ã", "a", "í", "i", "ô", "o", "ñ", "n", "ü", "u").Replace(s))
	}
	for _, name := range Supported() {
		task, err := Task(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range task.Test.Len() {
			id := strings.Split(task.Test.ID(i), "/")
			folder := id[len(id)-2]
			c := task.Classes[task.Test.Label(i)]
			for _, word := range strings.FieldsFunc(folder, func(r rune) bool { return r == '_' || r == '-' }) {
				if !strings.Contains(plain(strings.ToLower(c)), plain(word)) {
					t.Fatalf("%s: image of folder %q has class %q", name, folder, c)
				}
			}
		}
	}
}

func TestModel(t *testing.T) {
	m, err := Model()
	if err != nil {
		t.Fatal(err)
	}
	if m.Config.Vision.ImageSize != 48 || m.Config.Text.VocabSize != 4096 || m.Layout != "openclip" {
		t.Errorf("%+v", m.Config)
	}
	if s := Supported(); len(s) != 8 || slices.Contains(s, "mnist") {
		t.Errorf("supported tasks: %v", s)
	}
	if !strings.Contains(Notice(), "MIT") {
		t.Error("the notice names no licence")
	}
	if _, err := Task("nothing"); err == nil || !strings.Contains(err.Error(), "mnist") {
		t.Errorf("unknown task: %v", err)
	}
}

package dataset

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// picture is a PNG of one pixel of that gray.
func picture(t testing.TB, gray uint8) []byte {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, 1, 1))
	m.SetGray(0, 0, color.Gray{Y: gray})
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// files makes a file system: "name=content" entries, or names of images, whose grays count up from 0.
func files(t testing.TB, names ...string) fstest.MapFS {
	t.Helper()
	m := fstest.MapFS{}
	for i, n := range names {
		if name, content, ok := strings.Cut(n, "="); ok {
			m[name] = &fstest.MapFile{Data: []byte(content)}
			continue
		}
		m[n] = &fstest.MapFile{Data: picture(t, uint8(i))}
	}
	return m
}

// onDisk writes the files to a folder of the test.
func onDisk(t testing.TB, m fstest.MapFS) string {
	t.Helper()
	dir := t.TempDir()
	for name, f := range m {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, f.Data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// ids are the IDs of a part's examples without the task's name in front.
func ids(p Part, task string) []string {
	if p == nil {
		return nil
	}
	var out []string
	for i := range p.Len() {
		out = append(out, strings.TrimPrefix(p.ID(i), task+"/"))
	}
	return out
}

// wantError checks that err is one line with all of the words.
func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error of several lines: %v", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q lacks %q", err, w)
		}
	}
}

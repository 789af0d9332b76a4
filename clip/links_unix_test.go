//go:build unix

package clip

import (
	"os"
	"path/filepath"
	"testing"
)

// The checkpoint may lie behind symbolic links, as in a hub's cache.
func TestLoadThroughLinks(t *testing.T) {
	blobs := openCLIPFiles(t).write(t)
	dir := t.TempDir()
	for _, n := range []string{openCLIPConfig, openCLIPWeights} {
		if err := os.Symlink(filepath.Join(blobs, n), filepath.Join(dir, n)); err != nil {
			t.Fatal(err)
		}
	}
	m, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	if err := m.Save(out); err != nil {
		t.Fatal(err)
	}
	sameFiles(t, readDir(t, out), openCLIPFiles(t))
	if s, err := os.Lstat(filepath.Join(out, openCLIPWeights)); err != nil || !s.Mode().IsRegular() {
		t.Errorf("saved weights are no plain file: %v", err)
	}
}

package enginetest

import (
	"compress/gzip"
	"embed"
	"io"
	"io/fs"
	"testing"

	"paint/checkpoint"
	"paint/weights"
)

//go:embed testdata
var testdata embed.FS

func golden(t *testing.T, name string) *weights.Set {
	t.Helper()
	return Golden(t, testdata, name)
}

// Golden reads the gzipped safetensors file of that name in the folder testdata.
func Golden(t *testing.T, fsys fs.FS, name string) *weights.Set {
	t.Helper()
	s, err := checkpoint.Decode(Gunzip(t, fsys, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return s
}

// Gunzip returns the content of the gzipped safetensors file of that name in the folder testdata.
func Gunzip(t *testing.T, fsys fs.FS, name string) []byte {
	t.Helper()
	f, err := fsys.Open("testdata/" + name + ".safetensors.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return b
}

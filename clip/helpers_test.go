package clip

import (
	"bytes"
	"compress/gzip"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paint/checkpoint"
	"paint/weights"
)

// files is the content of a directory by name.
type files map[string][]byte

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(path, ".gz") {
		return b
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if b, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	return b
}

// readDir reads the plain files of a directory, unpacking what is gzipped.
func readDir(t testing.TB, dir string) files {
	t.Helper()
	entries, err := os.ReadDir(filepath.FromSlash(dir))
	if err != nil {
		t.Fatal(err)
	}
	f := files{}
	for _, e := range entries {
		f[strings.TrimSuffix(e.Name(), ".gz")] = readFile(t, dir+"/"+e.Name())
	}
	return f
}

// write puts the files into a new directory.
func (f files) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for n, b := range f {
		if err := os.WriteFile(filepath.Join(dir, n), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func (f files) clone() files { return maps.Clone(f) }

// with returns the files with one of them replaced.
func (f files) with(name string, b []byte) files {
	f = f.clone()
	f[name] = b
	return f
}

func (f files) without(name string) files {
	f = f.clone()
	delete(f, name)
	return f
}

// The fixtures, by layout.
func shardedFiles(t testing.TB) files { return readDir(t, "testdata/sharded") }
func bf16Files(t testing.TB) files    { return readDir(t, "testdata/bf16") }

func cpuFiles(t testing.TB, name string) files {
	return files{hfConfig: readFile(t, "../cpu/testdata/"+name+".config.json"), hfWeights: readFile(t, "../cpu/testdata/"+name+".safetensors.gz")}
}

func openCLIPFiles(t testing.TB) files {
	return files{openCLIPConfig: readFile(t, "testdata/open_clip_config.json"), openCLIPWeights: readFile(t, "enginetest/testdata/vit_quick.safetensors.gz")}
}

// gelu is the same checkpoint with the other activation in its configuration.
func (f files) gelu() files {
	f = f.clone()
	for _, n := range []string{hfConfig, openCLIPConfig} {
		if b, ok := f[n]; ok {
			s := strings.ReplaceAll(string(b), `"quick_gelu": true`, `"quick_gelu": false`)
			f[n] = []byte(strings.ReplaceAll(s, `"hidden_act": "quick_gelu"`, `"hidden_act": "gelu"`))
		}
	}
	return f
}

// edit decodes a safetensors file, changes the tensors and encodes them again.
func edit(t testing.TB, b []byte, f func(s *weights.Set)) []byte {
	t.Helper()
	s, err := checkpoint.Decode(bytes.Clone(b))
	if err != nil {
		t.Fatal(err)
	}
	f(s)
	return encode(t, s)
}

func encode(t testing.TB, s *weights.Set) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := checkpoint.Encode(&out, s); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// drop returns the set without one tensor.
func drop(s *weights.Set, name string) {
	out := weights.Set{Metadata: s.Metadata}
	for t := range s.All() {
		if t.Name != name {
			out.Put(t)
		}
	}
	*s = out
}

func mustLoad(t testing.TB, f files) *Model {
	t.Helper()
	m, err := Load(f.write(t))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// sameFiles reports the first file that differs.
func sameFiles(t testing.TB, got, want files) {
	t.Helper()
	if g, w := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(g, w) {
		t.Fatalf("files %v, want %v", g, w)
	}
	for n := range want {
		if !bytes.Equal(got[n], want[n]) {
			t.Errorf("%s: %d bytes that differ from the %d that were read", n, len(got[n]), len(want[n]))
		}
	}
}

// refused checks an error: there, one line, printable, with these words in it.
func refused(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	text := err.Error()
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }) {
		t.Errorf("error is not one printable line: %q", text)
	}
	if len(text) > 600 {
		t.Errorf("error of %d bytes: %q", len(text), text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("error %q lacks %q", text, w)
		}
	}
}

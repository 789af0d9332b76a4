package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"paint/weights"
)

// unpack puts the gzipped fixture directory into a new one.
func unpack(t testing.TB, from string) string {
	t.Helper()
	dir := t.TempDir()
	files, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		src := filepath.Join(from, f.Name())
		if name, ok := strings.CutSuffix(f.Name(), ".gz"); ok {
			put(t, filepath.Join(dir, name), fixture(t, src))
			continue
		}
		b, err := os.ReadFile(src)
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, f.Name()), b)
	}
	return dir
}

// A sharded checkpoint of transformers comes back byte for byte, index included.
func TestShardedReference(t *testing.T) {
	dir := unpack(t, "../clip/testdata/vit_quick_hf_sharded")
	index := filepath.Join(dir, "model.safetensors.index.json")
	f, err := OpenSharded(index)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	whole, err := Decode(fixture(t, "../clip/testdata/vit_quick_hf/model.safetensors.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if err := weights.Equal(whole, f.Set()); err != nil {
		t.Error(err)
	}
	if n := len(f.Sharding().Shards); n != 2 || f.Set().Metadata["format"] != "pt" {
		t.Errorf("%d shards, metadata %v", n, f.Set().Metadata)
	}
	out := filepath.Join(t.TempDir(), "model.safetensors.index.json")
	if err := WriteSharded(out, f.Set(), f.Sharding()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(filepath.Dir(out), name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytes.TrimSpace(got), bytes.TrimSpace(want)) {
			t.Errorf("%s: written back it differs", name)
		}
	}
	s, err := Read(index)
	if err != nil {
		t.Fatal(err)
	}
	checkSame(t, s, f.Set())
}

func TestPlan(t *testing.T) {
	s := allTypes()
	p := Plan(s, "model", 40)
	if len(p.Shards) < 3 || p.Shards[0].Name != fmt.Sprintf("model-00001-of-%05d.safetensors", len(p.Shards)) {
		t.Fatalf("%d shards, the first is %q", len(p.Shards), p.Shards[0].Name)
	}
	for _, sh := range p.Shards {
		n := 0
		for _, name := range sh.Tensors {
			n += len(s.Get(name).Data)
		}
		if n > 40 {
			t.Errorf("%s has %d bytes", sh.Name, n)
		}
	}
	p.Metadata = map[string]json.RawMessage{"total_parameters": json.RawMessage("7")}
	index := filepath.Join(t.TempDir(), "model"+IndexSuffix)
	if err := WriteSharded(index, s, p); err != nil {
		t.Fatal(err)
	}
	f, err := OpenSharded(index)
	if err != nil {
		t.Fatal(err)
	}
	checkSame(t, f.Set(), s)
	if m := f.Sharding().Metadata; string(m["total_size"]) != fmt.Sprint(s.Bytes()) || string(m["total_parameters"]) != "7" {
		t.Errorf("metadata %s", m)
	}
	one := &weights.Set{}
	one.Put(weights.New("large", weights.F32, 100))
	if p := Plan(one, "m", 1); len(p.Shards) != 1 || len(p.Shards[0].Tensors) != 1 {
		t.Errorf("a tensor over the limit: %+v", p)
	}
	if p := Plan(&weights.Set{}, "m", 1); len(p.Shards) != 0 {
		t.Errorf("nothing: %+v", p)
	}
}

func TestBadIndex(t *testing.T) {
	a, b := raw(`{"a":{`+f32x2+`}}`, make([]byte, 8)), raw(`{"b":{`+f32x2+`}}`, make([]byte, 8))
	for name, c := range map[string]struct{ index, want string }{
		"empty":            {``, "ends where '{' should be"},
		"array":            {`[]`, "'[' where '{' should be"},
		"no map":           {`{"metadata":{}}`, "has no weight_map"},
		"null map":         {`{"weight_map":null}`, "'n' where '{' should be"},
		"twice":            {`{"weight_map":{},"weight_map":{}}`, "key \"weight_map\" twice"},
		"tensor twice":     {`{"weight_map":{"a":"a.st","a":"b.st"}}`, "weight_map has key \"a\" twice"},
		"number":           {`{"weight_map":{"a":1}}`, "'1' where '\"' should be"},
		"path":             {`{"weight_map":{"a":"../a.st"}}`, `weight_map: tensor "a": file name "../a.st" is not a plain name within the folder`},
		"folder":           {`{"weight_map":{"a":"sub/a.st"}}`, `file name "sub/a.st"`},
		"absolute":         {`{"weight_map":{"a":"/etc/passwd"}}`, `file name "/etc/passwd"`},
		"backslash":        {`{"weight_map":{"a":"..\\a.st"}}`, `is not a plain name`},
		"drive":            {`{"weight_map":{"a":"c:a.st"}}`, `file name "c:a.st"`},
		"dots":             {`{"weight_map":{"a":".."}}`, `file name ".."`},
		"NUL":              {`{"weight_map":{"a":"a.st\u0000"}}`, `is not a plain name`},
		"no name":          {`{"weight_map":{"a":""}}`, `file name ""`},
		"no file":          {`{"weight_map":{"a":"c.st"}}`, `c.st`},
		"itself":           {`{"weight_map":{"a":"index.json"}}`, "looks like JSON text"},
		"not there":        {`{"weight_map":{"a":"a.st","x":"a.st"}}`, `tensor "x": not in "a.st", where the index says it is`},
		"elsewhere":        {`{"weight_map":{"a":"b.st","b":"b.st"}}`, `tensor "a": not in "b.st", where the index says it is`},
		"swapped":          {`{"weight_map":{"a":"b.st","b":"a.st"}}`, `tensor "a": in "a.st", the index says "b.st"`},
		"more than listed": {`{"weight_map":{"a":"a.st","c":"b.st"}}`, `tensor "b": in "b.st", not in the index`},
		"text after":       {`{"weight_map":{"a":"a.st"}} x`, "text after the end"},
		"deep":             {`{"metadata":{"x":` + strings.Repeat("[", 100000) + `}}`, "nested more than 16 deep"},
		"bad value":        {`{"metadata":{"x":nul},"weight_map":{}}`, "not a value"},
		"metadata twice":   {`{"metadata":{"x":1,"x":2},"weight_map":{}}`, "metadata has key \"x\" twice"},
		"nested twice":     {`{"metadata":{"x":{"y":1,"y":2}},"weight_map":{}}`, "key \"y\" twice"},
	} {
		dir := t.TempDir()
		put(t, filepath.Join(dir, "a.st"), a)
		put(t, filepath.Join(dir, "b.st"), b)
		path := put(t, filepath.Join(dir, "index.json"), []byte(c.index))
		_, err := OpenSharded(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), fmt.Sprintf("reading index %q: ", path)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a.st"), a)
	path := put(t, filepath.Join(dir, "index.json"), []byte(`{"metadata":null,"other":[1,-2.5e3,true,"x",{}],"weight_map":{"a":"a.st"}}`))
	if s, err := Read(path); err != nil || s.Len() != 1 {
		t.Errorf("unknown keys: %v", err)
	}
}

func TestWriteShardedRefuses(t *testing.T) {
	s := &weights.Set{}
	s.Put(weights.New("a", weights.F32))
	s.Put(weights.New("b", weights.F32))
	shard := func(name string, ts ...string) Shard { return Shard{Name: name, Tensors: ts} }
	for want, shards := range map[string][]Shard{
		`tensor "b": in no shard`:              {shard("x", "a")},
		`tensor "a": in shards "x" and "y"`:    {shard("x", "a"), shard("y", "a", "b")},
		`tensor "a": in shards "x" and "x"`:    {shard("x", "a", "a", "b")},
		`shard "x": no tensor "c"`:             {shard("x", "a", "b", "c")},
		`shard "x" twice`:                      {shard("x", "a"), shard("x", "b")},
		`file name "../x" is not a plain name`: {shard("../x", "a", "b")},
		`shard "i" has the name of the index`:  {shard("i", "a", "b")},
	} {
		dir := t.TempDir()
		if err := WriteSharded(filepath.Join(dir, "i"), s, &Sharding{Shards: shards}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		checkEmpty(t, dir)
	}
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":7102852,"x":[1,{"y":null}]},"weight_map":{"a":"model-00001-of-00002.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../x"}}`))
	f.Add([]byte(`{"weight_map":{"\ud83d\ude00":"\u0061"}} `))
	f.Fuzz(func(t *testing.T, b []byte) {
		ix, err := parseIndex(b)
		if err != nil {
			return
		}
		if !json.Valid(b) {
			t.Fatalf("%q is accepted and no JSON", b)
		}
		for _, name := range ix.files {
			if filepath.Base(name) != name || !filepath.IsLocal(name) {
				t.Fatalf("file name %q is accepted", name)
			}
		}
		for _, x := range ix.tensors {
			if ix.file[x] == "" {
				t.Fatalf("tensor %q has no file", x)
			}
		}
	})
}

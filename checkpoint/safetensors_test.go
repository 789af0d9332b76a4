package checkpoint

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"paint/weights"
)

// raw is a file of that header and data.
func raw(header string, data []byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

// fixture returns the plain content of a gzipped file.
func fixture(t testing.TB, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t testing.TB, path string, b []byte) string {
	t.Helper()
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// allTypes is a set with every type, ranks 0 to 4 and empty tensors, in an order that would misalign the wide types.
func allTypes() *weights.Set {
	s := &weights.Set{Metadata: map[string]string{"format": "pt", "note": "<a&b> \"ü\"\n"}}
	for i, d := range []weights.DType{weights.U8, weights.Bool, weights.F64, weights.I8, weights.F16, weights.I64, weights.BF16, weights.U64, weights.U16,
		weights.F32, weights.I16, weights.I32, weights.U32} {
		for k, shape := range [][]int{{}, {0}, {3}, {2, 0, 5}, {1, 3, 1, 1}} {
			t := weights.New(fmt.Sprintf("%v/<%d> é\t", d, k), d, shape...)
			for j := range t.Data {
				t.Data[j] = byte(31*i + 7*k + j)
			}
			s.Put(t)
		}
	}
	return s
}

func names(s *weights.Set) (n []string) {
	for t := range s.All() {
		n = append(n, t.Name)
	}
	return n
}

func checkSame(t *testing.T, got, want *weights.Set) {
	t.Helper()
	if err := weights.Equal(want, got); err != nil {
		t.Error(err)
	}
	if g, w := fmt.Sprint(names(got)), fmt.Sprint(names(want)); g != w {
		t.Errorf("order %s, want %s", g, w)
	}
	if g, w := fmt.Sprint(got.Metadata), fmt.Sprint(want.Metadata); g != w {
		t.Errorf("metadata %s, want %s", g, w)
	}
	for x := range got.All() {
		if !isAligned(x) {
			t.Errorf("tensor %q is not aligned", x.Name)
		}
	}
}

func isAligned(t *weights.Tensor) bool {
	return len(t.Data) == 0 || &aligned(t.Data, t.DType.Size())[0] == &t.Data[0]
}

func TestRoundTrip(t *testing.T) {
	for name, want := range map[string]*weights.Set{"all types": allTypes(), "nothing": {}, "metadata alone": {Metadata: map[string]string{"a": ""}}} {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		if err := Write(path, want); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		f, err := Open(path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		checkSame(t, f.Set(), want)
		if f.Sharding() != nil {
			t.Error("one file has a sharding")
		}
		first := f.Set()
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		checkSame(t, first, want) // views outlive Close
		s, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		checkSame(t, s, want)
	}
}

// Files of the reference library come back byte for byte.
func TestReferenceFiles(t *testing.T) {
	for _, name := range []string{"../testdata/merge/torch_interp.safetensors.gz", "../testdata/merge/a.safetensors.gz",
		"../clip/testdata/clip_bf16/model.safetensors.gz", "../clip/testdata/vit_quick_hf_sharded/model-00002-of-00002.safetensors.gz"} {
		b := fixture(t, name)
		s, err := Decode(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var out bytes.Buffer
		if err := Encode(&out, s); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), b) {
			t.Errorf("%s: written back it differs", name)
		}
	}
	s, err := Decode(fixture(t, "../testdata/merge/a.safetensors.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if x := s.Get("model.layers.0.mlp.down_proj.weight"); x == nil || x.DType != weights.F32 || fmt.Sprint(x.Shape) != "[16 32]" || s.Metadata["format"] != "pt" {
		t.Errorf("tensor %+v, metadata %v", x, s.Metadata)
	}
}

// A replaced file does not disturb views of the old one.
func TestReplaceWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	want := allTypes()
	if err := Write(path, want); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(path, &weights.Set{}); err != nil {
		t.Fatal(err)
	}
	checkSame(t, f.Set(), want)
	f.Close()
	checkSame(t, f.Set(), want)
}

const f32x2 = `"dtype":"F32","shape":[2],"data_offsets":[0,8]`

func TestAccepted(t *testing.T) {
	for name, c := range map[string]struct {
		header string
		data   int
		want   string // names and shapes
	}{
		"white space":         {" {\n\"a\" : {\t\"shape\":[ ] ,\"data_offsets\" : [0, 4],\"dtype\":\"F32\"} }\n  ", 4, ""},
		"padding":             {`{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   `, 4, "a[]"},
		"escapes":             {`{"\u0061\/\ud83d\ude00\"":{` + f32x2 + `}}`, 8, "a/😀\"[2]"},
		"data in other order": {`{"b":{"dtype":"U8","shape":[1],"data_offsets":[8,9]},"a":{` + f32x2 + `}}`, 9, "b[1]a[2]"},
		"empty in the middle": {`{"a":{` + f32x2 + `},"e":{"dtype":"F32","shape":[0,3],"data_offsets":[4,4]}}`, 8, "-"},
		"empty at an end":     {`{"a":{` + f32x2 + `},"e":{"dtype":"F32","shape":[0,3],"data_offsets":[8,8]}}`, 8, "a[2]e[0 3]"},
		"empty at the start":  {`{"e":{"dtype":"F64","shape":[0],"data_offsets":[0,0]},"a":{` + f32x2 + `}}`, 8, "e[0]a[2]"},
	} {
		s, err := Decode(raw(c.header, make([]byte, c.data)))
		switch {
		case c.want == "" || c.want == "-":
			if err == nil {
				t.Errorf("%s: accepted", name)
			}
			continue
		case err != nil:
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got string
		for x := range s.All() {
			got += x.Name + fmt.Sprint(x.Shape)
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// A header whose length is odd puts every tensor at an odd address: they are copied.
func TestMisaligned(t *testing.T) {
	header := `{"a":{"dtype":"F64","shape":[1],"data_offsets":[1,9]},"u":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`
	for pad := range 8 {
		data := []byte{9, 1, 2, 3, 4, 5, 6, 7, 8}
		s, err := Decode(raw(header+strings.Repeat(" ", pad), data))
		if err != nil {
			t.Fatal(err)
		}
		x := s.Get("a")
		if !isAligned(x) || !bytes.Equal(x.Data, data[1:]) || s.Get("u").Data[0] != 9 {
			t.Errorf("pad %d: %v", pad, x.Data)
		}
	}
}

func TestBadFiles(t *testing.T) {
	entry := func(s string) string { return `{"a":{` + s + `}}` }
	deep := strings.Repeat("[", 1<<20)
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":              {nil, "has 0 bytes"},
		"seven bytes":        {make([]byte, 7), "has 7 bytes"},
		"zip":                {[]byte("PK\x03\x04\x00\x00\x00\x00\x00\x00\x00\x00"), "zip archive"},
		"pickle":             {[]byte("\x80\x02}q\x00\x58\x01\x00\x00"), "pickle"},
		"gzip":               {[]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), "gzip"},
		"lfs":                {[]byte("version https://git-lfs.github.com/spec/v1"), "LFS"},
		"html":               {[]byte("<!DOCTYPE html><html>"), "HTML"},
		"json":               {[]byte(`{"metadata":{},"weight_map":{}}`), "JSON text"},
		"huge header":        {append([]byte{0x01, 0xe1, 0xf5, 0x05, 0, 0, 0, 0}, make([]byte, 64)...), "header of 100000001 bytes, at most 100000000"},
		"huge length":        {bytes.Repeat([]byte{0xff}, 64), "header of 18446744073709551615 bytes"},
		"header cut":         {raw(entry(f32x2), nil)[:30], "truncated: header of"},
		"no header":          {raw("", nil), "does not start with '{'"},
		"no brace":           {raw(" {}", nil), "does not start with '{'"},
		"array":              {raw("[]", nil), "does not start with '{'"},
		"deep":               {raw(`{"a":`+deep, nil), "tensor \"a\": JSON at byte 5: '[' where '{' should be"},
		"deep metadata":      {raw(`{"__metadata__":{"a":`+deep, nil), "JSON at byte 21: '[' where '\"' should be"},
		"object cut":         {raw(`{"a":{"dtype":"F32"`, nil), "ends where '}' should be"},
		"string cut":         {raw(`{"a`, nil), "string does not end"},
		"escape cut":         {raw(`{"a\`, nil), "string does not end"},
		"control":            {raw("{\"a\nb\":{"+f32x2+"}}", make([]byte, 8)), "control character 0x0a"},
		"not UTF-8":          {raw("{\"a\xff\":{"+f32x2+"}}", make([]byte, 8)), "not UTF-8"},
		"lone surrogate":     {raw(`{"\ud800":{`+f32x2+`}}`, make([]byte, 8)), "lone surrogate"},
		"low surrogate":      {raw(`{"\udc00":{`+f32x2+`}}`, make([]byte, 8)), "lone surrogate"},
		"half pair":          {raw(`{"\ud83d\u0041":{`+f32x2+`}}`, make([]byte, 8)), "lone surrogate"},
		"bad escape":         {raw(`{"\x":{`+f32x2+`}}`, make([]byte, 8)), "bad escape"},
		"bad unicode":        {raw(`{"\u00g0":{`+f32x2+`}}`, make([]byte, 8)), "bad escape"},
		"text after":         {raw(entry(f32x2)+"x", make([]byte, 8)), "text after the end"},
		"NUL padding":        {raw(entry(f32x2)+"\x00", make([]byte, 8)), "text after the end"},
		"comma at the end":   {raw(`{"a":{`+f32x2+`},}`, make([]byte, 8)), "where '\"' should be"},
		"twice":              {raw(`{"a":{`+f32x2+`},"a":{`+f32x2+`}}`, make([]byte, 8)), "tensor \"a\" twice"},
		"twice, escaped":     {raw(`{"a":{`+f32x2+`},"\u0061":{`+f32x2+`}}`, make([]byte, 8)), "tensor \"a\" twice"},
		"dtype twice":        {raw(entry(f32x2+`,"dtype":"F32"`), make([]byte, 8)), "key \"dtype\" twice"},
		"shape twice":        {raw(entry(f32x2+`,"shape":[2]`), make([]byte, 8)), "key \"shape\" twice"},
		"offsets twice":      {raw(entry(f32x2+`,"data_offsets":[0,8]`), make([]byte, 8)), "key \"data_offsets\" twice"},
		"metadata twice":     {raw(`{"__metadata__":{},"__metadata__":{}}`, nil), "\"__metadata__\" twice"},
		"metadata key twice": {raw(`{"__metadata__":{"a":"1","a":"2"}}`, nil), "__metadata__ has key \"a\" twice"},
		"metadata number":    {raw(`{"__metadata__":{"a":1}}`, nil), "'1' where '\"' should be"},
		"unknown key":        {raw(entry(f32x2+`,"stride":[1]`), make([]byte, 8)), "unknown key \"stride\""},
		"no dtype":           {raw(entry(`"shape":[2],"data_offsets":[0,8]`), make([]byte, 8)), "no dtype"},
		"no shape":           {raw(entry(`"dtype":"F32","data_offsets":[0,8]`), make([]byte, 8)), "no shape"},
		"no offsets":         {raw(entry(`"dtype":"F32","shape":[2]`), make([]byte, 8)), "0 data_offsets, want 2"},
		"one offset":         {raw(entry(`"dtype":"F32","shape":[2],"data_offsets":[8]`), make([]byte, 8)), "1 data_offsets, want 2"},
		"three offsets":      {raw(entry(`"dtype":"F32","shape":[2],"data_offsets":[0,8,8]`), make([]byte, 8)), "more than 2 numbers"},
		"null shape":         {raw(entry(`"dtype":"F32","shape":null,"data_offsets":[0,8]`), make([]byte, 8)), "'n' where '[' should be"},
		"unknown dtype":      {raw(entry(`"dtype":"F8_E5M2","shape":[8],"data_offsets":[0,8]`), make([]byte, 8)), "tensor \"a\": dtype \"F8_E5M2\" is not supported"},
		"negative size":      {raw(entry(`"dtype":"F32","shape":[-2],"data_offsets":[0,8]`), make([]byte, 8)), "tensor \"a\": JSON at byte 29: negative number"},
		"fraction":           {raw(entry(`"dtype":"F32","shape":[2.0],"data_offsets":[0,8]`), make([]byte, 8)), "not an integer"},
		"exponent":           {raw(entry(`"dtype":"F32","shape":[2e0],"data_offsets":[0,8]`), make([]byte, 8)), "not an integer"},
		"leading zero":       {raw(entry(`"dtype":"F32","shape":[02],"data_offsets":[0,8]`), make([]byte, 8)), "leading zeros"},
		"string size":        {raw(entry(`"dtype":"F32","shape":["2"],"data_offsets":[0,8]`), make([]byte, 8)), "where a number should be"},
		"size too large":     {raw(entry(`"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8]`), make([]byte, 8)), "does not fit 63 bits"},
		"size far too large": {raw(entry(`"dtype":"F32","shape":[99999999999999999999999],"data_offsets":[0,8]`), make([]byte, 8)), "does not fit 63 bits"},
		"product overflows":  {raw(entry(`"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]`), nil), "shape [4294967296 4294967296] overflows"},
		"overflow and zero":  {raw(entry(`"dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0]`), nil), "overflows"},
		"bytes overflow":     {raw(entry(`"dtype":"F64","shape":[1152921504606846977],"data_offsets":[0,8]`), make([]byte, 8)), "overflows"},
		"rank":               {raw(entry(`"dtype":"F32","shape":[`+strings.Repeat("1,", 64)+`1],"data_offsets":[0,4]`), make([]byte, 4)), "more than 64 numbers"},
		"size differs":       {raw(entry(`"dtype":"F32","shape":[2,3],"data_offsets":[0,20]`), make([]byte, 20)), `tensor "a": shape [2 3] needs 24 bytes, header gives 20`},
		"backwards":          {raw(entry(`"dtype":"F32","shape":[2],"data_offsets":[8,0]`), make([]byte, 8)), "data_offsets [8 0] run backwards"},
		"out of the file":    {raw(entry(f32x2), make([]byte, 7)), `truncated: tensor "a": data_offsets [0 8] in 7 bytes of data`},
		"trailing":           {raw(entry(f32x2), make([]byte, 9)), "1 bytes of data after the last tensor, which ends at 8"},
		"data alone":         {raw("{}", make([]byte, 1)), "1 bytes of data after the last tensor"},
		"overlap":            {raw(`{"a":{`+f32x2+`},"b":{"dtype":"U8","shape":[2],"data_offsets":[7,9]}}`, make([]byte, 9)), `tensor "b": data_offsets [7 9] overlap those of tensor "a", which end at 8`},
		"same":               {raw(`{"a":{`+f32x2+`},"b":{`+f32x2+`}}`, make([]byte, 8)), "overlap"},
		"gap":                {raw(`{"a":{`+f32x2+`},"b":{"dtype":"U8","shape":[2],"data_offsets":[9,11]}}`, make([]byte, 11)), `leave a gap after tensor "a" at 8`},
		"gap at the start":   {raw(entry(`"dtype":"F32","shape":[2],"data_offsets":[1,9]`), make([]byte, 9)), "leave a gap after the header at 0"},
	} {
		_, err := Decode(c.file)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), "\n") || len(err.Error()) > 400) {
			t.Errorf("%s: no short line: %v", name, err)
		}
		path := put(t, filepath.Join(t.TempDir(), "x"), c.file)
		if _, err := Open(path); err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("reading safetensors %q: ", path)) {
			t.Errorf("%s: Open: %v", name, err)
		}
	}
}

// Every file cut short is refused.
func TestTruncated(t *testing.T) {
	var b bytes.Buffer
	if err := Encode(&b, allTypes()); err != nil {
		t.Fatal(err)
	}
	for n := range b.Len() {
		if _, err := Decode(b.Bytes()[:n]); err == nil {
			t.Fatalf("%d of %d bytes are accepted", n, b.Len())
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir:                             "is a directory",
		filepath.Join(dir, "none"):      "no such file",
		filepath.Join(dir, "none", "x"): "no such file",
	} {
		for _, open := range []func(string) error{
			func(p string) error { _, err := Open(p); return err },
			func(p string) error { _, err := Read(p); return err },
			func(p string) error { _, err := OpenSharded(p); return err },
		} {
			err := open(path)
			if err == nil || !strings.Contains(err.Error(), want) && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: %v, want %s", path, err, want)
			}
			if err != nil && strings.Count(err.Error(), path) != 1 {
				t.Errorf("the path stands twice: %v", err)
			}
		}
	}
	path := put(t, filepath.Join(dir, "x"), []byte("PK\x03\x04\x00\x00\x00\x00\x00"))
	if _, err := Open(path); !errors.Is(err, ErrFormat) {
		t.Errorf("%v does not wrap ErrFormat", err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	ok := weights.New("a", weights.F32, 2)
	for want, x := range map[string]*weights.Tensor{
		`tensor "a": DType(0) cannot be stored`:                        {Name: "a", Shape: []int{2}, Data: ok.Data},
		`tensor "__metadata__": the name is reserved`:                  {Name: "__metadata__", DType: weights.F32, Shape: []int{2}, Data: ok.Data},
		`tensor "a\xff": the name is not UTF-8`:                        {Name: "a\xff", DType: weights.F32, Shape: []int{2}, Data: ok.Data},
		`tensor "a": shape [3] of F32 needs 12 bytes, it has 8`:        {Name: "a", DType: weights.F32, Shape: []int{3}, Data: ok.Data},
		`tensor "a": negative size in shape [-1 -2]`:                   {Name: "a", DType: weights.F32, Shape: []int{-1, -2}, Data: ok.Data},
		`tensor "a": rank 65, at most 64 is allowed`:                   {Name: "a", DType: weights.U8, Shape: bytesOf(65), Data: ok.Data[:1]},
		`writing "DIR/x": tensor "a": shape [3] of F32 needs 12 bytes`: {Name: "a", DType: weights.F32, Shape: []int{3}, Data: ok.Data},
	} {
		s := &weights.Set{}
		s.Put(x)
		dir := t.TempDir()
		err := Write(filepath.Join(dir, "x"), s)
		if err == nil || !strings.Contains(strings.ReplaceAll(filepath.ToSlash(err.Error()), filepath.ToSlash(dir), "DIR"), want) {
			t.Errorf("%v, want %s", err, want)
		}
		checkEmpty(t, dir)
	}
	s := &weights.Set{Metadata: map[string]string{"k": "\xff"}}
	if err := Encode(io.Discard, s); err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("metadata: %v", err)
	}
}

func bytesOf(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = 1
	}
	return s
}

func FuzzDecode(f *testing.F) {
	var b bytes.Buffer
	if err := Encode(&b, allTypes()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(raw(`{"a":{`+f32x2+`}}`, make([]byte, 8)))
	f.Add(raw(`{"__metadata__":{"a":"\ud83d\ude00"},"e":{"dtype":"F32","shape":[0,4294967296],"data_offsets":[0,0]}}`, nil))
	f.Add([]byte("PK\x03\x04"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Decode(b)
		if err != nil {
			return
		}
		// What is accepted is consistent, and comes back the same when it is written.
		n := 0
		for x := range s.All() {
			if len(x.Data) != x.Len()*x.DType.Size() || !isAligned(x) {
				t.Fatalf("tensor %q: %d bytes for %v of %v", x.Name, len(x.Data), x.Shape, x.DType)
			}
			n += len(x.Data)
		}
		if n > len(b) {
			t.Fatalf("%d bytes of tensors in a file of %d", n, len(b))
		}
		var out bytes.Buffer
		if err := Encode(&out, s); err != nil {
			t.Fatal(err)
		}
		again, err := Decode(out.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		checkSame(t, again, s)
	})
}

func BenchmarkOpen(b *testing.B) {
	s := &weights.Set{}
	for i := range 400 {
		s.Put(weights.New(fmt.Sprintf("text_model.encoder.layers.%d.self_attn.q_proj.weight", i), weights.F32, 64, 64))
	}
	path := filepath.Join(b.TempDir(), "x")
	if err := Write(path, s); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		f, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}

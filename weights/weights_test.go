package weights

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func random(name string, d DType, seed uint64, shape ...int) *Tensor {
	t := New(name, d, shape...)
	r := rand.New(rand.NewPCG(seed, 1))
	v := make([]float32, t.Len())
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	if d.Float() {
		t.PutFloat32(v)
		return t
	}
	for i := range t.Data {
		t.Data[i] = byte(r.Uint32())
	}
	return t
}

func set(ts ...*Tensor) *Set {
	s := &Set{}
	for _, t := range ts {
		s.Put(t)
	}
	return s
}

func TestDTypes(t *testing.T) {
	for d := F32; d <= U64; d++ {
		got, err := ParseDType(d.String())
		if err != nil || got != d || d.Size() == 0 {
			t.Errorf("%v: parsed as %v, %v; size %d", d, got, err, d.Size())
		}
	}
	for _, bad := range []string{"", "f32", "F8_E5M2", "DType(0)"} {
		if d, err := ParseDType(bad); err == nil {
			t.Errorf("ParseDType(%q) = %v", bad, d)
		}
	}
	if s := DType(99).String(); s != "DType(99)" || DType(99).Size() != 0 || DType(0).Size() != 0 {
		t.Errorf("unknown type: %q", s)
	}
}

func TestSet(t *testing.T) {
	s := &Set{}
	a, b := New("a", F32), New("b", I64, 2, 0)
	if a.Len() != 1 || len(a.Data) != 4 || b.Len() != 0 || b.Data == nil {
		t.Fatalf("rank 0: %d elements, empty: %d", a.Len(), b.Len())
	}
	for _, x := range []*Tensor{a, b} {
		if err := s.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Add(New("a", F32)); err == nil || s.Len() != 2 {
		t.Errorf("a second \"a\": %v", err)
	}
	c := s.Clone()
	c.Put(New("a", F16, 3))
	c.Put(New("c", U8, 1))
	if s.Get("a") != a || s.Get("c") != nil || c.Get("a").DType != F16 || s.Len() != 2 || s.Bytes() != 4 || c.Bytes() != 7 {
		t.Error("a clone changes its original")
	}
	var order []string
	for x := range c.All() {
		order = append(order, x.Name)
	}
	if strings.Join(order, "") != "abc" {
		t.Errorf("order %q", order)
	}
	for range c.All() {
		break
	}
}

// Every half-width value decodes as the scalar function says, at any alignment and length.
func TestDecodeHalves(t *testing.T) {
	for _, d := range []DType{F16, BF16} {
		x := New("x", d, 1<<16)
		for i := range 1 << 16 {
			binary.LittleEndian.PutUint16(x.Data[2*i:], uint16(i))
		}
		v := x.Float32()
		for i := range 1 << 16 {
			want := math.Float32frombits(uint32(i) << 16)
			if d == F16 {
				want = F16ToFloat32(uint16(i))
			}
			if math.Float32bits(v[i]) != math.Float32bits(want) {
				t.Fatalf("%v %#04x = %g, want %g", d, i, v[i], want)
			}
		}
		y := &Tensor{DType: d, Shape: []int{1<<16 - 3}, Data: x.Data[6:]}
		for i, f := range y.Float32() {
			if math.Float32bits(f) != math.Float32bits(v[i+3]) {
				t.Fatalf("%v element %d after a cut: %g, want %g", d, i, f, v[i+3])
			}
		}
		y.SetFloat32(v[3:])
		for i := range y.Len() {
			if f := v[i+3]; f == f && binary.LittleEndian.Uint16(y.Data[2*i:]) != uint16(i+3) {
				t.Fatalf("%v %#04x comes back as %x", d, i+3, y.Data[2*i:2*i+2])
			}
		}
	}
}

func TestFloat32Values(t *testing.T) {
	le := binary.LittleEndian
	for _, c := range []struct {
		d    DType
		b    []byte
		want float32
	}{
		{F32, le.AppendUint32(nil, math.Float32bits(-1.5)), -1.5},
		{F64, le.AppendUint64(nil, math.Float64bits(0.1)), 0.1},
		{I64, le.AppendUint64(nil, 0xffffffffffffffff), -1},
		{U64, le.AppendUint64(nil, 0xffffffffffffffff), 18446744073709551615},
		{I32, le.AppendUint32(nil, 0xfffffffe), -2},
		{U32, le.AppendUint32(nil, 0xfffffffe), 4294967294},
		{I16, []byte{0, 0x80}, -32768},
		{U16, []byte{0, 0x80}, 32768},
		{I8, []byte{0xff}, -1},
		{U8, []byte{0xff}, 255},
		{Bool, []byte{1}, 1},
	} {
		b := append([]byte{0}, c.b...)[1:] // no alignment
		x := &Tensor{Name: "x", DType: c.d, Data: b}
		if got := x.Float32(); len(got) != 1 || got[0] != c.want {
			t.Errorf("%v %x = %v, want %g", c.d, c.b, got, c.want)
		}
	}
}

// Large tensors are converted in parallel; the result is that of one piece.
func TestParallelConversion(t *testing.T) {
	n := 5*chunkLen + 7
	x := random("x", F32, 1, n)
	v := x.Float32()
	for _, d := range []DType{F32, F16, BF16, F64} {
		y := &Tensor{Name: "y", DType: d, Shape: []int{n}}
		y.SetFloat32(v)
		if y.SetFloat32(v); len(y.Data) != n*d.Size() {
			t.Fatalf("%v: %d bytes", d, len(y.Data))
		}
		back := y.Float32()
		for i := range n {
			want := v[i]
			switch d {
			case F16:
				want = F16ToFloat32(Float32ToF16(want))
			case BF16:
				want = math.Float32frombits(uint32(Float32ToBF16(want)) << 16)
			}
			if back[i] != want {
				t.Fatalf("%v element %d: %g, want %g", d, i, back[i], want)
			}
		}
	}
}

func TestSetFloat32LeavesOldMemory(t *testing.T) {
	x := random("x", F32, 1, 4)
	old := x.Data
	first := string(old)
	x.SetFloat32(make([]float32, 4))
	if string(old) != first {
		t.Error("SetFloat32 wrote into the memory that was there")
	}
	x.PutFloat32([]float32{1, 2, 3, 4})
	if got := x.Float32(); got[3] != 4 {
		t.Errorf("PutFloat32 left %v", got)
	}
}

func TestMisuse(t *testing.T) {
	for name, f := range map[string]func(){
		"FromFloat32": func() { FromFloat32("x", make([]float32, 3), 2) },
		"CopyFloat32": func() { New("x", F32, 3).CopyFloat32(make([]float32, 2)) },
		"SetFloat32":  func() { New("x", I64, 2).SetFloat32(make([]float32, 2)) },
		"PutFloat32":  func() { New("x", F32, 2).PutFloat32(make([]float32, 3)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func TestCompare(t *testing.T) {
	n := 2*chunkLen + 5
	a := set(random("w", F32, 1, n), random("h", F16, 2, 3, 5), FromFloat32("z", make([]float32, 4), 4), New("n", I64))
	b := set(random("h", BF16, 3, 3, 5), random("w", F32, 4, n), FromFloat32("z", []float32{0, 3, 0, 4}, 4), New("n", I64))
	d, err := Compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	var all sums
	for i, name := range []string{"w", "h", "z"} {
		x, y := a.Get(name).Float32(), b.Get(name).Float32()
		var s sums
		s.values(x, y)
		all.add(s)
		got, want := d.Tensors[i], s.distance()
		if got.Name != name || math.Abs(got.L2-want.L2) > 1e-9*want.L2 || math.Abs(got.Cosine-want.Cosine) > 1e-12 || math.Abs(got.Relative-want.Relative) > 1e-12 {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	if want := all.distance(); len(d.Tensors) != 3 || math.Abs(d.L2-want.L2) > 1e-9*want.L2 {
		t.Errorf("in all %+v of %d tensors, want %+v", d.Distance, len(d.Tensors), want)
	}
	if z := d.Tensors[2]; z.L2 != 5 || z.Relative != 0 || z.Cosine != 0 {
		t.Errorf("from zero: %+v", z)
	}
	if d, err = Compare(a, a); err != nil || d.L2 != 0 || d.Relative != 0 || math.Abs(d.Cosine-1) > 1e-12 || d.Tensors[2].Cosine != 1 {
		t.Errorf("with itself: %+v, %v", d, err)
	}
	// A step far below float32's resolution of the values.
	p, q := New("x", F64, 2), New("x", F64, 2)
	binary.LittleEndian.PutUint64(p.Data, math.Float64bits(1))
	binary.LittleEndian.PutUint64(q.Data, math.Float64bits(1+1e-12))
	if d, err = Compare(set(p), set(q)); err != nil || math.Abs(d.L2-1e-12) > 1e-15 {
		t.Errorf("float64: %+v, %v", d, err)
	}
}

func TestCompareErrors(t *testing.T) {
	for _, c := range []struct {
		a, b *Set
		want string
	}{
		{set(New("x", F32)), set(), `comparing: tensor "x": in the first, not in the second`},
		{set(), set(New("x", F32)), `comparing: tensor "x": in the second, not in the first`},
		{set(New("x", F32, 2, 3)), set(New("x", F32, 6)), `comparing: tensor "x": shape [2 3] in the first, [6] in the second`},
		{set(New("x", F32, 2)), set(New("x", I32, 2)), `comparing: tensor "x": type F32 in the first, I32 in the second`},
	} {
		if _, err := Compare(c.a, c.b); err == nil || err.Error() != c.want {
			t.Errorf("Compare: %v, want %s", err, c.want)
		}
		if err := Equal(c.a, c.b); err == nil || !strings.HasPrefix(c.want, err.Error()[:20]) {
			t.Errorf("Equal: %v, want %s", err, c.want)
		}
	}
}

func TestEqual(t *testing.T) {
	a := set(random("x", F32, 1, 9), random("y", BF16, 2, 3))
	b := set(random("y", BF16, 2, 3), random("x", F32, 1, 9))
	if err := Equal(a, b); err != nil {
		t.Error(err)
	}
	b.Get("y").Data[3] ^= 0x80
	want := fmt.Sprintf("comparing: tensor \"y\": element 1 is %s in the first, %s in the second", a.Get("y").At(1), b.Get("y").At(1))
	if err := Equal(a, b); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if err := Equal(a, set(random("x", F16, 1, 9), random("y", BF16, 2, 3))); err == nil || !strings.Contains(err.Error(), "type F32 in the first, F16 in the second") {
		t.Errorf("types: %v", err)
	}
}

func TestAt(t *testing.T) {
	x := New("x", I64, 2)
	binary.LittleEndian.PutUint64(x.Data[8:], 1<<53+1)
	if got := x.At(1); got != "9007199254740993" {
		t.Errorf("At = %s", got)
	}
	for d := F32; d <= U64; d++ {
		want := "0"
		if got := New("x", d, 1).At(0); got != want {
			t.Errorf("%v zero prints as %s", d, got)
		}
	}
}

func TestCheckFinite(t *testing.T) {
	for _, d := range []DType{F32, F16, BF16, F64} {
		for _, n := range []int{1, 3, 8, 9, chunkLen + 5, 3*chunkLen - 1} {
			s := set(random("ok", d, 1, 5), random("x", d, 2, n), random("later", d, 3, 4))
			x := s.Get("x")
			v := x.Float32()
			v[0], v[n/2], v[n-1] = math.MaxFloat32, float32(math.Copysign(0, -1)), 1e-40
			if d == F16 {
				v[0] = 65504
			}
			x.SetFloat32(v)
			if err := s.CheckFinite(); err != nil && d != BF16 { // bfloat16 rounds the largest float32 up
				t.Fatalf("%v of %d: %v", d, n, err)
			}
			v[0] = 1
			for _, at := range []int{0, n / 2, n - 1} {
				for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
					w := append([]float32{}, v...)
					w[at] = bad
					w[n-1] = bad
					x.SetFloat32(w)
					err := s.CheckFinite()
					want := fmt.Sprintf("tensor \"x\": element %d is %v: not finite", at, bad)
					if err == nil || err.Error() != want || !errors.Is(err, ErrNotFinite) {
						t.Fatalf("%v of %d: %v, want %s", d, n, err, want)
					}
				}
			}
		}
	}
	i := New("i", I64, 3)
	for k := range i.Data {
		i.Data[k] = 0xff
	}
	if err := set(i, New("e", F32, 0)).CheckFinite(); err != nil {
		t.Errorf("integers and empty tensors: %v", err)
	}
}

func TestHash(t *testing.T) {
	a := set(random("x", F32, 1, 9), random("y", BF16, 2, 3))
	h := a.Hash()
	if len(h) != 64 || set(a.Get("y"), a.Get("x")).Hash() != h {
		t.Errorf("hash %s depends on the order", h)
	}
	// The documented construction, over a set small enough to write out.
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	if got := (&Set{}).Hash(); got != empty {
		t.Errorf("hash of nothing is %s", got)
	}
	seen := map[string]string{h: "itself"}
	for what, s := range map[string]*Set{
		"a bit": func() *Set {
			s := set(random("x", F32, 1, 9), random("y", BF16, 2, 3))
			s.Get("x").Data[0] ^= 1
			return s
		}(),
		"a name":   set(random("X", F32, 1, 9), random("y", BF16, 2, 3)),
		"a type":   set(&Tensor{"x", I32, []int{9}, a.Get("x").Data}, a.Get("y")),
		"a shape":  set(&Tensor{"x", F32, []int{3, 3}, a.Get("x").Data}, a.Get("y")),
		"a tensor": set(a.Get("x")),
	} {
		g := s.Hash()
		if other, ok := seen[g]; ok {
			t.Errorf("%s: the hash is that of %s", what, other)
		}
		seen[g] = what
	}
}

func BenchmarkConvert(b *testing.B) {
	const n = 1 << 22
	v := random("x", F32, 1, n).Float32()
	for _, d := range []DType{F32, F16, BF16} {
		x := New("x", d, n)
		x.PutFloat32(v)
		out := make([]float32, n)
		b.Run(d.String()+"/decode", func(b *testing.B) {
			b.SetBytes(int64(len(x.Data)))
			for b.Loop() {
				x.CopyFloat32(out)
			}
		})
		b.Run(d.String()+"/encode", func(b *testing.B) {
			b.SetBytes(int64(len(x.Data)))
			for b.Loop() {
				x.PutFloat32(v)
			}
		})
	}
}

func BenchmarkSet(b *testing.B) {
	x, y := set(random("x", F32, 1, 1<<22)), set(random("x", F32, 2, 1<<22))
	for name, f := range map[string]func(){
		"compare": func() { Compare(x, y) },   //nolint:errcheck // they match
		"finite":  func() { x.CheckFinite() }, //nolint:errcheck // they are
		"hash":    func() { x.Hash() },
		"equal":   func() { Equal(x, x) }, //nolint:errcheck // they are
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(1 << 24)
			for b.Loop() {
				f()
			}
		})
	}
}

package paint_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"paint"
	"paint/checkpoint"
	"paint/weights"
)

func golden(t *testing.T, name string) *weights.Set {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "merge", name+".safetensors.gz"))
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
	s, err := checkpoint.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func cast(s *weights.Set, d weights.DType) *weights.Set {
	var out weights.Set
	for t := range s.All() {
		n := &weights.Tensor{Name: t.Name, DType: d, Shape: t.Shape}
		n.SetFloat32(t.Float32())
		out.Put(n)
	}
	return &out
}

// What torch computes in each type. In f32 two products are rounded and then their sum, as here: equal to the last bit.
// In f16 and bf16 torch rounds each product to the type as well; a single rounding differs from that by at most one unit
// in the last place of the larger operand.
func TestGoldenTorch(t *testing.T) {
	base, a, want := golden(t, "base"), golden(t, "a"), golden(t, "torch_interp")
	compared := 0
	for _, d := range []struct {
		prefix string
		dtype  weights.DType
		ulp    float64 // relative to the largest operand
	}{{"f32", weights.F32, 1e-7}, {"f16", weights.F16, 1.0 / 1024}, {"bf16", weights.BF16, 1.0 / 128}} {
		zs, ft := cast(base, d.dtype), cast(a, d.dtype)
		got, err := paint.Interpolate(zs, ft, 0.3)
		if err != nil {
			t.Fatal(err)
		}
		for g := range got.All() {
			w := want.Get(d.prefix + "." + g.Name)
			if w == nil {
				t.Fatalf("no golden tensor %s.%s", d.prefix, g.Name)
			}
			compared++
			x, y, p, q := g.Float32(), w.Float32(), zs.Get(g.Name).Float32(), ft.Get(g.Name).Float32()
			for i := range x {
				largest := math.Max(math.Abs(float64(p[i])), math.Abs(float64(q[i])))
				if diff := math.Abs(float64(x[i] - y[i])); diff > d.ulp*largest+1e-7 {
					t.Fatalf("%s %s[%d]: %g, torch has %g", d.prefix, g.Name, i, x[i], y[i])
				}
			}
		}
	}
	if compared != 3*base.Len() {
		t.Errorf("compared %d tensors of %d", compared, 3*base.Len())
	}
}

func random(seed uint64, d weights.DType, n ...int) *weights.Set {
	rng := rand.New(rand.NewPCG(seed, 1))
	var s weights.Set
	for i, k := range n {
		v := make([]float32, k)
		for j := range v {
			v[j] = float32(rng.NormFloat64())
		}
		t := &weights.Tensor{Name: fmt.Sprint("t", i), DType: d, Shape: []int{k}}
		t.SetFloat32(v)
		s.Put(t)
	}
	return &s
}

func same(a, b *weights.Set) string {
	for t := range a.All() {
		if !bytes.Equal(t.Data, b.Get(t.Name).Data) {
			return t.Name
		}
	}
	return ""
}

// The ends are exact, NaN payloads and negative zeros included; the middle is rounded once from float32.
func TestEndsAndRounding(t *testing.T) {
	sizes := []int{1, 3, 1 << 15, 1<<15 + 1, 100_000}
	for _, d := range []weights.DType{weights.F32, weights.F16, weights.BF16, weights.F64} {
		zs, ft := random(1, d, sizes...), random(2, d, sizes...)
		for _, s := range []*weights.Set{zs, ft} { // odd bit patterns
			copy(s.Get("t1").Data, bytes.Repeat([]byte{0x80, 0xff, 0x01, 0x7f}, 6)[:3*d.Size()])
		}
		ip, err := paint.NewInterpolator(zs, ft)
		if err != nil {
			t.Fatal(err)
		}
		for alpha, want := range map[float64]*weights.Set{0: zs, 1: ft} {
			got, err := ip.At(alpha)
			if err != nil {
				t.Fatal(err)
			}
			if n := same(want, got); n != "" {
				t.Errorf("%v, alpha %g: tensor %s is not a copy", d, alpha, n)
			}
		}
		got, err := ip.At(0.35)
		if err != nil {
			t.Fatal(err)
		}
		if d == weights.F64 {
			continue
		}
		x, y, z := zs.Get("t4").Float32(), ft.Get("t4").Float32(), got.Get("t4").Float32()
		b, a := float32(1-0.35), float32(0.35)
		for i := range z {
			w := &weights.Tensor{DType: d, Shape: []int{1}}
			w.SetFloat32([]float32{float32(b*x[i]) + float32(a*y[i])})
			if w.Float32()[0] != z[i] {
				t.Fatalf("%v element %d: %g, want %g", d, i, z[i], w.Float32()[0])
			}
		}
	}
}

// The bytes do not depend on the number of cores, and a result keeps the type of the zero-shot tensor.
func TestCoresAndTypes(t *testing.T) {
	zs, ft := random(3, weights.F16, 200_001), random(4, weights.F32, 200_001)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	one, err := paint.Interpolate(zs, ft, 0.7)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GOMAXPROCS(4)
	four, err := paint.Interpolate(zs, ft, 0.7)
	if err != nil {
		t.Fatal(err)
	}
	if n := same(one, four); n != "" {
		t.Errorf("tensor %s depends on the number of cores", n)
	}
	if d := one.Get("t0").DType; d != weights.F16 {
		t.Errorf("result has type %v", d)
	}
	swapped, err := paint.Interpolate(ft, zs, 0.3)
	if err != nil {
		t.Fatal(err)
	}
	x, y := one.Get("t0").Float32(), swapped.Get("t0").Float32()
	for i := range x {
		if math.Abs(float64(x[i]-y[i])) > 2e-3*math.Max(1, math.Abs(float64(y[i]))) {
			t.Fatalf("element %d: %g one way round, %g the other", i, x[i], y[i])
		}
	}
}

// Stream writes the bytes of Interpolate, piece by piece.
func TestStream(t *testing.T) {
	for _, d := range []weights.DType{weights.F32, weights.F16, weights.F64} {
		zs, ft := random(5, d, 7, 1<<21+3, 40_000), random(6, d, 7, 1<<21+3, 40_000)
		for _, s := range []*weights.Set{zs, ft} {
			s.Put(weights.New("n", weights.I64))
		}
		for _, alpha := range []float64{0, 0.35, 1} {
			want, err := paint.Interpolate(zs, ft, alpha)
			if err != nil {
				t.Fatal(err)
			}
			write, err := paint.Stream(zs, ft, alpha)
			if err != nil {
				t.Fatal(err)
			}
			for x := range want.All() {
				var b bytes.Buffer
				if err := write(&b, x.Name); err != nil || !bytes.Equal(b.Bytes(), x.Data) {
					t.Errorf("%v, alpha %g, tensor %s: other bytes, or %v", d, alpha, x.Name, err)
				}
			}
			if write(io.Discard, "nothing") == nil {
				t.Error("unknown tensor: no error")
			}
		}
	}
	if _, err := paint.Stream(random(1, weights.F32, 2), random(1, weights.F32, 2), 2); err == nil {
		t.Error("alpha 2: no error")
	}
}

func TestMismatches(t *testing.T) {
	set := func(ts ...*weights.Tensor) *weights.Set {
		var s weights.Set
		for _, x := range ts {
			s.Put(x)
		}
		return &s
	}
	w := func(n int) *weights.Tensor { return weights.FromFloat32("w", make([]float32, n), n) }
	count := func(name string, v byte) *weights.Tensor {
		c := weights.New(name, weights.I64)
		c.Data[0] = v
		return c
	}
	for _, c := range []struct {
		want   string
		zs, ft *weights.Set
	}{
		{`tensor "w": shape [2] in zero-shot, [3] in fine-tuned`, set(w(2)), set(w(3))},
		{`tensor "w": in zero-shot, not in fine-tuned`, set(w(2)), set()},
		{`tensor "x": in fine-tuned, not in zero-shot`, set(w(2)), set(w(2), count("x", 1))},
		{`tensor "n": integers differ: element 0 is 0100`, set(count("n", 1)), set(count("n", 2))},
		{`tensor "w": type F32 in zero-shot, I64 in fine-tuned`, set(weights.New("w", weights.F32)), set(weights.New("w", weights.I64))},
	} {
		if _, err := paint.Interpolate(c.zs, c.ft, 0.5); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	bn := "visual.bn1.num_batches_tracked"
	got, err := paint.Interpolate(set(w(2), count(bn, 7)), set(w(2), count(bn, 9)), 1)
	if err != nil || got.Get(bn).Data[0] != 7 {
		t.Errorf("num_batches_tracked: %v, %v", got, err)
	}
	got, err = paint.Interpolate(set(w(2), count("n", 3)), set(w(2)), 0.5, paint.AllowMissing())
	if err != nil || got.Get("n").Data[0] != 3 {
		t.Errorf("missing tensor allowed: %v", err)
	}
	for _, a := range []float64{-0.1, 1.1, math.NaN(), math.Inf(1)} {
		if _, err := paint.Interpolate(set(w(2)), set(w(2)), a); err == nil {
			t.Errorf("alpha %g: no error", a)
		}
	}
	if _, err := paint.Interpolate(set(w(2)), set(w(2)), 1.5, paint.Extrapolate()); err != nil {
		t.Errorf("extrapolation allowed: %v", err)
	}
}

func TestAlphas(t *testing.T) {
	for spec, want := range map[string]string{
		"0:1:0.25":    "[0 0.25 0.5 0.75 1]",
		"0:1:0.3":     "[0 0.3 0.6 0.9 1]",
		"0.2:0.4:0.1": "[0.2 0.3 0.4]",
		"0,0.5, 1":    "[0 0.5 1]",
		"0.7":         "[0.7]",
	} {
		got, err := paint.Alphas(spec)
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %v, %v", spec, got, err)
		}
	}
	if got, err := paint.Alphas("0:1:0.05"); err != nil || len(got) != 21 || got[6] != 0.3 || got[20] != 1 {
		t.Errorf("0:1:0.05: %v, %v", got, err)
	}
	for _, spec := range []string{"", "a", "0:1", "0:1:0", "0:1:-1", "1:0:0.1", "0:1:1e-9", "0,0", "1,0", "0,2", "-0.1:1:0.1", "nan", "0:nan:0.1", "0:1:0.1:2"} {
		if got, err := paint.Alphas(spec); err == nil {
			t.Errorf("%q: %v, want an error", spec, got)
		}
	}
}

func point(alpha, patching float64, supported ...float64) paint.Point {
	p := paint.Point{Alpha: alpha, Split: "validation", Patching: map[string]float64{"p": patching}, Supported: map[string]float64{}}
	for i, s := range supported {
		p.Supported[fmt.Sprint("s", i)] = s
	}
	return p
}

func TestSelect(t *testing.T) {
	curve := []paint.Point{point(0, 0.40, 0.90, 0.70), point(0.25, 0.60, 0.91, 0.68), point(0.5, 0.80, 0.89, 0.69), point(0.75, 0.90, 0.80, 0.60), point(1, 0.90, 0.5, 0.3)}
	for rule, want := range map[string]float64{"max-drop=1.0": 0.5, "max-drop=0.5": 0.25, "max-drop=0": 0, "max-drop=50": 0.75, "mean": 0.75} {
		r, err := paint.ParseRule(rule)
		if err != nil {
			t.Fatal(err)
		}
		c, err := paint.Select(curve, r)
		if err != nil || c.Alpha != want || curve[c.Index].Alpha != want || !strings.Contains(c.Why, fmt.Sprintf("alpha %.2f", want)) {
			t.Errorf("%s: %+v, %v, want alpha %g", rule, c, err, want)
		}
	}
	drop, _ := paint.ParseRule("max-drop=1")
	if drop.String() != "max-drop=1.0" {
		t.Errorf("rule prints as %q", drop)
	}
	// Without supported tasks the best patching accuracy wins; of equal points the smaller alpha.
	if c, err := paint.Select([]paint.Point{point(0, 0.4), point(0.5, 0.9), point(1, 0.9)}, drop); err != nil || c.Alpha != 0.5 {
		t.Errorf("no supported tasks: %+v, %v", c, err)
	}
	test := point(0.5, 0.9, 0.9, 0.9)
	test.Split = "test"
	for name, points := range map[string][]paint.Point{
		"none": nil, "no alpha 0": curve[1:], "NaN": {point(0, math.NaN(), 1)}, "supported NaN": {point(0, 1, math.NaN())},
		"test": {curve[0], test}, "other tasks": {curve[0], point(1, 1, 1)}, "no patching": {{Alpha: 0, Supported: map[string]float64{"s": 1}}},
	} {
		_, err := paint.Select(points, drop)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if (name == "test") != errors.Is(err, paint.ErrTestSplit) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := paint.Select(curve, paint.Rule{}); err == nil {
		t.Error("zero rule: no error")
	}
	for _, s := range []string{"", "best", "max-drop", "max-drop=", "max-drop=x", "max-drop=-1", "max-drop=nan", "max-drop=101"} {
		if r, err := paint.ParseRule(s); err == nil {
			t.Errorf("rule %q: %v, want an error", s, r)
		}
	}
}

func TestSweep(t *testing.T) {
	zs, ft := random(1, weights.F32, 10), random(2, weights.F32, 10)
	measure := func(_ context.Context, a float64, w *weights.Set) (paint.Point, error) {
		if a > 0.6 {
			return paint.Point{}, errors.New("out of memory")
		}
		return paint.Point{Split: "validation", Patching: map[string]float64{"p": float64(w.Get("t0").Float32()[0])}}, nil
	}
	points, err := paint.Sweep(context.Background(), zs, ft, []float64{0, 0.5}, measure)
	if err != nil || len(points) != 2 || points[1].Alpha != 0.5 || points[0].Patching["p"] != float64(zs.Get("t0").Float32()[0]) {
		t.Errorf("%+v, %v", points, err)
	}
	if _, err := paint.Sweep(context.Background(), zs, ft, []float64{0, 1}, measure); err == nil || !strings.Contains(err.Error(), "alpha 1: out of memory") {
		t.Errorf("failing measure: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := paint.Sweep(ctx, zs, ft, []float64{0}, measure); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func BenchmarkInterpolate(b *testing.B) {
	const n = 1 << 24
	for _, d := range []weights.DType{weights.F32, weights.F16, weights.BF16} {
		ip, err := paint.NewInterpolator(random(1, d, n), random(2, d, n))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(d.String(), func(b *testing.B) {
			b.SetBytes(3 * n * int64(d.Size())) // two read, one written
			for b.Loop() {
				if _, err := ip.At(0.3); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	x, y := make([]byte, 4*n), make([]byte, 4*n)
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(2 * 4 * n)
		for b.Loop() {
			copy(y, x)
		}
	})
}

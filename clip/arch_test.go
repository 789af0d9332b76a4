package clip

import (
	"bytes"
	"math"
	"runtime"
	"strings"
	"testing"

	"paint/weights"
)

// The named architectures have the published numbers of parameters and of operations.
func TestArch(t *testing.T) {
	for _, c := range []struct {
		name   string
		params int
		gflops float64 // of an image, a multiply-add counted as two
	}{
		{"ViT-B-32", 151277313, 8.8},
		{"ViT-B-16", 149620737, 35.1},
		{"ViT-L-14", 427616513, 162},
	} {
		a, err := Arch(c.name)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, p := range a.Params() {
			n += (&weights.Tensor{Shape: p.Shape}).Len()
		}
		if n != c.params {
			t.Errorf("%s: %d parameters, want %d", c.name, n, c.params)
		}
		if g := a.ImageFLOPs() / 1e9; math.Abs(g/c.gflops-1) > 0.03 {
			t.Errorf("%s: %.1f GFLOP an image, want about %.1f", c.name, g, c.gflops)
		}
	}
	for _, name := range Archs {
		a, err := Arch(name)
		if err != nil || a.check() != nil || a.TextFLOPs() <= 0 {
			t.Errorf("%s: %v, %v", name, err, a.check())
		}
	}
	_, err := Arch("RN50")
	refused(t, err, `"RN50"`, "ViT-B-32")
}

// Random's tensors are those of Params, finite, of the deviations of OpenAI's initialisation, and the seed's.
func TestRandom(t *testing.T) {
	c, err := Arch("embedded")
	if err != nil {
		t.Fatal(err)
	}
	s := Random(c, 3)
	i, params := 0, c.Params()
	for x := range s.All() {
		if x.Name != params[i].Name || x.DType != weights.F32 || x.Len() != (&weights.Tensor{Shape: params[i].Shape}).Len() {
			t.Fatalf("tensor %d is %s %v, want %+v", i, x.Name, x.Shape, params[i])
		}
		i++
		sum, n := 0.0, float64(x.Len())
		for _, v := range x.Float32() {
			sum += float64(v) * float64(v)
		}
		want := initStd(c, x.Name)
		switch {
		case want > 0:
		case x.Name == "logit_scale":
			want = math.Log(1 / 0.07)
		case strings.Contains(x.Name, "ln_") && strings.HasSuffix(x.Name, ".weight"):
			want = 1
		}
		if got := math.Sqrt(sum / n); math.Abs(got-want) > 1e-6+want*5/math.Sqrt(2*n) {
			t.Errorf("%s: root mean square %g, want %g", x.Name, got, want)
		}
	}
	if i != len(params) || s.CheckFinite() != nil {
		t.Errorf("%d tensors, want %d; %v", i, len(params), s.CheckFinite())
	}
	if Random(c, 3).Hash() != s.Hash() || Random(c, 4).Hash() == s.Hash() {
		t.Error("the seed does not say what is drawn")
	}
}

func TestTranspose(t *testing.T) {
	for _, d := range []weights.DType{weights.F32, weights.F16, weights.F64} {
		for _, shape := range [][2]int{{1, 1}, {1, 5}, {5, 1}, {31, 33}, {32, 64}, {65, 100}, {0, 3}, {3, 0}} {
			r, c, s := shape[0], shape[1], d.Size()
			x := weights.New("a", d, r, c)
			for i := range x.Data {
				x.Data[i] = byte(i * 7 / 3)
			}
			y := transpose(x, "b")
			if y.Name != "b" || y.DType != d || y.Shape[0] != c || y.Shape[1] != r {
				t.Fatalf("%v %v: %s %v %v", d, shape, y.Name, y.DType, y.Shape)
			}
			for i := range r {
				for j := range c {
					if !bytes.Equal(y.Data[(j*r+i)*s:][:s], x.Data[(i*c+j)*s:][:s]) {
						t.Fatalf("%v %v: element %d, %d", d, shape, i, j)
					}
				}
			}
			if !bytes.Equal(transpose(y, "a").Data, x.Data) {
				t.Errorf("%v %v: twice transposed is not the same", d, shape)
			}
		}
	}
}

func BenchmarkTranspose(b *testing.B) {
	x := weights.New("visual.proj", weights.F32, 1024, 768)
	b.SetBytes(int64(len(x.Data)))
	for b.Loop() {
		transpose(x, "visual_projection.weight")
	}
}

// Loading keeps views over the file: beyond them it allocates what HF's layout makes it join and transpose.
func TestLoadMemory(t *testing.T) {
	for _, f := range []files{openCLIPFiles(t), shardedFiles(t)} {
		dir := f.write(t)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := Load(dir)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		limit := 1 << 20 // names, headers, configurations
		for x := range m.Weights.All() {
			if m.Layout == HF && (strings.Contains(x.Name, ".attn.in_proj_") || transposed(x.Name)) {
				limit += len(x.Data)
			}
		}
		if got := int(after.TotalAlloc - before.TotalAlloc); got > limit || m.Weights.Bytes() < 4*limit {
			t.Errorf("%s: loading %d bytes of weights allocated %d, want at most %d", m.Layout, m.Weights.Bytes(), got, limit)
		}
	}
}

package paint_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"paint"
	"paint/weights"
)

// In f32 the result is torch's to the last bit. In f16 and bf16 torch rounds both products and the sum to the type:
// done so, our operands give torch's bits, and the single rounding here is nearer to the exact value, or as near.
func TestGoldenBits(t *testing.T) {
	base, a, want := golden(t, "base"), golden(t, "a"), golden(t, "torch_interp")
	for prefix, d := range map[string]weights.DType{"f32": weights.F32, "f16": weights.F16, "bf16": weights.BF16} {
		round := func(v float32) float32 {
			x := &weights.Tensor{DType: d, Shape: []int{1}}
			x.SetFloat32([]float32{v})
			return x.Float32()[0]
		}
		zs, ft := cast(base, d), cast(a, d)
		got, err := paint.Interpolate(zs, ft, 0.3)
		if err != nil {
			t.Fatal(err)
		}
		equal, n, ourError, torchError := 0, 0, 0.0, 0.0
		for g := range got.All() {
			x, y, ours, torch := zs.Get(g.Name).Float32(), ft.Get(g.Name).Float32(), g.Float32(), want.Get(prefix+"."+g.Name).Float32()
			for i := range ours {
				alpha := 0.3
				b, a := float32(1-alpha), float32(alpha)
				if v := round(round(b*x[i]) + round(a*y[i])); v != torch[i] {
					t.Fatalf("%s %s[%d]: torch's roundings give %g, torch has %g", prefix, g.Name, i, v, torch[i])
				}
				exact := float64(b)*float64(x[i]) + float64(a)*float64(y[i])
				ourError += math.Abs(float64(ours[i]) - exact)
				torchError += math.Abs(float64(torch[i]) - exact)
				n++
				if ours[i] == torch[i] {
					equal++
				}
			}
		}
		t.Logf("%s: %d of %d elements are torch's bits, mean error %.3g, torch's %.3g", prefix, equal, n, ourError/float64(n), torchError/float64(n))
		if d == weights.F32 && equal != n || ourError > torchError {
			t.Errorf("%s: %d of %d equal torch, error %g, torch's %g", prefix, equal, n, ourError, torchError)
		}
	}
}

// Swapping the sets and reversing alpha gives the same within a rounding; along alpha every element moves one way, from
// one end to the other.
func TestCommutesAndMoves(t *testing.T) {
	for _, d := range []weights.DType{weights.F32, weights.F16, weights.BF16, weights.F64} {
		zs, ft := random(7, d, 1000, 1), random(8, d, 1000, 1)
		unit := map[weights.DType]float64{weights.F32: 1 << 23, weights.F16: 1 << 10, weights.BF16: 1 << 7, weights.F64: 1 << 23}[d]
		ab, err := paint.NewInterpolator(zs, ft)
		if err != nil {
			t.Fatal(err)
		}
		ba, err := paint.NewInterpolator(ft, zs)
		if err != nil {
			t.Fatal(err)
		}
		x, y := zs.Get("t0").Float32(), ft.Get("t0").Float32()
		last := x
		for alpha := 0.0; alpha <= 1; alpha += 0.125 {
			p, err := ab.At(alpha)
			if err != nil {
				t.Fatal(err)
			}
			q, err := ba.At(1 - alpha)
			if err != nil {
				t.Fatal(err)
			}
			v, w := append([]float32{}, p.Get("t0").Float32()...), q.Get("t0").Float32()
			for i := range v {
				tol := 2 / unit * math.Max(math.Abs(float64(x[i])), math.Abs(float64(y[i])))
				if math.Abs(float64(v[i]-w[i])) > tol {
					t.Fatalf("%v alpha %g element %d: %g, the other way %g", d, alpha, i, v[i], w[i])
				}
				if step := float64(v[i] - last[i]); step*float64(y[i]-x[i]) < 0 && math.Abs(step) > tol {
					t.Fatalf("%v alpha %g element %d: moves from %g to %g on the way from %g to %g", d, alpha, i, last[i], v[i], x[i], y[i])
				}
			}
			last = v
		}
	}
}

// Equal sets stay equal at the ends to the bit and within a rounding between; the inputs are not written to.
func TestInputsStay(t *testing.T) {
	zs, ft := random(1, weights.F16, 50_000), random(1, weights.F16, 50_000)
	before := zs.Hash()
	ip, err := paint.NewInterpolator(zs, ft)
	if err != nil {
		t.Fatal(err)
	}
	for _, alpha := range []float64{0.3, 1, 0.5, 0} {
		w, err := ip.At(alpha)
		if err != nil {
			t.Fatal(err)
		}
		d, err := weights.Compare(zs, w)
		if err != nil || d.Relative > 1e-3 {
			t.Errorf("alpha %g: %+v, %v", alpha, d, err)
		}
	}
	if zs.Hash() != before || ft.Hash() != before {
		t.Error("an input was written to")
	}
}

func TestSelectRefuses(t *testing.T) {
	rule, err := paint.ParseRule("mean")
	if err != nil {
		t.Fatal(err)
	}
	val := func(alpha float64, patching, supported map[string]float64) paint.Point {
		return paint.Point{Alpha: alpha, Split: "validation", Patching: patching, Supported: supported}
	}
	type acc = map[string]float64
	first := val(0, acc{"p": .5}, acc{"s": .5})
	other := val(1, acc{"p": .5}, acc{"s": .5})
	other.Split = "train"
	for want, p := range map[string]paint.Point{
		`patching task "q" is at alpha 1, not at alpha 0`:                   val(1, acc{"q": .5}, acc{"s": .5}),
		`patching task "p" is at alpha 0, not at alpha 1`:                   val(1, acc{}, acc{"s": .5}),
		`supported task "s" is at alpha 0, not at alpha 1`:                  val(1, acc{"p": .5}, nil),
		`supported task "s" at alpha 1 has accuracy 95, want a fraction`:    val(1, acc{"p": .5}, acc{"s": 95}),
		`patching task "p" at alpha 1 has accuracy NaN, want a fraction`:    val(1, acc{"p": math.NaN()}, acc{"s": 1}),
		`patching task "p" at alpha 1 has accuracy -Inf, want a fraction`:   val(1, acc{"p": math.Inf(-1)}, acc{"s": 1}),
		`point at alpha 1 is of the split "train", that at alpha 0 of "val`: other,
		`a point has alpha NaN`: val(math.NaN(), acc{"p": .5}, acc{"s": .5}),
	} {
		if strings.Contains(want, `"p" is at alpha 0`) {
			want = "no patching accuracy at alpha 1"
		}
		if _, err := paint.Select([]paint.Point{first, p}, rule); err == nil || !strings.Contains(err.Error(), "selecting alpha: "+want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	c, err := paint.Select([]paint.Point{val(0.125, acc{"p": .5}, acc{"s": .5})}, rule)
	if err != nil || !strings.HasPrefix(c.Why, "alpha 0.125: on validation data it has the best mean (50.0 %)") {
		t.Errorf("%q, %v", c.Why, err)
	}
}

func FuzzAlphas(f *testing.F) {
	for _, s := range []string{"0:1:0.05", "0,0.1,0.5", "0:1:0.3", "1:0:-1", "0:1e308:1e-308", "0:nan:1", "-0,1", ":::", "0x1p-2", "0.9999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := paint.Alphas(s)
		if err != nil {
			return
		}
		if len(v) == 0 {
			t.Fatalf("%q: no value", s)
		}
		for i, a := range v {
			if !(a >= 0 && a <= 1) || i > 0 && a <= v[i-1] {
				t.Fatalf("%q: %v", s, v)
			}
		}
		again, err := paint.Alphas(strings.Trim(strings.ReplaceAll(fmt.Sprint(v), " ", ","), "[]"))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(v) {
			t.Fatalf("%q: %v, as a list %v, %v", s, v, again, err)
		}
	})
}

func FuzzParseRule(f *testing.F) {
	for _, s := range []string{"mean", "max-drop=1.0", "max-drop=1e-3", "max-drop=-0", "max-drop=0x1p1", "max-drop=Inf", "max-drop"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := paint.ParseRule(s)
		if err != nil {
			return
		}
		if again, err := paint.ParseRule(r.String()); err != nil || again != r {
			t.Fatalf("%q prints as %q, which is %v, %v", s, r, again, err)
		}
	})
}

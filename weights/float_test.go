package weights

import (
	"math"
	"testing"
)

func TestF16RoundTrip(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		f := F16ToFloat32(h)
		if f != f {
			if g := F16ToFloat32(Float32ToF16(f)); g == g {
				t.Fatalf("NaN %#04x came back as %g", h, g)
			}
			continue
		}
		if g := Float32ToF16(f); g != h {
			t.Fatalf("%#04x -> %g -> %#04x", h, f, g)
		}
	}
}

// The midpoint between neighbours goes to the even one, anything past it to the nearer.
func TestF16Rounding(t *testing.T) {
	for i := range 0x7bff {
		lo, hi := F16ToFloat32(uint16(i)), F16ToFloat32(uint16(i+1))
		mid := lo + (hi-lo)/2
		even := uint16(i + i&1)
		for _, c := range []struct {
			f    float32
			want uint16
		}{{mid, even}, {math.Nextafter32(mid, lo), uint16(i)}, {math.Nextafter32(mid, hi), uint16(i + 1)}} {
			if got := Float32ToF16(c.f); got != c.want {
				t.Fatalf("Float32ToF16(%g) = %#04x, want %#04x", c.f, got, c.want)
			}
			if got := Float32ToF16(-c.f); got != c.want|0x8000 {
				t.Fatalf("Float32ToF16(%g) = %#04x, want %#04x", -c.f, got, c.want|0x8000)
			}
		}
	}
	for _, c := range []struct {
		f    float32
		want uint16
	}{{65519.996, 0x7bff}, {65520, 0x7c00}, {1e30, 0x7c00}, {float32(math.Inf(-1)), 0xfc00}} {
		if got := Float32ToF16(c.f); got != c.want {
			t.Errorf("Float32ToF16(%g) = %#04x, want %#04x", c.f, got, c.want)
		}
	}
}

func TestBF16Rounding(t *testing.T) {
	for i := range 0x7f80 {
		lo := math.Float32frombits(uint32(i) << 16)
		if got := Float32ToBF16(lo); got != uint16(i) {
			t.Fatalf("Float32ToBF16(%g) = %#04x, want %#04x", lo, got, i)
		}
		mid := uint32(i)<<16 | 0x8000
		if got := Float32ToBF16(math.Float32frombits(mid)); got != uint16(i+i&1) {
			t.Fatalf("midpoint above %#04x rounds to %#04x", i, got)
		}
		if got := Float32ToBF16(math.Float32frombits(mid + 1)); got != uint16(i+1) {
			t.Fatalf("above midpoint of %#04x rounds to %#04x", i, got)
		}
	}
	if got := Float32ToBF16(math.Float32frombits(0x7f800001)); got&0x7f80 != 0x7f80 || got&0x7f == 0 {
		t.Errorf("NaN rounds to %#04x", got)
	}
}

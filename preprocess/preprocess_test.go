package preprocess

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func noise(w, h int) *Image {
	rng := rand.New(rand.NewPCG(uint64(w), uint64(h)))
	img := &Image{W: w, H: h, Pix: make([]uint8, 3*w*h)}
	for i := range img.Pix {
		img.Pix[i] = uint8(rng.IntN(256))
	}
	return img
}

// A resize of a box is the resize of the box cut out.
func TestResizeBox(t *testing.T) {
	img := noise(61, 47)
	for _, c := range [][6]int{{0, 0, 61, 47, 20, 20}, {5, 3, 40, 40, 16, 16}, {7, 9, 16, 30, 16, 16}, {7, 9, 30, 16, 16, 16}, {1, 2, 8, 8, 32, 32}, {1, 2, 8, 8, 8, 8}} {
		a := resample(img, rect{c[0], c[1], c[2], c[3]}, c[4], c[5], rect{0, 0, c[4], c[5]})
		b := Resize(crop(img, rect{c[0], c[1], c[2], c[3]}), c[4], c[5])
		if !bytes.Equal(a.Pix, b.Pix) {
			t.Errorf("box %v differs from its cut-out", c)
		}
	}
}

// A random view depends on the generator only, stays in range of the image and differs from seed to seed.
func TestAugment(t *testing.T) {
	tr := Transform{Size: 24, Std: [3]float64{1, 1, 1}}
	flat := &Image{W: 50, H: 31, Pix: bytes.Repeat([]byte{200}, 3*50*31)}
	a := Augmentation{ScaleMin: 0.9, ScaleMax: 1, RotateDegrees: 10, Zoom: 0.1, Translate: 0.05}
	px := make([]float32, 3*24*24)
	for seed := range uint64(200) {
		a.Apply(px, flat, tr, rand.New(rand.NewPCG(seed, 0)))
		for _, v := range px {
			if v != float32(200)/255 {
				t.Fatalf("seed %d: a view of a flat image holds %g", seed, v)
			}
		}
	}
	img := noise(40, 37)
	view := func(seed uint64, a Augmentation) []float32 {
		out := make([]float32, len(px))
		a.Apply(out, img, tr, rand.New(rand.NewPCG(seed, 0)))
		return out
	}
	for _, a := range []Augmentation{a, {ScaleMin: 0.9, ScaleMax: 1}, {RotateDegrees: 5}} {
		if x, y := view(1, a), view(1, a); !equal(x, y) {
			t.Errorf("%+v: the same seed gives two views", a)
		}
		if x, y := view(1, a), view(2, a); equal(x, y) {
			t.Errorf("%+v: two seeds give one view", a)
		}
	}
	plain := make([]float32, len(px))
	tr.Apply(plain, img)
	if !equal(view(1, Augmentation{}), plain) {
		t.Error("no augmentation differs from the evaluation's crop")
	}
}

// The random box has the share of the area and the shape that were asked for, but for rounding, and lies in the image.
func TestBox(t *testing.T) {
	a := Augmentation{ScaleMin: 0.5, ScaleMax: 0.8}
	rng := rand.New(rand.NewPCG(7, 7))
	var low, high float64 = 1, 0
	for range 2000 {
		r := a.box(400, 300, rng)
		if r.x < 0 || r.y < 0 || r.w < 1 || r.h < 1 || r.x+r.w > 400 || r.y+r.h > 300 {
			t.Fatalf("%+v", r)
		}
		share, ratio := float64(r.w*r.h)/(400*300), float64(r.w)/float64(r.h)
		if share < 0.495 || share > 0.805 || ratio < 0.74 || ratio > 1.35 {
			t.Fatalf("%+v: share %g, ratio %g", r, share, ratio)
		}
		low, high = min(low, share), max(high, share)
	}
	if low > 0.51 || high < 0.79 {
		t.Errorf("shares from %g to %g", low, high)
	}
	// Where no box fits, the largest central one.
	for _, c := range []struct {
		w, h int
		want rect
	}{{1000, 10, rect{493, 0, 13, 10}}, {9, 900, rect{0, 444, 9, 12}}, {1, 1, rect{0, 0, 1, 1}}} {
		if got := (Augmentation{ScaleMin: 0.9, ScaleMax: 1}).box(c.w, c.h, rng); got != c.want {
			t.Errorf("%d x %d: %+v, want %+v", c.w, c.h, got, c.want)
		}
	}
}

func TestAffine(t *testing.T) {
	img := noise(9, 9)
	at := func(m *Image, x, y int) [3]uint8 { return [3]uint8(m.Pix[3*(y*m.W+x):]) }
	if got := affine(img, motion{zoom: 1}); !bytes.Equal(got.Pix, img.Pix) {
		t.Error("no motion changes the image")
	}
	shifted := affine(img, motion{zoom: 1, dx: 2, dy: 1})
	turned := affine(img, motion{zoom: 1, angle: math.Pi / 2})
	larger := affine(img, motion{zoom: 2})
	for y := range 9 {
		for x := range 9 {
			if got, want := at(shifted, x, y), at(img, max(x-2, 0), max(y-1, 0)); got != want {
				t.Errorf("shifted (%d, %d): %v, want %v", x, y, got, want)
			}
			// Clockwise, the left column becomes the top row.
			if got, want := at(turned, x, y), at(img, y, 8-x); got != want {
				t.Errorf("turned (%d, %d): %v, want %v", x, y, got, want)
			}
		}
	}
	if at(larger, 0, 0) != at(img, 2, 2) || at(larger, 8, 8) != at(img, 6, 6) || at(larger, 4, 4) != at(img, 4, 4) {
		t.Error("zoom")
	}
}

func equal(a, b []float32) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestDecodeErrors(t *testing.T) {
	png, err := os.ReadFile(filepath.Join("testdata", "images", "png_rgba.png"))
	if err != nil {
		t.Fatal(err)
	}
	bomb := bytes.Clone(png)
	copy(bomb[16:], []byte{0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff})
	for name, b := range map[string][]byte{"empty": nil, "text": []byte("hello"), "cut": png[:len(png)/2], "header": png[:20], "bomb": bomb,
		"ppm": []byte("P6 100 100 255\nabc"), "ppm16": []byte("P6 1 1 65535\nabcdef"), "ppm huge": []byte("P6 999999999999 2 255\n")} {
		if img, err := Decode(b); err == nil || img != nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error of several lines: %v", name, err)
		}
	}
}

// A fifth of a file is an error in every format, never a panic; a JPEG wherever it is cut, but for its end marker.
func TestTruncated(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "images", "*"))
	if err != nil || len(files) < 39 {
		t.Fatalf("%d images, %v", len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		cuts := []int{len(b) / 5} // within the first frame of the animation too
		if strings.HasSuffix(f, ".jpg") {
			for n := 0; n < len(b)-2; n += 61 {
				cuts = append(cuts, n)
			}
		}
		for _, n := range cuts {
			if img, err := Decode(b[:n]); err == nil || img != nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s cut to %d bytes: %v", filepath.Base(f), n, err)
			}
		}
	}
}

// Resizes of many sizes at once use tables that others make and drop.
func TestResizeConcurrent(t *testing.T) {
	img := noise(70, 50)
	want := Resize(img, 31, 23)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 40 {
				Resize(img, 20+i, 30+g)
				if got := Resize(img, 31, 23); !bytes.Equal(got.Pix, want.Pix) {
					t.Error("results differ")
				}
			}
		})
	}
	wg.Wait()
	for i := range 300 {
		table(tableKey{4000, 2000 + i, 0, 2000 + i})
	}
	if tables.size > maxTaps || len(tables.m) == 0 {
		t.Errorf("%d coefficients kept, at most %d", tables.size, maxTaps)
	}
}

func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "images", "*"))
	if err != nil || len(files) < 39 {
		f.Fatalf("%d images, %v", len(files), err)
	}
	for _, n := range files {
		b, err := os.ReadFile(n)
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 8<<10 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, f := range formats { // large but valid sizes only cost time here
			if f.is(b) {
				if c, err := f.config(bytes.NewReader(b)); err == nil && c.Width*c.Height > 1<<20 {
					return
				}
			}
		}
		img, err := Decode(b)
		if (img == nil) == (err == nil) {
			t.Fatalf("image %v, error %v", img, err)
		}
		if img != nil && len(img.Pix) != 3*img.W*img.H {
			t.Fatalf("%d bytes for %d x %d", len(img.Pix), img.W, img.H)
		}
	})
}

func BenchmarkDecodeCrop224(b *testing.B) {
	f, err := os.ReadFile(filepath.Join("testdata", "images", "jpeg_224src.jpg"))
	if err != nil {
		b.Fatal(err)
	}
	tr := Transform{Size: 224, Std: [3]float64{1, 1, 1}}
	px := make([]float32, 3*224*224)
	for b.Loop() {
		img, err := Decode(f)
		if err != nil {
			b.Fatal(err)
		}
		tr.Apply(px, img)
	}
}

func BenchmarkResize(b *testing.B) {
	for _, c := range []struct {
		name     string
		w, h, to int
	}{{"500x375to224", 500, 375, 224}, {"28to48", 28, 28, 48}} {
		img := noise(c.w, c.h)
		tr := Transform{Size: c.to, Std: [3]float64{1, 1, 1}}
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				tr.Crop8(img)
			}
		})
	}
}

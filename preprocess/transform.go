package preprocess

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Transform is what OpenAI's and OpenCLIP's evaluation transform does: the shorter side to Size by bicubic resize, a
// square cut from the centre, and (value/255 - Mean) / Std by channel, in float32.
type Transform struct {
	Size      int
	Mean, Std [3]float64
}

// Crop8 returns the square of Size x Size pixels before normalisation. It may be img itself where the size fits.
func (t Transform) Crop8(img *Image) *Image {
	w, h := t.Size, t.Size
	// torchvision truncates the longer side.
	if img.W <= img.H {
		h = int(float64(t.Size*img.H) / float64(img.W))
	} else {
		w = int(float64(t.Size*img.W) / float64(img.H))
	}
	return resample(img, rect{0, 0, img.W, img.H}, w, h, rect{half(w - t.Size), half(h - t.Size), t.Size, t.Size})
}

// half is d/2 rounded half to even, as Python's round does.
func half(d int) int { return int(math.RoundToEven(float64(d) / 2)) }

// Apply writes the pixels [3, Size, Size] of img to dst, which has that length.
func (t Transform) Apply(dst []float32, img *Image) { t.Normalize(dst, t.Crop8(img)) }

// Normalize writes the pixels [3, H, W] of img to dst, without resize or crop.
func (t Transform) Normalize(dst []float32, img *Image) {
	n := img.W * img.H
	if len(dst) != 3*n {
		panic(fmt.Sprintf("preprocess: %d values for an image of %d x %d", len(dst), img.W, img.H))
	}
	for c := range 3 {
		var lut [256]float32
		for v := range lut {
			// The same float32 steps as torch: divide, subtract, divide.
			lut[v] = (float32(v)/255 - float32(t.Mean[c])) / float32(t.Std[c])
		}
		plane := dst[c*n : (c+1)*n]
		p := img.Pix[c:]
		for i := range plane {
			plane[i] = lut[p[3*i]]
		}
	}
}

// Augmentation draws random views for training. The paper's code crops with ScaleMin 0.9, ScaleMax 1 and nothing else.
type Augmentation struct {
	// ScaleMin and ScaleMax are the share of the area that a random crop keeps; its aspect ratio is 3/4 to 4/3. It is
	// resized to the model's square. 0 for both: the evaluation's crop.
	ScaleMin, ScaleMax float64
	// RotateDegrees, Zoom (below 1) and Translate are the largest rotation either way, relative change of size, and shift
	// as a share of the side, that follow the crop; bilinear, the border's pixels repeated. All 0: none.
	RotateDegrees, Zoom, Translate float64
}

// Apply writes the pixels [3, t.Size, t.Size] of a random view of img to dst, normalised as t says. The same state of the
// generator gives the same view.
func (a Augmentation) Apply(dst []float32, img *Image, t Transform, rng *rand.Rand) {
	v := img
	if a.ScaleMax > 0 {
		v = resample(img, a.box(img.W, img.H, rng), t.Size, t.Size, rect{0, 0, t.Size, t.Size})
	} else {
		v = t.Crop8(img)
	}
	if a.RotateDegrees != 0 || a.Zoom != 0 || a.Translate != 0 {
		v = affine(v, a.draw(v, rng))
	}
	t.Normalize(dst, v)
}

// box is torchvision's RandomResizedCrop.get_params.
func (a Augmentation) box(w, h int, rng *rand.Rand) rect {
	const least, most = 3.0 / 4, 4.0 / 3
	area := float64(w) * float64(h)
	for range 10 {
		target := area * (a.ScaleMin + (a.ScaleMax-a.ScaleMin)*rng.Float64())
		ratio := math.Exp(math.Log(least) + (math.Log(most)-math.Log(least))*rng.Float64())
		bw := int(math.RoundToEven(math.Sqrt(target * ratio)))
		bh := int(math.RoundToEven(math.Sqrt(target / ratio)))
		if bw > 0 && bw <= w && bh > 0 && bh <= h {
			y, x := rng.IntN(h-bh+1), rng.IntN(w-bw+1)
			return rect{x, y, bw, bh}
		}
	}
	// No box fitted: the largest central one of an allowed ratio.
	bw, bh := w, h
	switch r := float64(w) / float64(h); {
	case r < least:
		bh = min(h, max(1, int(math.RoundToEven(float64(w)/least))))
	case r > most:
		bw = min(w, max(1, int(math.RoundToEven(float64(h)*most))))
	}
	return rect{(w - bw) / 2, (h - bh) / 2, bw, bh}
}

// motion is what affine applies: an angle in radians, a factor of the size, a shift in pixels to the right and down.
type motion struct{ angle, zoom, dx, dy float64 }

func (a Augmentation) draw(img *Image, rng *rand.Rand) motion {
	span := func(m float64) float64 { return m * (2*rng.Float64() - 1) }
	return motion{
		angle: span(a.RotateDegrees) * math.Pi / 180,
		zoom:  1 + span(a.Zoom),
		dx:    span(a.Translate) * float64(img.W),
		dy:    span(a.Translate) * float64(img.H),
	}
}

// affine rotates an image clockwise, zooms about its centre, then shifts it, with bilinear sampling. Beyond the border, the border's
// pixels are repeated.
func affine(img *Image, m motion) *Image {
	sin, cos := math.Sincos(m.angle)
	sin, cos = sin/m.zoom, cos/m.zoom
	out := newImage(img.W, img.H)
	maxX, maxY := float64(img.W-1), float64(img.H-1)
	for y := range img.H {
		for x := range img.W {
			// From the result's pixel back to where it comes from.
			u, v := float64(x)-maxX/2-m.dx, float64(y)-maxY/2-m.dy
			sx := min(max(cos*u+sin*v+maxX/2, 0), maxX)
			sy := min(max(cos*v-sin*u+maxY/2, 0), maxY)
			x0, y0 := int(sx), int(sy)
			fx, fy := float32(sx-float64(x0)), float32(sy-float64(y0))
			right, down := 3, 3*img.W
			if x0 == img.W-1 {
				right = 0
			}
			if y0 == img.H-1 {
				down = 0
			}
			p, d := img.Pix[3*(y0*img.W+x0):], out.Pix[3*(y*img.W+x):]
			for c := range 3 {
				top := float32(p[c])*(1-fx) + float32(p[c+right])*fx
				low := float32(p[c+down])*(1-fx) + float32(p[c+down+right])*fx
				d[c] = uint8(top*(1-fy) + low*fy + 0.5)
			}
		}
	}
	return out
}

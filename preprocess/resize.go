package preprocess

import (
	"math"
	"sync"
)

// precision is the number of fractional bits of Pillow's integer coefficients: a product with 8 bits and the sign fit
// into 32.
const precision = 32 - 8 - 2

// round is one half in fixed point.
const round = 1 << (precision - 1)

// taps are the weights of one output sample: coefficients for the input samples from first on.
type taps struct {
	first int
	k     []int32
}

// tableKey names a table: the coefficients of the output samples from..from+n for a resize from in to out samples.
type tableKey struct{ in, out, from, n int }

// tables keeps recent coefficient tables. When they hold over maxTaps coefficients it starts over.
var tables = struct {
	sync.RWMutex
	m    map[tableKey][]taps
	size int
}{m: map[tableKey][]taps{}}

const maxTaps = 4 << 20

// table returns coefficients, which the caller must not change.
func table(key tableKey) []taps {
	tables.RLock()
	t, ok := tables.m[key]
	tables.RUnlock()
	if ok {
		return t
	}
	t, size := makeTable(key)
	if size > maxTaps/64 {
		return t
	}
	tables.Lock()
	if tables.size += size; tables.size > maxTaps {
		clear(tables.m)
		tables.size = size
	}
	tables.m[key] = t
	tables.Unlock()
	return t
}

// bicubic is Keys' kernel with a = -0.5.
func bicubic(x float64) float64 {
	const a = -0.5
	x = math.Abs(x)
	switch {
	case x < 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return (((x-5)*x+8)*x - 4) * a
	}
	return 0
}

// makeTable follows Pillow: the kernel is widened by the reduction factor, so that it also filters, weights are
// normalised in float64 and rounded to fixed point half away from zero. size is the number of coefficients.
func makeTable(key tableKey) (ts []taps, size int) {
	scale := float64(key.in) / float64(key.out)
	widen := math.Max(scale, 1)
	support := 2 * widen
	inverse := 1 / widen
	ts = make([]taps, key.n)
	all := make([]int32, 0, key.n*(int(2*support)+2))
	w := make([]float64, 0, int(2*support)+2)
	for i := range ts {
		center := (float64(key.from+i) + 0.5) * scale
		lo := max(0, int(center-support+0.5))
		hi := min(key.in, int(center+support+0.5))
		w = w[:0]
		var sum float64
		for x := lo; x < hi; x++ {
			v := bicubic((float64(x) - center + 0.5) * inverse)
			w = append(w, v)
			sum += v
		}
		start := len(all)
		for _, v := range w {
			if sum != 0 {
				v /= sum
			}
			// The explicit conversion keeps the product from being fused into the sum.
			v = float64(v * (1 << precision))
			all = append(all, int32(v+math.Copysign(0.5, v)))
		}
		ts[i] = taps{lo, all[start:len(all):len(all)]}
	}
	return ts, len(all)
}

func clip8(v int32) uint8 {
	v >>= precision
	if uint32(v) > 255 {
		return uint8(^v >> 31) // 0 below, 255 above
	}
	return uint8(v)
}

// rect is a box of pixels.
type rect struct{ x, y, w, h int }

// Resize returns img at w x h pixels, equal to Pillow 13's resize with BICUBIC on RGB to the bit. w and h are at least 1.
// The result may share its pixels with img where the size is the same.
func Resize(img *Image, w, h int) *Image {
	return resample(img, rect{0, 0, img.W, img.H}, w, h, rect{0, 0, w, h})
}

// resample resizes the box of img to w x h pixels, as if it were cut out first, and returns the pixels of the part of the
// result. Pillow filters in two passes, each rounded to 8 bits. Rows come first, but for images whose height shrinks by
// over twice as many pixels as the width: their columns do.
func resample(img *Image, box rect, w, h int, part rect) *Image {
	var ht, vt []taps // nil: no change in this direction
	if box.w != w {
		ht = table(tableKey{box.w, w, part.x, part.w})
	} else {
		box.x, box.w = box.x+part.x, part.w
	}
	if box.h != h {
		vt = table(tableKey{box.h, h, part.y, part.h})
	} else {
		box.y, box.h = box.y+part.y, part.h
	}
	switch {
	case ht == nil && vt == nil:
		return crop(img, box)
	case vt == nil:
		return horizontal(img, box, ht)
	case ht == nil:
		return vertical(img, box, vt)
	}
	if dh := box.h - h; dh > 0 && dh > 2*(box.w-w) {
		first, end := reach(ht)
		mid := vertical(img, rect{box.x + first, box.y, end - first, box.h}, vt)
		return horizontal(mid, rect{-first, 0, 0, mid.H}, ht)
	}
	first, end := reach(vt)
	mid := horizontal(img, rect{box.x, box.y + first, box.w, end - first}, ht)
	return vertical(mid, rect{0, -first, mid.W, 0}, vt)
}

// reach is the range of input samples that the outputs need.
func reach(ts []taps) (first, end int) {
	last := ts[len(ts)-1]
	return ts[0].first, last.first + len(last.k)
}

// horizontal filters the rows of a box. Input samples are counted from box.x.
//
// Two rows share each multiplication: their samples lie in the halves of one 64-bit word, and so do their sums, which fit
// into 32 bits each.
func horizontal(img *Image, box rect, ht []taps) *Image {
	out := newImage(len(ht), box.h)
	first, end := reach(ht)
	words := make([]int64, 3*(end-first))
	for y := 0; y < box.h; y += 2 {
		at, width := 3*((box.y+y)*img.W+box.x+first), len(words)
		upper := img.Pix[at:][:width]
		lower, dst2 := upper, out.Pix[3*y*out.W:]
		if y+1 < box.h { // the last row of an odd number is its own partner
			lower, dst2 = img.Pix[at+3*img.W:][:width], dst2[3*out.W:]
		}
		for i := range words {
			words[i] = int64(upper[i]) | int64(lower[i])<<32
		}
		dst1 := out.Pix[3*y*out.W:][:3*out.W]
		dst2 = dst2[:3*out.W]
		for x, t := range ht {
			const start = round | round<<32
			r, g, b := int64(start), int64(start), int64(start)
			w := words[3*(t.first-first):]
			w = w[:3*len(t.k)]
			for _, k := range t.k {
				k := int64(k)
				r += w[0] * k
				g += w[1] * k
				b += w[2] * k
				w = w[3:]
			}
			d1, d2 := dst1[3*x:3*x+3], dst2[3*x:3*x+3]
			d1[0], d2[0] = clipPair(r)
			d1[1], d2[1] = clipPair(g)
			d1[2], d2[2] = clipPair(b)
		}
	}
	return out
}

// clipPair takes two sums apart. A negative one has borrowed from its neighbour.
func clipPair(v int64) (a, b uint8) {
	low := int32(v)
	return clip8(low), clip8(int32((v - int64(low)) >> 32))
}

// vertical filters the columns of a box. Input samples are counted from box.y.
func vertical(img *Image, box rect, vt []taps) *Image {
	out := newImage(box.w, len(vt))
	acc := make([]int32, 3*box.w)
	for y, t := range vt {
		for i := range acc {
			acc[i] = round
		}
		at := 3 * ((box.y+t.first)*img.W + box.x)
		// Four rows at a time, so that a sum is read and written less often.
		k := t.k
		for ; len(k) >= 4; k = k[4:] {
			k0, k1, k2, k3 := k[0], k[1], k[2], k[3]
			r0 := img.Pix[at:][:len(acc)]
			r1 := img.Pix[at+3*img.W:][:len(acc)]
			r2 := img.Pix[at+6*img.W:][:len(acc)]
			r3 := img.Pix[at+9*img.W:][:len(acc)]
			for i := range acc {
				acc[i] += int32(r0[i])*k0 + int32(r1[i])*k1 + int32(r2[i])*k2 + int32(r3[i])*k3
			}
			at += 12 * img.W
		}
		for _, k := range k {
			row := img.Pix[at:][:len(acc)]
			for i, p := range row {
				acc[i] += int32(p) * k
			}
			at += 3 * img.W
		}
		row := out.Pix[3*y*out.W:][:len(acc)]
		for i, a := range acc {
			row[i] = clip8(a)
		}
	}
	return out
}

func newImage(w, h int) *Image { return &Image{W: w, H: h, Pix: make([]uint8, 3*w*h)} }

// crop cuts out a box that lies within img.
func crop(img *Image, box rect) *Image {
	if box == (rect{0, 0, img.W, img.H}) {
		return img
	}
	out := newImage(box.w, box.h)
	for y := range box.h {
		copy(out.Pix[3*box.w*y:3*box.w*(y+1)], img.Pix[3*((box.y+y)*img.W+box.x):])
	}
	return out
}

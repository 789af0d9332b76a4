package preprocess

import (
	"bytes"
	"image"

	"golang.org/x/image/webp"
)

// fixed is x in 16 fractional bits, rounded.
func fixed(x float64) int32 { return int32(x*65536 + 0.5) }

// JFIF's matrix in libjpeg's fixed point, by chroma value.
var crToR, cbToB, crToG, cbToG = func() (r, b, g1, g2 [256]int32) {
	for i := range r {
		x := int32(i) - 128
		r[i] = (fixed(1.40200)*x + 1<<15) >> 16
		b[i] = (fixed(1.77200)*x + 1<<15) >> 16
		g1[i] = -fixed(0.71414) * x
		g2[i] = -fixed(0.34414)*x + 1<<15
	}
	return
}()

// rgbFromYCC converts a row by JFIF's matrix.
func rgbFromYCC(dst, luma, cb, cr []uint8) {
	cb, cr = cb[:len(luma)], cr[:len(luma)]
	for x, v := range luma {
		l, b, r := int32(v), cb[x], cr[x]
		d := dst[:3]
		dst = dst[3:]
		d[0] = clamp(l + crToR[r])
		d[1] = clamp(l + (cbToG[b]+crToG[r])>>16)
		d[2] = clamp(l + cbToB[b])
	}
}

func clamp(v int32) uint8 {
	if uint32(v) > 255 {
		return uint8(^v >> 31) // 0 below, 255 above
	}
	return uint8(v)
}

// upsampler brings rows of a JPEG's plane to full size, as libjpeg-turbo's "fancy" upsampling does.
type upsampler struct {
	c, dst []uint8
	stride int
	cw, ch int // size of the plane
	fx, fy int // reduction of the plane
	sum    []int32
}

// newUpsampler is for a plane whose size is that of an image of w x h pixels by fx and fy, rounded up.
func newUpsampler(c []uint8, stride, w, h, fx, fy int) *upsampler {
	u := &upsampler{c: c, dst: make([]uint8, w), stride: stride, cw: (w + fx - 1) / fx, ch: (h + fy - 1) / fy, fx: fx, fy: fy}
	u.sum = make([]int32, u.cw)
	return u
}

// row returns row y at full width. It is valid until the next call.
func (u *upsampler) row(y int) []uint8 {
	c, dst := u.c, u.dst
	near := c[(y/u.fy)*u.stride:][:u.cw]
	fancy := u.fx == 2 && u.cw > 2 // libjpeg repeats the samples of narrower planes
	switch {
	case u.fx == 1 && u.fy == 1:
		return near
	case u.fy == 2 && (fancy || u.fx == 1):
		// The nearer row counts three times, the farther once; beyond the edge the edge is repeated.
		other := min(max(y/2-1+2*(y%2), 0), u.ch-1)
		far := c[other*u.stride:][:u.cw]
		sum := u.sum[:len(near)]
		for i := range sum {
			sum[i] = 3*int32(near[i]) + int32(far[i])
		}
		if u.fx == 1 {
			for i, s := range sum {
				dst[i] = uint8((s + 1 + int32(y%2)) >> 2)
			}
			return dst
		}
		triangle(dst, sum, 8, 7, 4)
	case fancy:
		sum := u.sum[:len(near)]
		for i, v := range near {
			sum[i] = int32(v)
		}
		triangle(dst, sum, 1, 2, 2)
	default:
		for x := range dst {
			dst[x] = near[x/u.fx]
		}
	}
	return dst
}

// triangle doubles the width: three parts of the nearer sample and one of the farther. even and odd round alternately so that
// errors don't add up.
func triangle(dst []uint8, s []int32, even, odd int32, shift int) {
	last := len(s) - 1
	at := func(i int, far, bias int32) uint8 { return uint8((3*s[i] + far + bias) >> shift) }
	dst[0] = at(0, s[0], even)
	dst[1] = at(0, s[1], odd)
	for i := 1; i < last; i++ {
		v := 3 * s[i]
		dst[2*i] = uint8((v + s[i-1] + even) >> shift)
		dst[2*i+1] = uint8((v + s[i+1] + odd) >> shift)
	}
	dst[2*last] = at(last, s[last-1], even)
	if 2*last+1 < len(dst) {
		dst[2*last+1] = at(last, s[last], odd)
	}
}

// decodeWebP converts lossy WebP as libwebp does: triangle upsampling of chroma and the matrix of BT.601 in its limited range,
// which Go's image.YCbCr would take for JFIF's full range.
func decodeWebP(b []byte) (*Image, error) {
	m, err := webp.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	var y *image.YCbCr
	switch m := m.(type) {
	case *image.YCbCr:
		y = m
	case *image.NYCbCrA:
		y = &m.YCbCr
	default:
		return fromGo(m)
	}
	w, h := y.Rect.Dx(), y.Rect.Dy()
	out := newImage(w, h)
	cw, ch := (w+1)/2, (h+1)/2
	for py := range h {
		near := (py / 2) * y.CStride
		far := min(max(py/2-1+2*(py%2), 0), ch-1) * y.CStride
		for px := range w {
			n, f := px/2, min(max(px/2-1+2*(px%2), 0), cw-1)
			mix := func(c []uint8) int32 {
				return (9*int32(c[near+n]) + 3*int32(c[near+f]) + 3*int32(c[far+n]) + int32(c[far+f]) + 8) >> 4
			}
			u, v, l := mix(y.Cb), mix(y.Cr), int32(y.Y[py*y.YStride+px])
			l = l * 19077 >> 8
			p := out.Pix[3*(py*w+px):]
			p[0] = clamp((l + v*26149>>8 - 14234) >> 6)
			p[1] = clamp((l - u*6419>>8 - v*13320>>8 + 8708) >> 6)
			p[2] = clamp((l + u*33050>>8 - 17685) >> 6)
		}
	}
	return out, nil
}

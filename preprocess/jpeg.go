package preprocess

import (
	"errors"
	"fmt"
	"image"
	"io"
)

// This file reads JPEG: baseline and progressive, 8 bits, Huffman-coded, ITU-T T.81. Go's decoder rounds otherwise than libjpeg in
// the inverse transform and does not smooth chroma, which shifts pixels by up to 3 levels; this one gives libjpeg-turbo's pixels.

// maxScans bounds the passes over the image that a small file can ask for. Real files have 1 to about 20.
const maxScans = 256

// jpegComp is a component, a plane of samples.
type jpegComp struct {
	id, h, v, tq int
	bw, bh       int     // blocks that hold samples
	stride       int     // blocks in a row of storage, whole MCUs
	rows         int     // rows of blocks in storage
	coef         []int16 // [rows, stride, 64], progressive only
	pix          []uint8 // [8*rows, 8*stride]
	pred         int32
	seen         bool
}

type jpegDecoder struct {
	b           []byte
	at          int
	w, h        int
	hmax, vmax  int
	mcuX, mcuY  int
	progressive bool
	comps       []*jpegComp
	quant       [4]*[64]int32 // in natural order
	dc, ac      [4]*huffman
	restart     int
	jfif        bool
	adobe       int // Adobe's transform, or -1
	bits        bitReader
	eobRun      int
}

var errNoFrame = errors.New("scan before the frame header")

// zigzag is the natural place of the coefficients as they are coded.
var zigzag = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

// jpegConfig reads a file up to the frame header.
func jpegConfig(r io.Reader) (image.Config, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return image.Config{}, err
	}
	d := jpegDecoder{b: b, adobe: -1}
	if err := d.run(true); err != nil {
		return image.Config{}, err
	}
	return image.Config{Width: d.w, Height: d.h}, nil
}

func decodeJPEG(b []byte) (*Image, error) {
	d := jpegDecoder{b: b, adobe: -1}
	if err := d.run(false); err != nil {
		return nil, err
	}
	return d.image()
}

// run reads segments to the end of the image, or to the frame header.
func (d *jpegDecoder) run(headerOnly bool) error {
	d.at = 2
	for scans := 0; ; {
		marker, err := d.marker()
		if err != nil {
			return err
		}
		switch {
		case marker == 0xD9:
			return d.finish()
		case marker == 0x01 || marker >= 0xD0 && marker <= 0xD8: // no segment
			continue
		}
		seg, err := d.segment(marker)
		if err != nil {
			return err
		}
		switch marker {
		case 0xC0, 0xC1, 0xC2:
			if d.comps != nil {
				return errors.New("second frame header")
			}
			d.progressive = marker == 0xC2
			if err := d.frame(seg); err != nil || headerOnly {
				return err
			}
		case 0xC4:
			err = d.huffmanTables(seg)
		case 0xDB:
			err = d.quantTables(seg)
		case 0xDD:
			if len(seg) < 2 {
				return io.ErrUnexpectedEOF
			}
			d.restart = int(seg[0])<<8 | int(seg[1])
		case 0xDA:
			if scans++; scans > maxScans {
				return fmt.Errorf("more than %d scans", maxScans)
			}
			if err := d.scan(seg); err != nil {
				return err
			}
			if !d.progressive && d.complete() { // an end marker that is missing does no harm
				return d.finish()
			}
		case 0xE0:
			d.jfif = d.jfif || len(seg) >= 5 && string(seg[:5]) == "JFIF\x00"
		case 0xEE:
			if len(seg) >= 12 && string(seg[:5]) == "Adobe" {
				d.adobe = int(seg[11])
			}
		case 0xC3, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF:
			return fmt.Errorf("coding process %#02x is neither baseline nor progressive Huffman coding", marker)
		}
		if err != nil {
			return err
		}
	}
}

// marker finds the next marker and moves behind it.
func (d *jpegDecoder) marker() (byte, error) {
	for d.at+1 < len(d.b) {
		if d.b[d.at] == 0xFF && d.b[d.at+1] != 0 && d.b[d.at+1] != 0xFF {
			d.at += 2
			return d.b[d.at-1], nil
		}
		d.at++
	}
	return 0, io.ErrUnexpectedEOF
}

// segment returns what follows a marker.
func (d *jpegDecoder) segment(marker byte) ([]byte, error) {
	if d.at+2 > len(d.b) {
		return nil, io.ErrUnexpectedEOF
	}
	n := int(d.b[d.at])<<8 | int(d.b[d.at+1])
	if n < 2 {
		return nil, fmt.Errorf("segment %#02x has length %d", marker, n)
	}
	if d.at+n > len(d.b) {
		return nil, io.ErrUnexpectedEOF
	}
	seg := d.b[d.at+2 : d.at+n]
	d.at += n
	return seg, nil
}

func (d *jpegDecoder) quantTables(seg []byte) error {
	for len(seg) > 0 {
		wide, id := seg[0]>>4, seg[0]&15
		size := 64 * (1 + int(wide))
		if wide > 1 || id > 3 || len(seg) < 1+size {
			return errors.New("malformed quantization table")
		}
		t := new([64]int32)
		for i := range t {
			if wide == 0 {
				t[zigzag[i]] = int32(seg[1+i])
			} else {
				t[zigzag[i]] = int32(seg[1+2*i])<<8 | int32(seg[2+2*i])
			}
		}
		d.quant[id] = t
		seg = seg[1+size:]
	}
	return nil
}

// frame reads the frame header and lays out the planes.
func (d *jpegDecoder) frame(seg []byte) error {
	if len(seg) < 6 || len(seg) < 6+3*int(seg[5]) {
		return errors.New("malformed frame header")
	}
	if seg[0] != 8 {
		return fmt.Errorf("%d bits a sample, want 8", seg[0])
	}
	d.h, d.w = int(seg[1])<<8|int(seg[2]), int(seg[3])<<8|int(seg[4])
	if d.w < 1 || d.h < 1 {
		return fmt.Errorf("%d x %d pixels", d.w, d.h)
	}
	n := int(seg[5])
	if n != 1 && n != 3 && n != 4 {
		return fmt.Errorf("%d components, want 1, 3 or 4", n)
	}
	for i := range n {
		s := seg[6+3*i:]
		c := &jpegComp{id: int(s[0]), h: int(s[1] >> 4), v: int(s[1] & 15), tq: int(s[2])}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.tq > 3 {
			return fmt.Errorf("component %d: sampling %d x %d, table %d", c.id, c.h, c.v, c.tq)
		}
		for _, o := range d.comps {
			if o.id == c.id {
				return fmt.Errorf("component %d twice", c.id)
			}
		}
		d.hmax, d.vmax = max(d.hmax, c.h), max(d.vmax, c.v)
		d.comps = append(d.comps, c)
	}
	d.mcuX, d.mcuY = (d.w+8*d.hmax-1)/(8*d.hmax), (d.h+8*d.vmax-1)/(8*d.vmax)
	for _, c := range d.comps {
		if d.hmax%c.h != 0 || d.vmax%c.v != 0 {
			return fmt.Errorf("component %d: sampling %d x %d of %d x %d", c.id, c.h, c.v, d.hmax, d.vmax)
		}
		c.bw = (d.w*c.h + 8*d.hmax - 1) / (8 * d.hmax)
		c.bh = (d.h*c.v + 8*d.vmax - 1) / (8 * d.vmax)
		c.stride, c.rows = d.mcuX*c.h, d.mcuY*c.v
	}
	return nil
}

// allocate makes the planes, once there is a scan to fill them.
func (d *jpegDecoder) allocate() error {
	blocks := 0
	for _, c := range d.comps {
		blocks += c.bw * c.bh
	}
	if blocks/8 > len(d.b) { // a block takes a bit at least
		return fmt.Errorf("%d bytes for %d x %d pixels: %w", len(d.b), d.w, d.h, io.ErrUnexpectedEOF)
	}
	for _, c := range d.comps {
		if d.progressive {
			c.coef = make([]int16, 64*c.stride*c.rows)
		}
		c.pix = make([]uint8, 64*c.stride*c.rows)
	}
	return nil
}

func (d *jpegDecoder) complete() bool {
	for _, c := range d.comps {
		if !c.seen {
			return false
		}
	}
	return d.comps != nil
}

// finish turns the coefficients of a progressive image into samples.
func (d *jpegDecoder) finish() error {
	if !d.complete() {
		return errors.New("image ends before all of its components")
	}
	if !d.progressive {
		return nil
	}
	for _, c := range d.comps {
		q := d.quant[c.tq]
		if q == nil {
			return fmt.Errorf("quantization table %d is missing", c.tq)
		}
		var block [64]int32
		for y := range c.bh {
			for x := range c.bw {
				coef := c.coef[64*(y*c.stride+x):][:64]
				last := 0
				for i, v := range coef {
					if block[i] = int32(v) * q[i]; v != 0 {
						last = i
					}
				}
				c.put(x, y, &block, last)
			}
		}
		c.coef = nil
	}
	return nil
}

// put transforms a block of dequantized coefficients. last is the place of the last that is not zero.
func (c *jpegComp) put(x, y int, block *[64]int32, last int) {
	stride := 8 * c.stride
	dst := c.pix[8*(y*stride+x):]
	if last == 0 {
		v := clamp((block[0]+4)>>3 + 128)
		for range 8 {
			row := dst[:8]
			for i := range row {
				row[i] = v
			}
			if len(dst) <= stride {
				break
			}
			dst = dst[stride:]
		}
		return
	}
	inverseDCT(block, dst, stride)
}

// image assembles the planes.
func (d *jpegDecoder) image() (*Image, error) {
	out := newImage(d.w, d.h)
	planes := make([]*upsampler, len(d.comps))
	for i, c := range d.comps {
		planes[i] = newUpsampler(c.pix, 8*c.stride, d.w, d.h, d.hmax/c.h, d.vmax/c.v)
	}
	for y := range d.h {
		dst := out.Pix[3*y*d.w:][:3*d.w]
		switch p0 := planes[0].row(y); {
		case len(planes) == 1:
			for x, v := range p0 {
				dst[3*x], dst[3*x+1], dst[3*x+2] = v, v, v
			}
		case len(planes) == 3 && !d.ycc():
			p1, p2 := planes[1].row(y), planes[2].row(y)
			for x := range p0 {
				dst[3*x], dst[3*x+1], dst[3*x+2] = p0[x], p1[x], p2[x]
			}
		case len(planes) == 3:
			rgbFromYCC(dst, p0, planes[1].row(y), planes[2].row(y))
		default:
			// Four components are taken for Adobe's, which store ink inverted.
			p1, p2, k := planes[1].row(y), planes[2].row(y), planes[3].row(y)
			if d.adobe == 2 {
				rgbFromYCC(dst, p0, p1, p2)
				for i, v := range dst {
					dst[i] = 255 - v
				}
			} else {
				for x := range p0 {
					dst[3*x], dst[3*x+1], dst[3*x+2] = p0[x], p1[x], p2[x]
				}
			}
			for i, v := range dst {
				dst[i] = ink(255-v, 255-k[i/3])
			}
		}
	}
	return out, nil
}

// ycc reports whether three components are luma and chroma, by libjpeg's rules.
func (d *jpegDecoder) ycc() bool {
	switch {
	case d.jfif:
		return true
	case d.adobe >= 0:
		return d.adobe != 0
	}
	return d.comps[0].id != 'R' || d.comps[1].id != 'G' || d.comps[2].id != 'B'
}

// ink is a channel of Pillow's conversion from CMYK to RGB.
func ink(v, black uint8) uint8 {
	white := 255 - int(black)
	t := int(v)*white + 128
	return uint8(max(0, white-(t>>8+t)>>8))
}

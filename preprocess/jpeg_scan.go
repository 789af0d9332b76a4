package preprocess

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// huffman is a decoding table.
type huffman struct {
	// fast holds, by the next 9 bits, the length of the code in the high byte and its value in the low one; 0 for longer codes.
	fast [512]uint16
	// most, first and offset are the largest code, the smallest and the place of its value, by length.
	most   [17]int32
	first  [17]int32
	offset [17]int32
	values []uint8
}

var errHuffman = errors.New("invalid Huffman code")

func (d *jpegDecoder) huffmanTables(seg []byte) error {
	for len(seg) > 0 {
		if len(seg) < 17 {
			return errors.New("malformed Huffman table")
		}
		class, id, n := seg[0]>>4, seg[0]&15, 0
		for _, c := range seg[1:17] {
			n += int(c)
		}
		if class > 1 || id > 3 || n > 256 || len(seg) < 17+n {
			return errors.New("malformed Huffman table")
		}
		t, err := newHuffman(seg[1:17], seg[17:17+n])
		if err != nil {
			return err
		}
		if class == 0 {
			d.dc[id] = t
		} else {
			d.ac[id] = t
		}
		seg = seg[17+n:]
	}
	return nil
}

func newHuffman(counts, values []byte) (*huffman, error) {
	t := &huffman{values: values}
	code, k := int32(0), int32(0)
	for n := 1; n <= 16; n++ {
		count := int32(counts[n-1])
		if code+count > 1<<n {
			return nil, errors.New("too many codes in a Huffman table")
		}
		t.first[n], t.offset[n], t.most[n] = code, k, code+count-1
		if n <= 9 {
			for range count {
				for i := code << (9 - n); i < (code+1)<<(9-n); i++ {
					t.fast[i] = uint16(n)<<8 | uint16(values[k])
				}
				code++
				k++
			}
		} else {
			code += count
			k += count
		}
		code <<= 1
	}
	return t, nil
}

// bitReader reads the bits of a scan. At a marker or the end of the file it goes on with zeros, of which it keeps count.
type bitReader struct {
	b    []byte
	at   int
	acc  uint64 // the low n bits are to be read
	n    int
	pads int // of them, those that are not in the file
}

func (r *bitReader) fill() {
	if r.n <= 16 && r.at+8 <= len(r.b) {
		// Six bytes at once, if none of them is FF: then none of the inverted bytes is zero.
		v := binary.BigEndian.Uint64(r.b[r.at:]) >> 16
		if inv := ^v & 0xFFFFFFFFFFFF; (inv-0x010101010101)&^inv&0x808080808080 == 0 {
			r.acc = r.acc<<48 | v
			r.n += 48
			r.at += 6
			return
		}
	}
	for r.n <= 48 {
		var c byte
		if r.at < len(r.b) {
			c = r.b[r.at]
		}
		if r.at >= len(r.b) || c == 0xFF && (r.at+1 >= len(r.b) || r.b[r.at+1] != 0) {
			r.acc <<= 8
			r.n += 8
			r.pads += 8
			continue
		}
		if r.at++; c == 0xFF {
			r.at++
		}
		r.acc = r.acc<<8 | uint64(c)
		r.n += 8
	}
}

// ended reports whether bits were used that are not in the file.
func (r *bitReader) ended() bool { return r.pads > r.n }

// take reads n bits, at most 16.
func (r *bitReader) take(n int) int32 {
	if r.n < n {
		r.fill()
	}
	r.n -= n
	return int32(r.acc >> r.n & (1<<n - 1))
}

// extended reads a number of n bits whose first bit is its sign.
func (r *bitReader) extended(n int) int32 {
	if n == 0 {
		return 0
	}
	v := r.take(n)
	if v < 1<<(n-1) {
		v += -1<<n + 1
	}
	return v
}

func (r *bitReader) symbol(t *huffman) (int, error) {
	if r.n < 16 {
		r.fill()
	}
	if f := t.fast[r.acc>>(r.n-9)&511]; f != 0 {
		r.n -= int(f >> 8)
		return int(f & 255), nil
	}
	for n := 10; n <= 16; n++ {
		if c := int32(r.acc >> (r.n - n) & (1<<n - 1)); c <= t.most[n] && c >= t.first[n] {
			r.n -= n
			return int(t.values[t.offset[n]+c-t.first[n]]), nil
		}
	}
	return 0, errHuffman
}

// scanComp is a component of a scan with its tables.
type scanComp struct {
	*jpegComp
	dc, ac *huffman
}

// spectral is what a progressive scan brings: coefficients from to to, and the bits high (0: none before) and low.
type spectral struct{ from, to, high, low int }

// scan reads a scan header and its data.
func (d *jpegDecoder) scan(seg []byte) error {
	if d.comps == nil {
		return errNoFrame
	}
	if d.comps[0].pix == nil {
		if err := d.allocate(); err != nil {
			return err
		}
	}
	if len(seg) < 1 || seg[0] < 1 || int(seg[0]) > len(d.comps) || len(seg) < 4+2*int(seg[0]) {
		return errors.New("malformed scan header")
	}
	n := int(seg[0])
	tail := seg[1+2*n:]
	sp := spectral{int(tail[0]), int(tail[1]), int(tail[2] >> 4), int(tail[2] & 15)}
	if !d.progressive {
		sp = spectral{0, 63, 0, 0}
	} else if sp.from > sp.to || sp.to > 63 || sp.from == 0 && sp.to != 0 || sp.from > 0 && n > 1 || sp.low > 13 ||
		sp.high != 0 && sp.high != sp.low+1 {
		return fmt.Errorf("progressive scan of coefficients %d to %d, bits %d to %d", sp.from, sp.to, sp.high, sp.low)
	}
	var comps []scanComp
	for i := range n {
		s := seg[1+2*i:]
		var c scanComp
		for _, o := range d.comps {
			if o.id == int(s[0]) {
				c.jpegComp = o
			}
		}
		for _, o := range comps {
			if o.jpegComp == c.jpegComp {
				return fmt.Errorf("component %d twice in a scan", s[0])
			}
		}
		if c.jpegComp == nil || s[1]>>4 > 3 || s[1]&15 > 3 {
			return fmt.Errorf("scan of component %d with tables %#02x", s[0], s[1])
		}
		c.dc, c.ac = d.dc[s[1]>>4], d.ac[s[1]&15]
		needDC, needAC := sp.from == 0 && sp.high == 0, sp.to > 0
		if needDC && c.dc == nil || needAC && c.ac == nil {
			return fmt.Errorf("scan of component %d: Huffman table %#02x is missing", s[0], s[1])
		}
		if !d.progressive && d.quant[c.tq] == nil {
			return fmt.Errorf("quantization table %d is missing", c.tq)
		}
		if sp.from == 0 {
			c.seen = true
		}
		comps = append(comps, c)
	}
	return d.scanData(comps, sp)
}

func (d *jpegDecoder) scanData(comps []scanComp, sp spectral) error {
	d.bits = bitReader{b: d.b, at: d.at}
	d.eobRun = 0
	for _, c := range comps {
		c.pred = 0
	}
	nx, ny := d.mcuX, d.mcuY
	single := len(comps) == 1
	if single { // not interleaved: blocks of the plane itself, row by row
		nx, ny = comps[0].bw, comps[0].bh
	}
	left := d.restart
	for y := range ny {
		for x := range nx {
			if d.restart > 0 && left == 0 {
				if err := d.restartMarker(comps); err != nil {
					return err
				}
				left = d.restart
			}
			left--
			var err error
			if single {
				err = d.block(comps[0], sp, x, y)
			} else {
				err = d.mcu(comps, sp, x, y)
			}
			if d.bits.ended() {
				return fmt.Errorf("scan ends early: %w", io.ErrUnexpectedEOF)
			}
			if err != nil {
				return err
			}
		}
	}
	d.at = d.bits.at
	return nil
}

func (d *jpegDecoder) mcu(comps []scanComp, sp spectral, x, y int) error {
	for _, c := range comps {
		for v := range c.v {
			for h := range c.h {
				if err := d.block(c, sp, x*c.h+h, y*c.v+v); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// restartMarker skips to the next restart marker and resets what it resets.
func (d *jpegDecoder) restartMarker(comps []scanComp) error {
	d.at = d.bits.at
	m, err := d.marker()
	if err != nil {
		return err
	}
	if m < 0xD0 || m > 0xD7 {
		return fmt.Errorf("marker %#02x in place of a restart", m)
	}
	d.bits = bitReader{b: d.b, at: d.at}
	d.eobRun = 0
	for _, c := range comps {
		c.pred = 0
	}
	return nil
}

// block reads one block of a scan.
func (d *jpegDecoder) block(c scanComp, sp spectral, x, y int) error {
	switch {
	case !d.progressive:
		return d.sequential(c, x, y)
	case sp.from == 0 && sp.high == 0:
		diff, err := d.difference(c)
		c.pred += diff
		c.coef[64*(y*c.stride+x)] = int16(c.pred << sp.low)
		return err
	case sp.from == 0:
		c.coef[64*(y*c.stride+x)] |= int16(d.bits.take(1) << sp.low)
		return nil
	}
	coef := (*[64]int16)(c.coef[64*(y*c.stride+x):])
	if sp.high == 0 {
		return d.first(c.ac, coef, sp)
	}
	return d.refine(c.ac, coef, sp)
}

// difference reads the difference of a DC coefficient to the one before.
func (d *jpegDecoder) difference(c scanComp) (int32, error) {
	n, err := d.bits.symbol(c.dc)
	if err != nil {
		return 0, err
	}
	if n > 15 {
		return 0, fmt.Errorf("DC difference of %d bits", n)
	}
	return d.bits.extended(n), nil
}

// sequential reads a whole block and transforms it.
func (d *jpegDecoder) sequential(c scanComp, x, y int) error {
	diff, err := d.difference(c)
	if err != nil {
		return err
	}
	var block [64]int32
	q := d.quant[c.tq]
	c.pred += diff
	block[0] = int32(int16(c.pred)) * q[0]
	last := 0
	for k := 1; k < 64; k++ {
		s, err := d.bits.symbol(c.ac)
		if err != nil {
			return err
		}
		n := s & 15
		if n == 0 {
			if s != 0xF0 {
				break
			}
			k += 15
			continue
		}
		if k += s >> 4; k > 63 {
			return errors.New("too many coefficients in a block")
		}
		last = int(zigzag[k])
		block[last] = d.bits.extended(n) * q[last]
	}
	c.put(x, y, &block, last)
	return nil
}

// first reads the first bits of AC coefficients.
func (d *jpegDecoder) first(t *huffman, coef *[64]int16, sp spectral) error {
	if d.eobRun > 0 {
		d.eobRun--
		return nil
	}
	for k := sp.from; k <= sp.to; k++ {
		s, err := d.bits.symbol(t)
		if err != nil {
			return err
		}
		run, n := s>>4, s&15
		if n == 0 {
			if run < 15 {
				d.eobRun = 1<<run - 1 + int(d.bits.take(run))
				return nil
			}
			k += 15
			continue
		}
		if k += run; k > sp.to {
			return errors.New("too many coefficients in a block")
		}
		coef[zigzag[k]] = int16(d.bits.extended(n) << sp.low)
	}
	return nil
}

// refine reads one more bit of AC coefficients: of those that are not zero a correction, of the others those that become one.
func (d *jpegDecoder) refine(t *huffman, coef *[64]int16, sp spectral) error {
	one := int16(1) << sp.low
	correct := func(p *int16) {
		if d.bits.take(1) != 0 && *p&one == 0 {
			if *p > 0 {
				*p += one
			} else {
				*p -= one
			}
		}
	}
	k := sp.from
	if d.eobRun == 0 {
	codes:
		for k <= sp.to {
			s, err := d.bits.symbol(t)
			if err != nil {
				return err
			}
			run, n := s>>4, s&15
			var value int16
			switch {
			case n == 1:
				if value = one; d.bits.take(1) == 0 {
					value = -one
				}
			case n != 0:
				return fmt.Errorf("refinement of %d bits", n)
			case run < 15:
				d.eobRun = 1<<run + int(d.bits.take(run))
				break codes
			}
			for ; k <= sp.to; k++ { // pass over run zeros
				p := &coef[zigzag[k]]
				if *p != 0 {
					correct(p)
				} else if run--; run < 0 {
					break
				}
			}
			if value != 0 {
				if k > sp.to {
					return errors.New("too many coefficients in a block")
				}
				coef[zigzag[k]] = value
			}
			k++
		}
	}
	if d.eobRun > 0 {
		d.eobRun--
		for ; k <= sp.to; k++ {
			if p := &coef[zigzag[k]]; *p != 0 {
				correct(p)
			}
		}
	}
	return nil
}

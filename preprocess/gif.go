package preprocess

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/gif"
)

// decodeGIF returns the first frame on the logical screen. As Pillow does, it shows the transparent colour as any other, fills
// what the frame does not cover with it (without one, with the first colour), and widens a screen that is too small.
func decodeGIF(b []byte) (*Image, error) {
	b = bytes.Clone(b)
	head, err := patchGIF(b)
	if err != nil {
		return nil, err
	}
	m, err := gif.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	p, ok := m.(*image.Paletted)
	if !ok {
		return nil, fmt.Errorf("pixels of type %T", m)
	}
	if p.Bounds().Dx() == head.w && p.Bounds().Dy() == head.h {
		return fromGo(p)
	}
	screen := image.NewPaletted(image.Rect(0, 0, head.w, head.h), p.Palette)
	if head.fill > 0 && head.fill < len(p.Palette) {
		for i := range screen.Pix {
			screen.Pix[i] = uint8(head.fill)
		}
	}
	r := p.Bounds()
	for y := r.Min.Y; y < r.Max.Y; y++ {
		copy(screen.Pix[y*screen.Stride+r.Min.X:], p.Pix[(y-r.Min.Y)*p.Stride:][:r.Dx()])
	}
	return fromGo(screen)
}

// gifHead is the size of the screen and the transparent colour of the first frame, or 0.
type gifHead struct{ w, h, fill int }

var errShortGIF = errors.New("file ends before the first frame")

// patchGIF clears the first frame's transparency, for which Go's decoder drops the colour, and widens the screen to hold the
// frame.
func patchGIF(b []byte) (gifHead, error) {
	var head gifHead
	if len(b) < 13 {
		return head, errShortGIF
	}
	le := binary.LittleEndian
	head.w, head.h = int(le.Uint16(b[6:])), int(le.Uint16(b[8:]))
	at := 13
	if b[10]&0x80 != 0 {
		at += 3 << (b[10]&7 + 1)
	}
	for at < len(b) {
		switch b[at] {
		case 0x21: // extension
			if at+7 < len(b) && b[at+1] == 0xF9 && b[at+2] == 4 {
				head.fill = 0
				if b[at+3]&1 != 0 {
					b[at+3] &^= 1
					head.fill = int(b[at+6])
				}
			}
			for at += 2; at < len(b) && b[at] != 0; {
				at += 1 + int(b[at])
			}
			at++
		case 0x2C: // frame
			if at+10 > len(b) {
				return head, errShortGIF
			}
			head.w = max(head.w, int(le.Uint16(b[at+1:]))+int(le.Uint16(b[at+5:])))
			head.h = max(head.h, int(le.Uint16(b[at+3:]))+int(le.Uint16(b[at+7:])))
			if head.w > 0xFFFF || head.h > 0xFFFF || head.w*head.h > MaxPixels {
				return head, fmt.Errorf("frame reaches to %d x %d pixels, at most %d in all", head.w, head.h, MaxPixels)
			}
			le.PutUint16(b[6:], uint16(head.w))
			le.PutUint16(b[8:], uint16(head.h))
			return head, nil
		default:
			return head, fmt.Errorf("unknown block %#02x", b[at])
		}
	}
	return head, errShortGIF
}

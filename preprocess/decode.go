package preprocess

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"
)

// Limits on what Decode accepts.
const (
	// MaxPixels is the largest number of pixels of an image: twice Pillow's warning limit, where it refuses.
	MaxPixels    = 178956970
	maxImageFile = 512 << 20
)

// ErrFormat is wrapped by the error about a file of no known format.
var ErrFormat = errors.New("not a PNG, JPEG, GIF, BMP, TIFF, WebP or PPM file")

type format struct {
	name   string
	magic  []string
	config func(io.Reader) (image.Config, error)
	decode func([]byte) (*Image, error)
}

var formats = []format{
	{"PNG", []string{"\x89PNG\r\n\x1a\n"}, png.DecodeConfig, decodePNG},
	{"JPEG", []string{"\xff\xd8\xff"}, jpegConfig, decodeJPEG},
	{"GIF", []string{"GIF87a", "GIF89a"}, gif.DecodeConfig, decodeGIF},
	{"BMP", []string{"BM"}, bmp.DecodeConfig, via(bmp.Decode)},
	{"TIFF", []string{"II*\x00", "MM\x00*"}, tiff.DecodeConfig, via(tiff.Decode)},
	{"WebP", []string{"RIFF"}, webp.DecodeConfig, decodeWebP},
	{"PPM", []string{"P5", "P6"}, ppmConfig, decodePPM},
}

// DecodeFile reads an image file; see Decode.
func DecodeFile(path string) (*Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading image: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxImageFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading image %q: %w", filepath.ToSlash(path), err)
	}
	if len(b) > maxImageFile {
		return nil, fmt.Errorf("reading image %q: over %d bytes", filepath.ToSlash(path), maxImageFile)
	}
	img, err := Decode(b)
	if err != nil {
		return nil, fmt.Errorf("reading image %q: %w", filepath.ToSlash(path), err)
	}
	return img, nil
}

// Decode reads an image as Pillow's convert("RGB") does: transparency is dropped, not composited; EXIF orientation is
// ignored; 16-bit gray is clipped at 255 and other 16-bit samples keep their high byte; of an animation the first frame
// counts. The format is told from the contents.
func Decode(b []byte) (img *Image, err error) {
	for _, f := range formats {
		if !f.is(b) {
			continue
		}
		// The decoders are fuzzed, but a file that makes one panic must not end the program.
		defer func() {
			if r := recover(); r != nil {
				img, err = nil, fmt.Errorf("decoding %s: %v", f.name, r)
			}
		}()
		c, err := f.config(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("decoding %s: %w", f.name, unexpected(err))
		}
		if c.Width < 1 || c.Height < 1 || c.Width > MaxPixels || c.Height > MaxPixels || c.Width*c.Height > MaxPixels {
			return nil, fmt.Errorf("decoding %s: %d x %d pixels, at most %d in all", f.name, c.Width, c.Height, MaxPixels)
		}
		img, err := f.decode(b)
		if err != nil {
			return nil, fmt.Errorf("decoding %s: %w", f.name, unexpected(err))
		}
		return img, nil
	}
	return nil, fmt.Errorf("decoding image: %w", ErrFormat)
}

func (f format) is(b []byte) bool {
	for _, m := range f.magic {
		if bytes.HasPrefix(b, []byte(m)) {
			return f.name != "WebP" || len(b) >= 12 && string(b[8:12]) == "WEBP"
		}
	}
	return false
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func via(decode func(io.Reader) (image.Image, error)) func([]byte) (*Image, error) {
	return func(b []byte) (*Image, error) {
		m, err := decode(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		return fromGo(m)
	}
}

// decodePNG is Go's decoder, but for 16-bit gray with a transparent value, which Go returns as colour.
func decodePNG(b []byte) (*Image, error) {
	m, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	const depth, colorType = 24, 25 // offsets in the file
	if c, ok := m.(*image.NRGBA64); ok && b[depth] == 16 && b[colorType] == 0 {
		r := c.Bounds()
		g := image.NewGray16(r)
		for i := range r.Dx() * r.Dy() {
			copy(g.Pix[2*i:2*i+2], c.Pix[8*i:])
		}
		m = g
	}
	return fromGo(m)
}

// fromGo converts what Go's decoders return, without alpha.
func fromGo(m image.Image) (*Image, error) {
	r := m.Bounds()
	out := newImage(r.Dx(), r.Dy())
	// each sets the pixels row by row, from rows of n bytes a pixel.
	each := func(pix []uint8, stride, n int, f func(p, d []uint8)) {
		for y := range out.H {
			row, dst := pix[y*stride:], out.Pix[3*y*out.W:]
			for x := range out.W {
				f(row[n*x:n*x+n], dst[3*x:3*x+3])
			}
		}
	}
	rgb := func(p, d []uint8) { copy(d, p[:3]) }
	high := func(p, d []uint8) { d[0], d[1], d[2] = p[0], p[2], p[4] }
	switch m := m.(type) {
	case *image.Gray:
		each(m.Pix, m.Stride, 1, func(p, d []uint8) { d[0], d[1], d[2] = p[0], p[0], p[0] })
	case *image.Gray16:
		each(m.Pix, m.Stride, 2, func(p, d []uint8) {
			v := p[1]
			if p[0] != 0 {
				v = 255
			}
			d[0], d[1], d[2] = v, v, v
		})
	case *image.NRGBA:
		each(m.Pix, m.Stride, 4, rgb)
	case *image.RGBA: // opaque, or of a TIFF file with premultiplied samples
		each(m.Pix, m.Stride, 4, func(p, d []uint8) {
			d[0], d[1], d[2] = p[0], p[1], p[2]
			if a := int(p[3]); a != 255 && a != 0 {
				for c := range d {
					d[c] = uint8(min(255, 255*int(p[c])/a))
				}
			}
		})
	case *image.NRGBA64:
		each(m.Pix, m.Stride, 8, high)
	case *image.RGBA64:
		each(m.Pix, m.Stride, 8, high)
	case *image.Paletted:
		var pal [256][3]uint8
		for i, c := range m.Palette {
			n := color.NRGBAModel.Convert(c).(color.NRGBA) // as it is where it is one, transparent or not
			pal[i] = [3]uint8{n.R, n.G, n.B}
		}
		each(m.Pix, m.Stride, 1, func(p, d []uint8) { copy(d, pal[p[0]][:]) })
	default:
		return nil, fmt.Errorf("pixels of type %T", m)
	}
	return out, nil
}

package preprocess

import (
	"errors"
	"fmt"
	"image"
	"io"
	"math"
)

// ppmConfig reads the header of a binary PGM or PPM file.
func ppmConfig(r io.Reader) (image.Config, error) {
	b, err := io.ReadAll(io.LimitReader(r, 1<<12))
	if err != nil {
		return image.Config{}, err
	}
	h, err := ppmHeader(b)
	return image.Config{Width: h.w, Height: h.h}, err
}

// ppmHead is a header: size, largest value, and where the pixels start.
type ppmHead struct{ w, h, most, at int }

func ppmHeader(b []byte) (ppmHead, error) {
	var v [3]int
	i := 2
	for k := range v {
		for i < len(b) && (b[i] == ' ' || b[i] >= '\t' && b[i] <= '\r' || b[i] == '#') {
			if b[i] == '#' {
				for i < len(b) && b[i] != '\n' && b[i] != '\r' {
					i++
				}
				continue
			}
			i++
		}
		start := i
		for i < len(b) && b[i] >= '0' && b[i] <= '9' && v[k] <= MaxPixels {
			v[k] = 10*v[k] + int(b[i]-'0')
			i++
		}
		if i == start || i == len(b) {
			return ppmHead{}, errors.New("malformed header")
		}
	}
	if v[2] < 1 || v[2] > 255 {
		return ppmHead{}, fmt.Errorf("largest value is %d, want 1 to 255", v[2])
	}
	return ppmHead{v[0], v[1], v[2], i + 1}, nil
}

func decodePPM(b []byte) (*Image, error) {
	h, err := ppmHeader(b)
	if err != nil {
		return nil, err
	}
	channels := 3
	if b[1] == '5' {
		channels = 1
	}
	n := channels * h.w * h.h
	if len(b)-h.at < n {
		return nil, fmt.Errorf("%d bytes of pixels, %d x %d need %d", len(b)-h.at, h.w, h.h, n)
	}
	var full [256]uint8
	for v := range full {
		full[v] = uint8(min(255, math.RoundToEven(float64(v)/float64(h.most)*255)))
	}
	out := newImage(h.w, h.h)
	for i, v := range b[h.at : h.at+n] {
		if channels == 3 {
			out.Pix[i] = full[v]
		} else {
			out.Pix[3*i], out.Pix[3*i+1], out.Pix[3*i+2] = full[v], full[v], full[v]
		}
	}
	return out, nil
}

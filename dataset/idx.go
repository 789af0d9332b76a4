package dataset

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"paint/preprocess"
)

// Limits on IDX files. MNIST's largest unpacks to 47 MB, EMNIST's to 639 MB.
const (
	maxIDXBytes = 1 << 30
	maxIDXSide  = 4096 // pixels
)

// IDX is a pair of IDX files in memory: gray images and their labels. It is a Part.
type IDX struct {
	name    string // for messages
	n, h, w int
	pixels  []byte // [n, h, w]
	labels  []byte // [n]
	// Checksums of the two files as they lie on disk, by name: sha256 in hex.
	Checksums map[string]string
	// Contents are the checksums of what they unpack to, by name without ".gz"; the same for a plain file.
	Contents map[string]string
}

// ReadIDX reads an image file (unsigned bytes, [n, h, w]) and its label file (unsigned bytes, [n]), each plain or
// gzipped, told by contents. Labels are in [0, classes).
func ReadIDX(fsys fs.FS, images, labels string, classes int) (*IDX, error) {
	d := &IDX{name: strings.TrimSuffix(path.Base(images), ".gz"), Checksums: map[string]string{}, Contents: map[string]string{}}
	dims, pixels, err := d.file(fsys, images, 3)
	if err != nil {
		return nil, err
	}
	d.n, d.h, d.w, d.pixels = dims[0], dims[1], dims[2], pixels
	dims, d.labels, err = d.file(fsys, labels, 1)
	if err != nil {
		return nil, err
	}
	if dims[0] != d.n {
		return nil, fmt.Errorf("reading IDX %q: %d images, but %d labels in %q", images, d.n, dims[0], labels)
	}
	for i, l := range d.labels {
		if int(l) >= classes {
			return nil, fmt.Errorf("reading IDX %q: label %d is %d, the task has %d classes", labels, i, l, classes)
		}
	}
	return d, nil
}

// OpenIDXPair reads a pair of IDX files by their paths; see ReadIDX.
func OpenIDXPair(images, labels string, classes int) (*IDX, error) {
	return ReadIDX(osFiles{}, images, labels, classes)
}

func (d *IDX) file(fsys fs.FS, name string, rank int) ([]int, []byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, nil, fmt.Errorf("reading IDX: %w", err)
	}
	defer f.Close()
	packed, content := sha256.New(), sha256.New()
	r := bufio.NewReaderSize(io.TeeReader(f, packed), 1<<16)
	var plain io.Reader = r
	if magic, _ := r.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		if plain, err = gzip.NewReader(r); err != nil {
			return nil, nil, fmt.Errorf("reading IDX %q: %w", name, err)
		}
	}
	dims, data, err := readIDX(io.TeeReader(plain, content), rank)
	if err != nil {
		return nil, nil, fmt.Errorf("reading IDX %q: %w", name, err)
	}
	base := filepath.Base(name)
	d.Checksums[base] = hex.EncodeToString(packed.Sum(nil))
	d.Contents[strings.TrimSuffix(base, ".gz")] = hex.EncodeToString(content.Sum(nil))
	return dims, data, nil
}

// readIDX reads a file of unsigned bytes to its end: two zero bytes, type 8, rank, big-endian sizes, data. Memory is
// taken as data arrive, so that a header alone costs nothing.
func readIDX(r io.Reader, rank int) ([]int, []byte, error) {
	head := make([]byte, 4+4*rank)
	if n, err := io.ReadFull(r, head); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, nil, fmt.Errorf("%d bytes, a header of %d sizes needs %d", n, rank, len(head))
		}
		return nil, nil, err
	}
	if head[0] != 0 || head[1] != 0 || head[2] != 8 {
		return nil, nil, fmt.Errorf("starts with % x, want 00 00 08", head[:3])
	}
	if int(head[3]) != rank {
		return nil, nil, fmt.Errorf("%d sizes, want %d", head[3], rank)
	}
	dims := make([]int, rank)
	total := uint64(1)
	for i := range dims {
		v := binary.BigEndian.Uint32(head[4+4*i:])
		if i > 0 && (v == 0 || v > maxIDXSide) {
			return nil, nil, fmt.Errorf("side of the images is %d, want 1 to %d", v, maxIDXSide)
		}
		dims[i] = int(v)
		// The product before stays below 2^30, so this one cannot overflow before it is seen to be too large.
		if total *= uint64(v); total > maxIDXBytes {
			return nil, nil, fmt.Errorf("sizes %v need more than %d bytes", dims[:i+1], maxIDXBytes)
		}
	}
	if dims[0] == 0 {
		return nil, nil, errors.New("no examples")
	}
	data, err := io.ReadAll(io.LimitReader(r, int64(total)))
	if err != nil {
		return nil, nil, err
	}
	if uint64(len(data)) < total {
		return nil, nil, fmt.Errorf("sizes %v need %d bytes, %d are there", dims, total, len(data))
	}
	// Reading on to the end also checks gzip's checksum.
	switch n, err := io.ReadFull(r, head[:1]); {
	case n > 0:
		return nil, nil, fmt.Errorf("sizes %v need %d bytes, more are there", dims, total)
	case err != io.EOF:
		return nil, nil, err
	}
	return dims, data, nil
}

// Len implements Part.
func (d *IDX) Len() int { return d.n }

// Label implements Part.
func (d *IDX) Label(i int) int { return int(d.labels[i]) }

// Group implements Part: every image is one of its own.
func (d *IDX) Group(i int) int { return i }

// ID implements Part.
func (d *IDX) ID(i int) string { return fmt.Sprintf("%s[%d]", d.name, i) }

// Image implements Part: gray becomes RGB.
func (d *IDX) Image(i int) (*preprocess.Image, error) {
	px := d.pixels[i*d.h*d.w : (i+1)*d.h*d.w]
	img := &preprocess.Image{W: d.w, H: d.h, Pix: make([]uint8, 3*len(px))}
	for k, v := range px {
		img.Pix[3*k], img.Pix[3*k+1], img.Pix[3*k+2] = v, v, v
	}
	return img, nil
}

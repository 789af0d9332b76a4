// Package checkpoint moves tensors between files and weights.Set: safetensors files, single or sharded, read as views
// over mapped memory and written atomically.
//
// Open and OpenSharded read, OpenAny and Read do either by what the file holds, Decode reads bytes in memory. Write, WriteSharded
// and Encode write; WriteFile and WriteDir are the atomic writers beneath them, for any content.
//
// # Lifetime of views
//
// The tensors of an opened file are views over the file's pages (on Windows: over memory that holds a copy). The
// mapping lasts as long as the process: Close gives back the resident pages but not the addresses, so a tensor, or a
// []float32 taken from one, stays readable whatever was closed, and nothing has to be kept alive by hand. Views are
// read-only: writing through one faults. A file must not be truncated while it is mapped; reading past its new end is
// a fault of the hardware that no program can catch tidily. The writers here never truncate: they put a new file in the
// old one's place, and views of the old one stay as they were.
package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"
	"sort"
	"unicode/utf8"
	"unsafe"

	"paint/weights"
)

const (
	maxHeader   = 100_000_000 // bytes, the limit of the reference library
	maxRank     = 64
	metadataKey = "__metadata__"
)

// ErrFormat is wrapped by errors about a file that is not a safetensors file at all.
var ErrFormat = errors.New("not a safetensors file")

// File is an opened checkpoint, of one file or several.
type File struct {
	set      *weights.Set
	sharding *Sharding
	release  []func()
}

// Set returns the tensors in the order of the header, shard after shard. Each tensor's Data is read-only and aligned
// for its element type: where the file has it misaligned it is a copy.
func (f *File) Set() *weights.Set { return f.set }

// Sharding says which tensors lie in which file; nil for a checkpoint of one file.
func (f *File) Sharding() *Sharding { return f.sharding }

// Close gives back the memory that the file's pages occupy. Tensors stay readable: see the package comment.
func (f *File) Close() error {
	for _, r := range f.release {
		r()
	}
	return nil
}

// Open maps a safetensors file. Nothing but the header is read.
func Open(path string) (*File, error) {
	data, release, err := mapFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading safetensors %q: %w", path, plain(err))
	}
	set, err := Decode(data)
	if err != nil {
		release()
		return nil, fmt.Errorf("reading safetensors %q: %w", path, err)
	}
	return &File{set: set, release: []func(){release}}, nil
}

// OpenAny maps a safetensors file, or the files that an index names, told apart by what the file at path holds.
func OpenAny(path string) (*File, error) {
	index, err := isIndex(path)
	if err != nil {
		return nil, fmt.Errorf("reading checkpoint %q: %w", path, plain(err))
	}
	if index {
		return OpenSharded(path)
	}
	return Open(path)
}

// Read returns the tensors of OpenAny's file.
func Read(path string) (*weights.Set, error) {
	f, err := OpenAny(path)
	if err != nil {
		return nil, err
	}
	return f.Set(), nil
}

// isIndex reports whether the file starts as JSON text does. A safetensors file starts with a length, whose eight
// bytes would have to spell the start of a JSON object.
func isIndex(path string) (bool, error) {
	f, _, err := openRegular(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var b [16]byte
	n, err := io.ReadFull(f, b[:])
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return false, err
	}
	if n >= 8 && binary.LittleEndian.Uint64(b[:]) <= maxHeader {
		return false, nil
	}
	head := bytes.TrimLeft(b[:n], " \t\r\n")
	return len(head) > 0 && head[0] == '{', nil
}

// openRegular opens a file for reading and refuses what is not a regular file: a pipe would block, a device would
// give no size.
func openRegular(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if info.IsDir() {
		return nil, 0, errors.New("is a directory")
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("is not a regular file (%v)", info.Mode().Type())
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	if info, err = f.Stat(); err != nil {
		f.Close()
		return nil, 0, err
	}
	if info.Size() > math.MaxInt {
		f.Close()
		return nil, 0, fmt.Errorf("has %d bytes, more than this machine can address", info.Size())
	}
	return f, info.Size(), nil
}

// plain strips the path that os errors repeat.
func plain(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// Decode reads a safetensors file that is in memory. The tensors are views of b where that is aligned, else copies.
func Decode(b []byte) (*weights.Set, error) {
	if len(b) < 8 {
		return nil, fmt.Errorf("%w: has %d bytes, the header's length alone takes 8", ErrFormat, len(b))
	}
	n := binary.LittleEndian.Uint64(b)
	if what := guess(b); what != "" && n > uint64(len(b)-8) {
		return nil, fmt.Errorf("%w: looks like %s", ErrFormat, what)
	}
	if n > maxHeader {
		return nil, fmt.Errorf("%w: header of %d bytes, at most %d are allowed", ErrFormat, n, maxHeader)
	}
	if n > uint64(len(b)-8) {
		return nil, fmt.Errorf("truncated: header of %d bytes in a file of %d", n, len(b))
	}
	header, data := b[8:8+n], b[8+n:]
	if n == 0 || header[0] != '{' {
		return nil, fmt.Errorf("%w: header does not start with '{'", ErrFormat)
	}
	set, spans, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	if err := checkSpans(set, spans, uint64(len(data))); err != nil {
		return nil, err
	}
	i := 0
	for t := range set.All() {
		t.Data = aligned(data[spans[i].start:spans[i].end:spans[i].end], t.DType.Size())
		i++
	}
	return set, nil
}

// guess names the formats that people hold for safetensors.
func guess(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte("PK\x03\x04")):
		return "a zip archive (torch .pt or .bin)"
	case b[0] == 0x80 && b[1] >= 2 && b[1] <= 5:
		return "a Python pickle"
	case bytes.HasPrefix(b, []byte("\x1f\x8b")):
		return "gzip data: decompress it first"
	case bytes.HasPrefix(b, []byte("version https://git-lfs")):
		return "a Git LFS pointer: the file itself was not fetched"
	case bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")):
		return "JSON text"
	case bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("<")):
		return "an HTML or XML page"
	}
	return ""
}

// aligned returns b, or a copy where b does not start at a multiple of size.
func aligned(b []byte, size int) []byte {
	if len(b) == 0 {
		return []byte{}
	}
	if uintptr(unsafe.Pointer(&b[0]))%uintptr(size) == 0 {
		return b
	}
	c := weights.New("", weights.U8, len(b)).Data
	copy(c, b)
	return c
}

type span struct{ start, end uint64 }

// parseHeader reads the JSON header: tensors without data, and where their data lies.
func parseHeader(b []byte) (*weights.Set, []span, error) {
	s := &scanner{b: b}
	set := &weights.Set{}
	var spans []span
	seen := false
	err := s.object(func(key string) error {
		if key == metadataKey {
			if seen {
				return s.errorf("key %q twice", key)
			}
			seen = true
			var err error
			_, set.Metadata, err = s.strings(metadataKey)
			return err
		}
		t, sp, err := parseTensor(s, key)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", key, err)
		}
		if set.Get(key) != nil {
			return fmt.Errorf("tensor %q twice", key)
		}
		set.Put(t)
		spans = append(spans, sp)
		return nil
	})
	if err == nil {
		err = s.end()
	}
	return set, spans, err
}

func parseTensor(s *scanner, name string) (*weights.Tensor, span, error) {
	t := &weights.Tensor{Name: name}
	var shape, offsets []uint64
	err := s.object(func(key string) (err error) {
		twice := false
		switch key {
		case "dtype":
			twice = t.DType != 0
			var d string
			if d, err = s.str(); err == nil {
				if t.DType, err = weights.ParseDType(d); err != nil {
					err = fmt.Errorf("dtype %q is not supported", d)
				}
			}
		case "shape":
			twice = shape != nil
			shape, err = s.uints(maxRank)
		case "data_offsets":
			twice = offsets != nil
			offsets, err = s.uints(2)
		default:
			return s.errorf("unknown key %q", key)
		}
		if err == nil && twice {
			err = s.errorf("key %q twice", key)
		}
		return err
	})
	switch {
	case err != nil:
		return nil, span{}, err
	case t.DType == 0:
		return nil, span{}, errors.New("no dtype")
	case shape == nil:
		return nil, span{}, errors.New("no shape")
	case len(offsets) != 2:
		return nil, span{}, fmt.Errorf("%d data_offsets, want 2", len(offsets))
	}
	sp := span{offsets[0], offsets[1]}
	if sp.start > sp.end {
		return nil, span{}, fmt.Errorf("data_offsets [%d %d] run backwards", sp.start, sp.end)
	}
	// The product must fit without counting on a zero among the sizes, so that Len never overflows.
	n, zero := uint64(t.DType.Size()), false
	t.Shape = make([]int, len(shape))
	for i, d := range shape {
		if d == 0 {
			zero = true
			continue
		}
		hi, lo := bits.Mul64(n, d)
		if hi != 0 || lo > math.MaxInt {
			return nil, span{}, fmt.Errorf("shape %v overflows", shape)
		}
		n, t.Shape[i] = lo, int(d)
	}
	if zero {
		n = 0
	}
	if n != sp.end-sp.start {
		return nil, span{}, fmt.Errorf("shape %v needs %d bytes, header gives %d", shape, n, sp.end-sp.start)
	}
	return t, sp, nil
}

// checkSpans requires that the tensors cover size bytes without gap or overlap, as the format says.
func checkSpans(set *weights.Set, spans []span, size uint64) error {
	names := make([]string, 0, len(spans))
	for t := range set.All() {
		names = append(names, t.Name)
	}
	order := make([]int, len(spans))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(i, j int) bool {
		a, b := spans[order[i]], spans[order[j]]
		return a.start < b.start || a.start == b.start && a.end < b.end
	})
	var at uint64
	prev := "the header"
	for _, i := range order {
		sp := spans[i]
		switch {
		case sp.end > size:
			return fmt.Errorf("truncated: tensor %q: data_offsets [%d %d] in %d bytes of data", names[i], sp.start, sp.end, size)
		case sp.start < at:
			return fmt.Errorf("tensor %q: data_offsets [%d %d] overlap those of %s, which end at %d", names[i], sp.start, sp.end, prev, at)
		case sp.start > at:
			return fmt.Errorf("tensor %q: data_offsets [%d %d] leave a gap after %s at %d", names[i], sp.start, sp.end, prev, at)
		}
		at, prev = sp.end, fmt.Sprintf("tensor %q", names[i])
	}
	if at != size {
		return fmt.Errorf("%d bytes of data after the last tensor, which ends at %d", size-at, at)
	}
	return nil
}

// Write writes set to a safetensors file, atomically.
func Write(path string, set *weights.Set) error {
	err := WriteFile(path, func(w io.Writer) error { return Encode(w, set) })
	if err != nil {
		return fmt.Errorf("writing safetensors: %w", err)
	}
	return nil
}

// WriteWith is Write for data that is made while it is written: body writes the bytes of one tensor of set, as many as
// the tensor has.
func WriteWith(path string, set *weights.Set, body func(w io.Writer, name string) error) error {
	err := WriteFile(path, func(w io.Writer) error { return encode(w, set, body) })
	if err != nil {
		return fmt.Errorf("writing safetensors: %w", err)
	}
	return nil
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += n
	return n, err
}

// Encode writes set as safetensors. The header keeps the set's order; so does the data, unless a tensor would come to
// lie at an offset that its type cannot be read from: then wider types come first.
func Encode(w io.Writer, set *weights.Set) error {
	return encode(w, set, func(w io.Writer, name string) error {
		_, err := w.Write(set.Get(name).Data)
		return err
	})
}

func encode(w io.Writer, set *weights.Set, body func(w io.Writer, name string) error) error {
	tensors := make([]*weights.Tensor, 0, set.Len())
	for t := range set.All() {
		if err := checkTensor(t); err != nil {
			return err
		}
		tensors = append(tensors, t)
	}
	data := dataOrder(tensors)
	offset, at := make(map[string]int, len(data)), 0
	for _, t := range data {
		offset[t.Name] = at
		at += len(t.Data)
	}

	var h bytes.Buffer
	h.WriteByte('{')
	if set.Metadata != nil {
		for k, v := range set.Metadata {
			if !utf8.ValidString(k) || !utf8.ValidString(v) {
				return fmt.Errorf("metadata %q: %q is not UTF-8", k, v)
			}
		}
		fmt.Fprintf(&h, "%q:%s", metadataKey, marshal(set.Metadata))
	}
	for _, t := range tensors {
		if h.Len() > 1 {
			h.WriteByte(',')
		}
		fmt.Fprintf(&h, `%s:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`,
			marshal(t.Name), t.DType.String(), marshal(append([]int{}, t.Shape...)), offset[t.Name], offset[t.Name]+len(t.Data))
	}
	h.WriteByte('}')
	for h.Len()%8 != 0 {
		h.WriteByte(' ')
	}
	if h.Len() > maxHeader {
		return fmt.Errorf("header of %d bytes, at most %d are allowed", h.Len(), maxHeader)
	}
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(h.Len()))); err != nil {
		return err
	}
	if _, err := w.Write(h.Bytes()); err != nil {
		return err
	}
	for _, t := range data {
		c := &counter{w: w}
		if err := body(c, t.Name); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if c.n != len(t.Data) {
			return fmt.Errorf("tensor %q: %d bytes written, it has %d", t.Name, c.n, len(t.Data))
		}
	}
	return nil
}

func checkTensor(t *weights.Tensor) error {
	size := t.DType.Size()
	for _, d := range t.Shape {
		if d < 0 {
			return fmt.Errorf("tensor %q: negative size in shape %v", t.Name, t.Shape)
		}
	}
	switch {
	case size == 0:
		return fmt.Errorf("tensor %q: %v cannot be stored", t.Name, t.DType)
	case t.Name == metadataKey:
		return fmt.Errorf("tensor %q: the name is reserved", t.Name)
	case !utf8.ValidString(t.Name):
		return fmt.Errorf("tensor %q: the name is not UTF-8", t.Name)
	case len(t.Shape) > maxRank:
		return fmt.Errorf("tensor %q: rank %d, at most %d is allowed", t.Name, len(t.Shape), maxRank)
	case len(t.Data) != t.Len()*size:
		return fmt.Errorf("tensor %q: shape %v of %v needs %d bytes, it has %d", t.Name, t.Shape, t.DType, t.Len()*size, len(t.Data))
	}
	return nil
}

// dataOrder returns the order in which the data is written.
func dataOrder(tensors []*weights.Tensor) []*weights.Tensor {
	at, misaligned := 0, false
	for _, t := range tensors {
		misaligned = misaligned || at%t.DType.Size() != 0
		at += len(t.Data)
	}
	if !misaligned {
		return tensors
	}
	sorted := append([]*weights.Tensor{}, tensors...)
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].DType.Size() > sorted[j].DType.Size() })
	return sorted
}

// marshal is JSON without HTML escapes.
func marshal(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("checkpoint: " + err.Error()) // strings, integers and maps of strings always encode
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

package weights

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Distance is how far b is from a: the L2 norm of b-a, that over the norm of a (0 where a is
// zero), and the cosine of the angle between them (1 for two zero vectors, 0 where one is zero).
type Distance struct {
	L2       float64 `json:"l2"`
	Relative float64 `json:"relative"`
	Cosine   float64 `json:"cosine"`
}

// TensorDiff is the distance of one tensor.
type TensorDiff struct {
	Name string `json:"name"`
	Distance
}

// Diff is the distance of two sets, as one vector and tensor by tensor.
type Diff struct {
	Distance
	Tensors []TensorDiff `json:"tensors"`
}

type sums struct{ aa, bb, ab, dd float64 }

func (s *sums) add(x sums) { s.aa, s.bb, s.ab, s.dd = s.aa+x.aa, s.bb+x.bb, s.ab+x.ab, s.dd+x.dd }

// values adds up two elements at a time, in sums of their own: one sum would wait for itself.
func (s *sums) values(x, y []float32) {
	var t sums
	y = y[:len(x)]
	k := 0
	for ; k+2 <= len(x); k += 2 {
		p, q, u, v := float64(x[k]), float64(y[k]), float64(x[k+1]), float64(y[k+1])
		d, e := q-p, v-u
		s.aa += float64(p * p)
		t.aa += float64(u * u)
		s.bb += float64(q * q)
		t.bb += float64(v * v)
		s.ab += float64(p * q)
		t.ab += float64(u * v)
		s.dd += float64(d * d)
		t.dd += float64(e * e)
	}
	if k < len(x) {
		p, q := float64(x[k]), float64(y[k])
		t.add(sums{p * p, q * q, p * q, (q - p) * (q - p)})
	}
	s.add(t)
}

// values64 is values for tensors that are stored in float64.
func (s *sums) values64(x, y []byte) {
	for k := 0; k+8 <= len(x); k += 8 {
		p, q := math.Float64frombits(binary.LittleEndian.Uint64(x[k:])), math.Float64frombits(binary.LittleEndian.Uint64(y[k:]))
		d := q - p
		s.aa += float64(p * p)
		s.bb += float64(q * q)
		s.ab += float64(p * q)
		s.dd += float64(d * d)
	}
}

func (s *sums) distance() Distance {
	d := Distance{L2: math.Sqrt(s.dd), Cosine: 1}
	if s.aa > 0 {
		d.Relative = d.L2 / math.Sqrt(s.aa)
	}
	if s.aa > 0 && s.bb > 0 {
		d.Cosine = max(-1, min(1, s.ab/(math.Sqrt(s.aa)*math.Sqrt(s.bb))))
	} else if s.aa != s.bb {
		d.Cosine = 0
	}
	return d
}

// Compare measures how far b is from a over the floating-point tensors, which both must have with equal shapes, of any
// two types; other tensors are left out. Sums are in float64, in a fixed order.
func Compare(a, b *Set) (*Diff, error) {
	for t := range b.All() {
		if a.Get(t.Name) == nil {
			return nil, fmt.Errorf("comparing: tensor %q: in the second, not in the first", t.Name)
		}
	}
	var xs, ys []*Tensor
	for t := range a.All() {
		u := b.Get(t.Name)
		switch {
		case u == nil:
			return nil, fmt.Errorf("comparing: tensor %q: in the first, not in the second", t.Name)
		case !slices.Equal(t.Shape, u.Shape):
			return nil, fmt.Errorf("comparing: tensor %q: shape %v in the first, %v in the second", t.Name, t.Shape, u.Shape)
		case t.DType.Float() != u.DType.Float():
			return nil, fmt.Errorf("comparing: tensor %q: type %v in the first, %v in the second", t.Name, t.DType, u.DType)
		case t.DType.Float():
			xs, ys = append(xs, t), append(ys, u)
		}
	}
	chunks := cut(xs)
	part := make([]sums, len(chunks))
	parallel(len(chunks), func(i int) {
		c := chunks[i]
		x, y := xs[c.tensor].slice(c.lo, c.hi), ys[c.tensor].slice(c.lo, c.hi)
		if x.DType == F64 && y.DType == F64 {
			part[i].values64(x.Data, y.Data)
			return
		}
		part[i].values(x.Float32(), y.Float32())
	})
	d, all := &Diff{}, sums{}
	each := make([]sums, len(xs))
	for i, c := range chunks {
		each[c.tensor].add(part[i])
	}
	for i, t := range xs {
		all.add(each[i])
		d.Tensors = append(d.Tensors, TensorDiff{t.Name, each[i].distance()})
	}
	d.Distance = all.distance()
	return d, nil
}

// chunk is a run of elements of one tensor of a list.
type chunk struct{ tensor, lo, hi int }

// cut divides tensors into the units of parallel work.
func cut(ts []*Tensor) []chunk {
	var out []chunk
	for i, t := range ts {
		for lo, n := 0, t.Len(); lo < n; lo += chunkLen {
			out = append(out, chunk{i, lo, min(n, lo+chunkLen)})
		}
	}
	return out
}

// slice is elements lo to hi as a tensor of rank 1 that shares t's memory.
func (t *Tensor) slice(lo, hi int) *Tensor {
	s := t.DType.Size()
	return &Tensor{Name: t.Name, DType: t.DType, Shape: []int{hi - lo}, Data: t.Data[lo*s : hi*s]}
}

// Equal returns nil where a and b hold the same tensors: names, types, shapes and every bit of the data, in any order.
// Otherwise the error names the first tensor of a that differs, or the first of b that a lacks. Metadata is not
// compared.
func Equal(a, b *Set) error {
	errs := make([]error, a.Len())
	parallel(a.Len(), func(i int) { errs[i] = equal(a.tensors[i], b.Get(a.tensors[i].Name)) })
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	for t := range b.All() {
		if a.Get(t.Name) == nil {
			return fmt.Errorf("comparing: tensor %q: in the second, not in the first", t.Name)
		}
	}
	return nil
}

func equal(a, b *Tensor) error {
	switch {
	case b == nil:
		return fmt.Errorf("comparing: tensor %q: in the first, not in the second", a.Name)
	case a.DType != b.DType:
		return fmt.Errorf("comparing: tensor %q: type %v in the first, %v in the second", a.Name, a.DType, b.DType)
	case !slices.Equal(a.Shape, b.Shape):
		return fmt.Errorf("comparing: tensor %q: shape %v in the first, %v in the second", a.Name, a.Shape, b.Shape)
	case bytes.Equal(a.Data, b.Data):
		return nil
	}
	i, size := 0, a.DType.Size()
	for bytes.Equal(a.Data[i*size:(i+1)*size], b.Data[i*size:(i+1)*size]) {
		i++
	}
	return fmt.Errorf("comparing: tensor %q: element %d is %s in the first, %s in the second", a.Name, i, a.At(i), b.At(i))
}

// At returns element i as text, for messages.
func (t *Tensor) At(i int) string {
	e := t.slice(i, i+1)
	switch b := e.Data; {
	case t.DType == F64:
		return fmt.Sprint(math.Float64frombits(binary.LittleEndian.Uint64(b)))
	case t.DType == I64:
		return fmt.Sprint(int64(binary.LittleEndian.Uint64(b)))
	case t.DType == U64:
		return fmt.Sprint(binary.LittleEndian.Uint64(b))
	case t.DType == I32:
		return fmt.Sprint(int32(binary.LittleEndian.Uint32(b)))
	case t.DType == U32:
		return fmt.Sprint(binary.LittleEndian.Uint32(b))
	}
	return fmt.Sprint(e.Float32()[0])
}

// ErrNotFinite is wrapped by CheckFinite's error.
var ErrNotFinite = errors.New("not finite")

// CheckFinite returns an error that names the first floating-point tensor with a NaN or an infinity, the element and
// its value.
func (s *Set) CheckFinite() error {
	chunks := cut(s.tensors)
	first := int64(len(chunks)) // the first chunk with such a value
	var at atomic.Int64
	at.Store(first)
	parallel(len(chunks), func(i int) {
		c := chunks[i]
		if int64(i) > at.Load() || s.tensors[c.tensor].slice(c.lo, c.hi).notFinite() < 0 {
			return
		}
		for {
			old := at.Load()
			if int64(i) >= old || at.CompareAndSwap(old, int64(i)) {
				return
			}
		}
	})
	if at.Load() == first {
		return nil
	}
	c := chunks[at.Load()]
	t := s.tensors[c.tensor]
	i := c.lo + t.slice(c.lo, c.hi).notFinite()
	return fmt.Errorf("tensor %q: element %d is %s: %w", t.Name, i, t.At(i), ErrNotFinite)
}

// notFinite returns the index of the first element whose exponent is all ones, -1 where there is none.
//
// Eight bytes are tested at once: adding the exponent's lowest bit carries into the sign's place, which the mask
// cleared, exactly where the exponent is all ones.
func (t *Tensor) notFinite() int {
	var exp, one, sign uint64
	switch t.DType {
	case F64:
		exp, one, sign = 0x7ff0000000000000, 0x0010000000000000, 1<<63
	case F32:
		exp, one, sign = 0x7f8000007f800000, 0x0080000000800000, 0x8000000080000000
	case F16:
		exp, one, sign = 0x7c007c007c007c00, 0x0400040004000400, 0x8000800080008000
	case BF16:
		exp, one, sign = 0x7f807f807f807f80, 0x0080008000800080, 0x8000800080008000
	default:
		return -1
	}
	test := func(b []byte, w uint64) int {
		hit := (w&exp + one) & sign
		if hit == 0 {
			return -1
		}
		size := t.DType.Size()
		for k := 1; ; k++ {
			if hit>>(8*k*size-1)&1 != 0 {
				return (len(t.Data)-len(b))/size + k - 1
			}
		}
	}
	b := t.Data
	for len(b) >= 8 {
		w := binary.LittleEndian.Uint64(b)
		if (w&exp+one)&sign != 0 {
			return test(b, w)
		}
		b = b[8:]
	}
	var last [8]byte // zeros are finite
	copy(last[:], b)
	return test(b, binary.LittleEndian.Uint64(last[:]))
}

// Hash returns, in hex, a sha256 of the tensors' names, types, shapes and bytes. Neither order nor metadata enters.
//
// It is the sha256 of, for each tensor by ascending name, a line `"NAME" TYPE [SHAPE] SUM`, where NAME is quoted as Go
// does and SUM is the sha256 of the data in hex. Hashing the data apart lets tensors be hashed in parallel.
func (s *Set) Hash() string {
	sorted := slices.Clone(s.tensors)
	slices.SortFunc(sorted, func(a, b *Tensor) int { return strings.Compare(a.Name, b.Name) })
	sums := make([][sha256.Size]byte, len(sorted))
	parallel(len(sorted), func(i int) { sums[i] = sha256.Sum256(sorted[i].Data) })
	h := sha256.New()
	for i, t := range sorted {
		fmt.Fprintf(h, "%q %v %v %x\n", t.Name, t.DType, t.Shape, sums[i])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// parallel calls f for 0..n-1 on all cores.
func parallel(n int, f func(i int)) {
	workers := min(n, runtime.GOMAXPROCS(0))
	if workers <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := int(next.Add(1) - 1); i < n; i = int(next.Add(1) - 1) {
				f(i)
			}
		})
	}
	wg.Wait()
}

package paint

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"paint/weights"
)

// Option changes what Interpolate and NewInterpolator accept.
type Option func(*options)

type options struct{ missing, extrapolate bool }

// AllowMissing lets the fine-tuned set lack tensors, an image tower alone for example: those stay as in the zero-shot
// set.
func AllowMissing() Option { return func(o *options) { o.missing = true } }

// Extrapolate lets alpha lie outside [0, 1].
func Extrapolate() Option { return func(o *options) { o.extrapolate = true } }

// Interpolate returns (1-alpha)*zs + alpha*ft, tensor by tensor, in the order and with the metadata of zs.
//
// Each element is float32(1-alpha)*x + float32(alpha)*y in float32, rounded once to the type in which zs stores the
// tensor. At alpha 0 the result is zs to the bit; at alpha 1 it is ft to the bit, or ft rounded to the type of zs where
// the two types differ. Integer tensors must be equal and are copied, but BatchNorm's num_batches_tracked is taken from
// zs as it is. Tensors that only one set has, and shapes that differ, are errors that name the tensor.
func Interpolate(zs, ft *weights.Set, alpha float64, opts ...Option) (*weights.Set, error) {
	ip, err := NewInterpolator(zs, ft, opts...)
	if err != nil {
		return nil, err
	}
	return ip.At(alpha)
}

// Interpolator interpolates between two sets at one alpha after the other, into the same memory.
type Interpolator struct {
	pairs []pair
	out   *weights.Set
	opts  options
	work  []chunk
}

type pair struct {
	zs, ft *weights.Tensor // ft is nil for tensors that are copied from zs
	out    *weights.Tensor
}

// chunk is a run of elements of one pair, the unit of parallel work.
type chunk struct{ pair, lo, hi int }

// chunkLen is how many elements are interpolated at a time: small enough for the caches, large enough to share out.
const chunkLen = 1 << 15

// NewInterpolator checks that the sets match and allocates the result.
func NewInterpolator(zs, ft *weights.Set, opts ...Option) (*Interpolator, error) {
	ip := &Interpolator{out: &weights.Set{Metadata: zs.Metadata}}
	var err error
	if ip.pairs, err = match(zs, ft, &ip.opts, opts); err != nil {
		return nil, err
	}
	for i := range ip.pairs {
		p := &ip.pairs[i]
		if p.ft != nil {
			p.out = weights.New(p.zs.Name, p.zs.DType, p.zs.Shape...)
			for lo, n := 0, p.zs.Len(); lo < n; lo += chunkLen {
				ip.work = append(ip.work, chunk{i, lo, min(n, lo+chunkLen)})
			}
		}
		ip.out.Put(p.out)
	}
	return ip, nil
}

// match pairs the tensors of two sets, or says which do not fit.
func match(zs, ft *weights.Set, o *options, opts []Option) ([]pair, error) {
	for _, set := range opts {
		set(o)
	}
	var pairs []pair
	for f := range ft.All() {
		if zs.Get(f.Name) == nil {
			return nil, fmt.Errorf("interpolating: tensor %q: in fine-tuned, not in zero-shot", f.Name)
		}
	}
	for z := range zs.All() {
		f := ft.Get(z.Name)
		switch {
		case f == nil && !o.missing:
			return nil, fmt.Errorf("interpolating: tensor %q: in zero-shot, not in fine-tuned", z.Name)
		case f == nil:
		case !slices.Equal(z.Shape, f.Shape):
			return nil, fmt.Errorf("interpolating: tensor %q: shape %v in zero-shot, %v in fine-tuned", z.Name, z.Shape, f.Shape)
		case z.DType.Float() != f.DType.Float() || !z.DType.Float() && z.DType != f.DType:
			return nil, fmt.Errorf("interpolating: tensor %q: type %v in zero-shot, %v in fine-tuned", z.Name, z.DType, f.DType)
		case z.DType.Float():
		case strings.HasSuffix(z.Name, "num_batches_tracked"):
			f = nil
		case !bytes.Equal(z.Data, f.Data):
			return nil, fmt.Errorf("interpolating: tensor %q: integers differ: %s", z.Name, firstDifference(z, f))
		default:
			f = nil
		}
		pairs = append(pairs, pair{zs: z, ft: f, out: z})
	}
	return pairs, nil
}

func firstDifference(a, b *weights.Tensor) string {
	s := a.DType.Size()
	for i := 0; i < len(a.Data); i += s {
		if !bytes.Equal(a.Data[i:i+s], b.Data[i:i+s]) {
			return fmt.Sprintf("element %d is %x in zero-shot, %x in fine-tuned (little-endian)", i/s, a.Data[i:i+s], b.Data[i:i+s])
		}
	}
	return ""
}

// At returns the weights at alpha, in memory that the next call of At fills anew. It uses all cores and gives the same
// bytes however many there are.
func (ip *Interpolator) At(alpha float64) (*weights.Set, error) {
	if err := ip.opts.check(alpha); err != nil {
		return nil, err
	}
	parallel(len(ip.work), func(i int, x, y []float32) {
		c := ip.work[i]
		p := ip.pairs[c.pair]
		p.fill(part(p.out, c.lo, c.hi), c.lo, alpha, x, y)
	})
	return ip.out, nil
}

func (o *options) check(alpha float64) error {
	if math.IsNaN(alpha) || math.IsInf(alpha, 0) {
		return fmt.Errorf("interpolating: alpha is %g, want a number", alpha)
	}
	if (alpha < 0 || alpha > 1) && !o.extrapolate {
		return fmt.Errorf("interpolating: alpha is %g, want 0 to 1", alpha)
	}
	return nil
}

// parallel calls f for 0..n-1 on all cores, with two scratch arrays of chunkLen elements.
func parallel(n int, f func(i int, x, y []float32)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range max(1, min(runtime.GOMAXPROCS(0), n)) {
		wg.Go(func() {
			var x, y [chunkLen]float32
			for i := int(next.Add(1) - 1); i < n; i = int(next.Add(1) - 1) {
				f(i, x[:], y[:])
			}
		})
	}
	wg.Wait()
}

// Stream returns a function that writes the bytes of one tensor of (1-alpha)*zs + alpha*ft, named as in zs, computed a
// few megabytes at a time: for files that are larger than the memory one wants to spend. The bytes are those of
// Interpolate.
func Stream(zs, ft *weights.Set, alpha float64, opts ...Option) (func(w io.Writer, name string) error, error) {
	var o options
	pairs, err := match(zs, ft, &o, opts)
	if err != nil {
		return nil, err
	}
	if err := o.check(alpha); err != nil {
		return nil, err
	}
	byName := make(map[string]pair, len(pairs))
	for _, p := range pairs {
		byName[p.zs.Name] = p
	}
	const window = 32 // chunks that are computed before they are written
	buf := make([]byte, window*chunkLen*8)
	return func(w io.Writer, name string) error {
		p, ok := byName[name]
		if !ok {
			return fmt.Errorf("interpolating: tensor %q: not in zero-shot", name)
		}
		if p.ft == nil {
			_, err := w.Write(p.zs.Data)
			return err
		}
		size, n := p.zs.DType.Size(), p.zs.Len()
		for lo := 0; lo < n; lo += window * chunkLen {
			out := &weights.Tensor{Name: name, DType: p.zs.DType, Data: buf[:size*min(window*chunkLen, n-lo)]}
			m := len(out.Data) / size
			parallel((m+chunkLen-1)/chunkLen, func(i int, x, y []float32) {
				a := i * chunkLen
				p.fill(part(out, a, min(m, a+chunkLen)), lo+a, alpha, x, y)
			})
			if _, err := w.Write(out.Data); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// fill computes the elements from lo on into out; x and y are scratch of at least as many elements.
func (p pair) fill(out *weights.Tensor, lo int, alpha float64, x, y []float32) {
	hi := lo + out.Len()
	zs := part(p.zs, lo, hi)
	x, y = x[:hi-lo], y[:hi-lo]
	switch {
	case alpha == 0:
		copy(out.Data, zs.Data)
		return
	case alpha == 1 && p.ft.DType == p.zs.DType:
		copy(out.Data, part(p.ft, lo, hi).Data)
		return
	}
	ft := part(p.ft, lo, hi)
	if p.zs.DType == weights.F64 && p.ft.DType == weights.F64 {
		lerp64(out.Data, zs.Data, ft.Data, alpha)
		return
	}
	xs, ys := view(zs), view(ft)
	if xs == nil {
		zs.CopyFloat32(x)
		xs = x
	}
	if ys == nil {
		ft.CopyFloat32(y)
		ys = y
	}
	dst := x
	if p.out.DType == weights.F32 {
		dst = view(out)
	}
	if alpha == 1 {
		copy(dst, ys)
	} else {
		lerp(dst, xs, ys, float32(1-alpha), float32(alpha))
	}
	if p.out.DType != weights.F32 {
		out.PutFloat32(dst)
	}
}

// part is elements lo to hi of t as a tensor of rank 1, sharing its memory.
func part(t *weights.Tensor, lo, hi int) *weights.Tensor {
	s := t.DType.Size()
	return &weights.Tensor{Name: t.Name, DType: t.DType, Shape: []int{hi - lo}, Data: t.Data[lo*s : hi*s]}
}

// view returns the elements of an F32 tensor in place, nil for other types and unaligned memory.
func view(t *weights.Tensor) []float32 {
	if t.DType != weights.F32 || uintptr(unsafe.Pointer(unsafe.SliceData(t.Data)))%4 != 0 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(t.Data))), len(t.Data)/4)
}

// lerp is dst = b*x + a*y. The conversions forbid fusing the product into the sum, so every machine rounds alike.
func lerp(dst, x, y []float32, b, a float32) {
	x, y = x[:len(dst)], y[:len(dst)]
	for i := range dst {
		dst[i] = float32(b*x[i]) + float32(a*y[i])
	}
}

// lerp64 is the same in float64, for tensors that are stored so.
func lerp64(dst, x, y []byte, alpha float64) {
	le := func(b []byte, i int) float64 {
		var u uint64
		for k := 7; k >= 0; k-- {
			u = u<<8 | uint64(b[8*i+k])
		}
		return math.Float64frombits(u)
	}
	for i := range len(dst) / 8 {
		u := math.Float64bits(float64((1-alpha)*le(x, i)) + float64(alpha*le(y, i)))
		for k := range 8 {
			dst[8*i+k] = byte(u >> (8 * k))
		}
	}
}

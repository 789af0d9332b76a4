package weights

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"
)

// alignedBytes returns n zero bytes that start at a multiple of 8.
func alignedBytes(n int) []byte {
	if n == 0 {
		return []byte{}
	}
	w := make([]uint64, (n+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(&w[0])), len(w)*8)[:n:n]
}

// FromFloat32 returns an F32 tensor that shares its memory with v.
func FromFloat32(name string, v []float32, shape ...int) *Tensor {
	t := &Tensor{Name: name, DType: F32, Shape: shape}
	if t.Len() != len(v) {
		panic(fmt.Sprintf("weights: tensor %q: shape %v for %d values", name, shape, len(v)))
	}
	t.Data = []byte{}
	if len(v) > 0 {
		t.Data = unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), 4*len(v))
	}
	return t
}

// Float32 returns the elements as float32: a view where the tensor is F32 and aligned, else a converted copy.
// Integers convert by value. The result must not be written to.
func (t *Tensor) Float32() []float32 {
	if v := t.float32View(); v != nil {
		return v
	}
	v := make([]float32, t.Len())
	t.CopyFloat32(v)
	return v
}

func (t *Tensor) float32View() []float32 {
	if t.DType == F32 && len(t.Data) > 0 && uintptr(unsafe.Pointer(&t.Data[0]))%4 == 0 {
		return unsafe.Slice((*float32)(unsafe.Pointer(&t.Data[0])), len(t.Data)/4)
	}
	return nil
}

// CopyFloat32 converts the elements into dst, which must hold Len() values.
func (t *Tensor) CopyFloat32(dst []float32) {
	if len(dst) != t.Len() || len(t.Data) != t.Len()*t.DType.Size() {
		panic(fmt.Sprintf("weights: tensor %q: %d values into %d", t.Name, t.Len(), len(dst)))
	}
	size := t.DType.Size()
	inChunks(len(dst), func(lo, hi int) { decode(dst[lo:hi], t.DType, t.Data[lo*size:hi*size]) })
}

// SetFloat32 rounds src once, to nearest even, to the tensor's floating-point type. It gives the tensor new memory:
// what Data was before stays as it was.
func (t *Tensor) SetFloat32(src []float32) {
	b := alignedBytes(len(src) * t.DType.Size())
	t.store(b, src)
	t.Data = b
}

// PutFloat32 is SetFloat32 into the memory that the tensor has, which must be the caller's to write to.
func (t *Tensor) PutFloat32(src []float32) { t.store(t.Data, src) }

func (t *Tensor) store(b []byte, src []float32) {
	size := t.DType.Size()
	if len(src) != t.Len() || !t.DType.Float() || len(b) != len(src)*size {
		panic(fmt.Sprintf("weights: tensor %q (%v): %d values into %d", t.Name, t.DType, len(src), t.Len()))
	}
	inChunks(len(src), func(lo, hi int) { encode(b[lo*size:hi*size], t.DType, src[lo:hi]) })
}

// chunkLen is how many elements are converted or compared at a time: enough to be worth handing to a core, few enough
// to stay in its cache.
const chunkLen = 1 << 15

// inChunks calls f for consecutive ranges of n elements, several at once where there are many.
func inChunks(n int, f func(lo, hi int)) {
	if n <= 4*chunkLen {
		f(0, n)
		return
	}
	parallel((n+chunkLen-1)/chunkLen, func(i int) { f(i*chunkLen, min(n, (i+1)*chunkLen)) })
}

// decode converts len(dst) elements of b.
func decode(dst []float32, d DType, b []byte) {
	switch d {
	case F32:
		if len(b) > 0 && uintptr(unsafe.Pointer(&b[0]))%4 == 0 {
			copy(dst, unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), len(dst)))
			return
		}
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
	case F16:
		decodeF16(dst, b)
	case BF16:
		decodeBF16(dst, b)
	case F64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:])))
		}
	default:
		decodeInt(dst, d, b)
	}
}

// decodeBF16 takes four elements from a word.
func decodeBF16(dst []float32, b []byte) {
	for len(dst) >= 4 && len(b) >= 8 {
		u := binary.LittleEndian.Uint64(b)
		dst[0] = math.Float32frombits(uint32(u) << 16)
		dst[1] = math.Float32frombits(uint32(u) & 0xffff0000)
		dst[2] = math.Float32frombits(uint32(u>>32) << 16)
		dst[3] = math.Float32frombits(uint32(u>>32) & 0xffff0000)
		dst, b = dst[4:], b[8:]
	}
	for i := range dst {
		dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(b[2*i:])) << 16)
	}
}

// decodeF16 takes four elements from a word. Where all are normal numbers, nearly always, each needs an addition to its
// exponent; the others go to F16ToFloat32.
func decodeF16(dst []float32, b []byte) {
	normal := func(h uint32) float32 { return math.Float32frombits(h&0x8000<<16 | (h&0x7fff<<13 + 112<<23)) }
	for len(dst) >= 4 && len(b) >= 8 {
		u := binary.LittleEndian.Uint64(b)
		h0, h1, h2, h3 := uint32(u&0xffff), uint32(u>>16&0xffff), uint32(u>>32&0xffff), uint32(u>>48)
		const sign = 0x8000800080008000
		exp := u & 0x7c007c007c007c00
		zero, full := sign-exp, exp+0x0400040004000400 // the sign's place is set where an exponent is 0, where it is 31
		if (zero|full)&sign == 0 {
			dst[0], dst[1], dst[2], dst[3] = normal(h0), normal(h1), normal(h2), normal(h3)
		} else {
			dst[0], dst[1], dst[2], dst[3] = F16ToFloat32(uint16(h0)), F16ToFloat32(uint16(h1)), F16ToFloat32(uint16(h2)), F16ToFloat32(uint16(h3))
		}
		dst, b = dst[4:], b[8:]
	}
	for i := range dst {
		dst[i] = F16ToFloat32(binary.LittleEndian.Uint16(b[2*i:]))
	}
}

// decodeInt converts integers by value, rounding those that float32 cannot hold.
func decodeInt(dst []float32, d DType, b []byte) {
	for i := range dst {
		switch d {
		case I64:
			dst[i] = float32(int64(binary.LittleEndian.Uint64(b[8*i:])))
		case U64:
			dst[i] = float32(binary.LittleEndian.Uint64(b[8*i:]))
		case I32:
			dst[i] = float32(int32(binary.LittleEndian.Uint32(b[4*i:])))
		case U32:
			dst[i] = float32(binary.LittleEndian.Uint32(b[4*i:]))
		case I16:
			dst[i] = float32(int16(binary.LittleEndian.Uint16(b[2*i:])))
		case U16:
			dst[i] = float32(binary.LittleEndian.Uint16(b[2*i:]))
		case I8:
			dst[i] = float32(int8(b[i]))
		default: // U8, Bool
			dst[i] = float32(b[i])
		}
	}
}

// encode rounds src to a floating-point type.
func encode(b []byte, d DType, src []float32) {
	switch d {
	case F32:
		if len(src) > 0 && uintptr(unsafe.Pointer(&b[0]))%4 == 0 {
			copy(unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), len(src)), src)
			return
		}
		for i, v := range src {
			binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
		}
	case F16:
		for len(src) >= 4 && len(b) >= 8 {
			binary.LittleEndian.PutUint64(b, uint64(Float32ToF16(src[0]))|uint64(Float32ToF16(src[1]))<<16|
				uint64(Float32ToF16(src[2]))<<32|uint64(Float32ToF16(src[3]))<<48)
			src, b = src[4:], b[8:]
		}
		for i, v := range src {
			binary.LittleEndian.PutUint16(b[2*i:], Float32ToF16(v))
		}
	case BF16:
		for len(src) >= 4 && len(b) >= 8 {
			binary.LittleEndian.PutUint64(b, uint64(Float32ToBF16(src[0]))|uint64(Float32ToBF16(src[1]))<<16|
				uint64(Float32ToBF16(src[2]))<<32|uint64(Float32ToBF16(src[3]))<<48)
			src, b = src[4:], b[8:]
		}
		for i, v := range src {
			binary.LittleEndian.PutUint16(b[2*i:], Float32ToBF16(v))
		}
	case F64:
		for i, v := range src {
			binary.LittleEndian.PutUint64(b[8*i:], math.Float64bits(float64(v)))
		}
	}
}

// F16ToFloat32 converts IEEE 754 binary16 bits, exactly.
func F16ToFloat32(h uint16) float32 {
	sign, exp, man := uint32(h&0x8000)<<16, uint32(h>>10&31), uint32(h&0x3ff)
	switch exp {
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | man<<13)
	case 0: // zero or subnormal: man * 2^-24
		v := math.Float32bits(float32(man) * (1.0 / (1 << 24)))
		return math.Float32frombits(sign | v)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | man<<13)
}

// Float32ToF16 rounds to the nearest IEEE 754 binary16, ties to even; overflow gives infinity.
func Float32ToF16(f float32) uint16 {
	b := math.Float32bits(f)
	sign, a := uint16(b>>16&0x8000), b&0x7fffffff
	switch {
	case a > 0x7f800000: // NaN: keep the top payload bits, stay a NaN
		return sign | 0x7c00 | uint16(a>>13&0x3ff) | 0x200
	case a >= 0x47800000: // 65536 and more; 65520..65535 overflow in the rounding below
		return sign | 0x7c00
	case a < 0x38800000: // below 2^-14: the addition of 0.5 rounds at 2^-24
		m := math.Float32bits(math.Float32frombits(a)+0.5) - 0x3f000000
		return sign | uint16(m)
	}
	return sign | uint16((a-0x38000000+0xfff+(a>>13&1))>>13)
}

// Float32ToBF16 rounds to the nearest bfloat16, ties to even; overflow gives infinity and a NaN stays a quiet NaN.
func Float32ToBF16(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + (b >> 16 & 1)) >> 16)
}

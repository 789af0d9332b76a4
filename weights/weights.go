// Package weights holds ordered sets of named tensors: what a checkpoint is once its file format is forgotten.
//
// A Tensor is a name, a type, a shape and little-endian bytes, which may be a read-only view over mapped memory.
// A Set keeps tensors in the order in which they were added. Conversions to and from float32 round once, to
// nearest even, and never lose a NaN or an infinity.
//
// Compare measures how far two sets are apart, Equal says whether they are the same to the bit, CheckFinite finds NaN
// and infinities, Hash identifies a set. All use every core and give the same result however many there are.
package weights

import (
	"fmt"
	"iter"
	"maps"
	"slices"
)

// DType is the type of a tensor's elements. Its values' names are those of safetensors.
type DType uint8

// The types that checkpoints use, of safetensors' list all but the packed and complex ones.
const (
	F32 DType = iota + 1
	F16
	BF16
	F64
	I64
	I32
	U8
	Bool
	I8
	U16
	I16
	U32
	U64
)

var dtypes = [...]struct {
	name string
	size int
}{F32: {"F32", 4}, F16: {"F16", 2}, BF16: {"BF16", 2}, F64: {"F64", 8}, I64: {"I64", 8}, I32: {"I32", 4}, U8: {"U8", 1}, Bool: {"BOOL", 1},
	I8: {"I8", 1}, U16: {"U16", 2}, I16: {"I16", 2}, U32: {"U32", 4}, U64: {"U64", 8}}

// String returns the safetensors name of d.
func (d DType) String() string {
	if int(d) < len(dtypes) && dtypes[d].size > 0 {
		return dtypes[d].name
	}
	return fmt.Sprintf("DType(%d)", uint8(d))
}

// Size returns the bytes of one element, 0 for an unknown type.
func (d DType) Size() int {
	if int(d) < len(dtypes) {
		return dtypes[d].size
	}
	return 0
}

// Float reports whether d is a floating-point type, and so takes part in interpolation.
func (d DType) Float() bool { return d == F32 || d == F16 || d == BF16 || d == F64 }

// ParseDType returns the type with the given safetensors name.
func ParseDType(name string) (DType, error) {
	for d, t := range dtypes {
		if t.size > 0 && t.name == name {
			return DType(d), nil
		}
	}
	return 0, fmt.Errorf("weights: unknown dtype %q", name)
}

// Tensor is one named array, row-major. Data is little-endian, holds exactly Len()*DType.Size() bytes, and may be
// read-only memory: replace it, never write through it, unless the tensor was made by New.
type Tensor struct {
	Name  string
	DType DType
	Shape []int // empty for a scalar (rank 0)
	Data  []byte
}

// New returns a zeroed tensor with memory of its own, aligned for any element type.
func New(name string, d DType, shape ...int) *Tensor {
	t := &Tensor{Name: name, DType: d, Shape: shape}
	t.Data = alignedBytes(t.Len() * d.Size())
	return t
}

// Len returns the number of elements; 1 for rank 0.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Set is an ordered collection of tensors with distinct names. The zero value is empty and ready to use.
type Set struct {
	// Metadata is the free-form string map of the file, nil where there is none.
	Metadata map[string]string

	tensors []*Tensor
	index   map[string]int
}

// Add appends t. A second tensor of the same name is an error.
func (s *Set) Add(t *Tensor) error {
	if _, ok := s.index[t.Name]; ok {
		return fmt.Errorf("weights: tensor %q twice", t.Name)
	}
	if s.index == nil {
		s.index = make(map[string]int)
	}
	s.index[t.Name] = len(s.tensors)
	s.tensors = append(s.tensors, t)
	return nil
}

// Put replaces the tensor of t's name, or appends t.
func (s *Set) Put(t *Tensor) {
	if i, ok := s.index[t.Name]; ok {
		s.tensors[i] = t
		return
	}
	s.Add(t) //nolint:errcheck // cannot be a duplicate
}

// Get returns the tensor of that name, nil where there is none.
func (s *Set) Get(name string) *Tensor {
	if i, ok := s.index[name]; ok {
		return s.tensors[i]
	}
	return nil
}

// Len returns the number of tensors.
func (s *Set) Len() int { return len(s.tensors) }

// All yields the tensors in order.
func (s *Set) All() iter.Seq[*Tensor] {
	return func(yield func(*Tensor) bool) {
		for _, t := range s.tensors {
			if !yield(t) {
				return
			}
		}
	}
}

// Clone returns a set of the same tensors with an order, an index and metadata of its own.
func (s *Set) Clone() *Set {
	return &Set{Metadata: maps.Clone(s.Metadata), tensors: slices.Clone(s.tensors), index: maps.Clone(s.index)}
}

// Bytes returns the number of bytes that all tensors' data take.
func (s *Set) Bytes() int {
	n := 0
	for _, t := range s.tensors {
		n += len(t.Data)
	}
	return n
}

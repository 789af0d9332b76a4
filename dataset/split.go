package dataset

import (
	"math/bits"
	"slices"

	"paint/preprocess"
)

// The reference's validation split: a tenth of train, at most 5000 examples, seed 0.
const (
	ValidationFraction = 0.1
	ValidationMax      = 5000
)

// Permutation is a permutation of 0, ..., n-1 that depends on n and seed alone, on every machine and version.
//
// It is Fisher and Yates' shuffle of the identity, from the last place to the second: place i changes with place j,
// where j in [0, i] is the high word of x*(i+1), x being the next output of SplitMix64 (Steele, Lea and Flood 2014)
// started at seed. An x whose low word is below 2^64 mod (i+1) is passed over, so that every j is equally likely.
func Permutation(n int, seed uint64) []int {
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	state := seed
	next := func() uint64 {
		state += 0x9e3779b97f4a7c15
		z := state
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return z ^ z>>31
	}
	for i := n - 1; i > 0; i-- {
		m := uint64(i) + 1
		hi, lo := bits.Mul64(next(), m)
		for reject := -m % m; lo < reject; {
			hi, lo = bits.Mul64(next(), m)
		}
		p[i], p[hi] = p[hi], p[i]
	}
	return p
}

// SplitValidation cuts a validation part off p: a fraction of its examples, rounded down, and at most most.
//
// The groups of p, in the order of their first examples, are permuted by Permutation(groups, seed); going through
// them, each one that still fits into the number is taken whole. So views of one drawing never lie on both sides
// (the validation part may then be a few examples smaller than asked for), and without groups the validation part is
// the first of the permuted examples. Both parts keep p's order. A fraction outside (0, 1) counts as its nearer end;
// either part may be empty.
func SplitValidation(p Part, fraction float64, most int, seed uint64) (train, validation Part) {
	n := p.Len()
	want := 0
	if fraction > 0 { // NaN takes nothing
		want = max(0, min(most, int(float64(n)*min(fraction, 1))))
	}
	number := map[int]int{} // group -> its place among the groups
	place := make([]int, n)
	var sizes []int
	for i := range n {
		g := p.Group(i)
		k, ok := number[g]
		if !ok {
			k = len(sizes)
			number[g] = k
			sizes = append(sizes, 0)
		}
		place[i] = k
		sizes[k]++
	}
	chosen := make([]bool, len(sizes))
	taken := 0
	for _, k := range Permutation(len(sizes), seed) {
		if taken+sizes[k] <= want {
			chosen[k] = true
			taken += sizes[k]
		}
	}
	in, out := make([]int, 0, taken), make([]int, 0, n-taken)
	for i, k := range place {
		if chosen[k] {
			in = append(in, i)
		} else {
			out = append(out, i)
		}
	}
	return subset{p, out}, subset{p, in}
}

// Subset is the part whose example k is example indices[k] of p; indices may repeat. Groups and IDs are p's.
// An index outside p panics when it is used.
func Subset(p Part, indices []int) Part { return subset{p, slices.Clone(indices)} }

type subset struct {
	part    Part
	indices []int
}

func (s subset) Len() int                               { return len(s.indices) }
func (s subset) Image(i int) (*preprocess.Image, error) { return s.part.Image(s.indices[i]) }
func (s subset) Label(i int) int                        { return s.part.Label(s.indices[i]) }
func (s subset) Group(i int) int                        { return s.part.Group(s.indices[i]) }
func (s subset) ID(i int) string                        { return s.part.ID(s.indices[i]) }

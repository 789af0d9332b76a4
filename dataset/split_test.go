package dataset

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"paint/preprocess"
)

// counted is a part of n examples in groups of size.
type counted struct{ n, size int }

func (c counted) Len() int                             { return c.n }
func (c counted) Image(int) (*preprocess.Image, error) { return nil, fmt.Errorf("no image") }
func (c counted) Label(i int) int                      { return i % 7 }
func (c counted) Group(i int) int                      { return i / c.size * 1000 }
func (c counted) ID(i int) string                      { return fmt.Sprint(i) }

// The values pin the splits that reports refer to. They follow from SplitMix64, whose outputs from 0 begin with
// e220a8397b1dcdaf, 6e789e6aa1b965f4: the first makes place 9 change with floor(10 * 0xe220... / 2^64) = 8, the second
// place 8 with floor(9 * 0x6e78... / 2^64) = 3.
func TestPermutation(t *testing.T) {
	for _, c := range []struct {
		n    int
		seed uint64
		want []int
	}{
		{0, 0, []int{}},
		{1, 5, []int{0}},
		{10, 0, []int{4, 9, 2, 5, 1, 7, 6, 0, 3, 8}},
	} {
		if got := Permutation(c.n, c.seed); !slices.Equal(got, c.want) {
			t.Errorf("Permutation(%d, %d) = %v, want %v", c.n, c.seed, got, c.want)
		}
	}
	for _, n := range []int{2, 3, 1000} {
		p := Permutation(n, 3)
		slices.Sort(p)
		for i, v := range p {
			if v != i {
				t.Fatalf("Permutation(%d, 3) is none: %d at place %d once sorted", n, v, i)
			}
		}
	}
	if slices.Equal(Permutation(50, 0), Permutation(50, 1)) {
		t.Error("seeds 0 and 1 give the same permutation")
	}
}

func TestSplitValidation(t *testing.T) {
	for _, c := range []struct {
		n, size  int
		fraction float64
		most     int
		want     int
	}{
		{1000, 1, 0.1, 5000, 100},
		{60000, 1, 0.1, 5000, 5000},
		{19, 1, 0.1, 5000, 1},
		{9, 1, 0.1, 5000, 0},
		{100, 4, 0.1, 5000, 8}, // groups of four stay whole
		{100, 1, 0, 5000, 0},
		{100, 1, -1, 5000, 0},
		{100, 1, math.NaN(), 5000, 0},
		{100, 1, 2, 5000, 100},
		{100, 1, 0.5, -1, 0},
		{0, 1, 0.5, 5000, 0},
	} {
		p := counted{c.n, c.size}
		train, validation := SplitValidation(p, c.fraction, c.most, 0)
		if validation.Len() != c.want || train.Len() != c.n-c.want {
			t.Errorf("%+v: %d and %d examples, want %d and %d", c, train.Len(), validation.Len(), c.n-c.want, c.want)
		}
		seen := map[string]bool{}
		groups := map[int]bool{}
		for i := range train.Len() {
			seen[train.ID(i)] = true
			groups[train.Group(i)] = true
		}
		for i := range validation.Len() {
			if seen[validation.ID(i)] || groups[validation.Group(i)] {
				t.Fatalf("%+v: example %s or its group is in both parts", c, validation.ID(i))
			}
			if i > 0 && validation.Group(i) < validation.Group(i-1) {
				t.Fatalf("%+v: the order of the examples has changed", c)
			}
		}
		again, _ := SplitValidation(p, c.fraction, c.most, 0)
		if !slices.Equal(ids(train, ""), ids(again, "")) {
			t.Errorf("%+v: two splits of one seed differ", c)
		}
		other, _ := SplitValidation(p, c.fraction, c.most, 1)
		if c.want > 10 && c.want < c.n && slices.Equal(ids(train, ""), ids(other, "")) {
			t.Errorf("%+v: splits of two seeds are equal", c)
		}
	}
}

func TestSubset(t *testing.T) {
	s := Subset(counted{10, 2}, []int{9, 0, 9})
	if got := ids(s, ""); !slices.Equal(got, []string{"9", "0", "9"}) {
		t.Errorf("examples %v", got)
	}
	if s.Label(0) != 2 || s.Group(0) != 4000 || s.Len() != 3 {
		t.Errorf("label %d, group %d, %d examples", s.Label(0), s.Group(0), s.Len())
	}
	ss := Subset(s, []int{1})
	if ss.ID(0) != "0" {
		t.Errorf("subset of a subset: %s", ss.ID(0))
	}
}

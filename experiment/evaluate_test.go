package experiment

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"paint/cpu"
	"paint/dataset"
	"paint/preprocess"
)

// counted is a part of plain pictures that counts how often each is opened.
type counted struct {
	opened []atomic.Int32
}

func (p *counted) Len() int        { return len(p.opened) }
func (p *counted) Label(i int) int { return i % 2 }
func (p *counted) Group(i int) int { return i }
func (p *counted) ID(i int) string { return fmt.Sprintf("counted[%d]", i) }

func (p *counted) Image(i int) (*preprocess.Image, error) {
	p.opened[i].Add(1)
	img := &preprocess.Image{W: 8, H: 8, Pix: make([]uint8, 3*8*8)}
	for k := range img.Pix {
		img.Pix[k] = uint8(30*i + k)
	}
	return img, nil
}

// counts says how often the images of a part were opened, where that is the same for all; -1 otherwise.
func (p *counted) counts() int32 {
	n := p.opened[0].Load()
	for i := range p.opened {
		if p.opened[i].Load() != n {
			return -1
		}
	}
	return n
}

// A split is opened when it is prepared and at no other time: each image once, however many models are measured.
func TestEvaluatorOpens(t *testing.T) {
	m, err := OpenModel("embedded")
	if err != nil {
		t.Fatal(err)
	}
	eng, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	ctx := context.Background()
	parts := map[Split]*counted{Train: {make([]atomic.Int32, 3)}, Validation: {make([]atomic.Int32, 5)}, Test: {make([]atomic.Int32, 7)}}
	task := &dataset.Task{Name: "plain", Classes: []string{"dark", "light"}, Templates: []string{"{}"},
		Train: parts[Train], Validation: parts[Validation], Test: parts[Test]}
	expect := func(when string, validation, test int32) {
		t.Helper()
		got := []int32{parts[Train].counts(), parts[Validation].counts(), parts[Test].counts()}
		if want := []int32{0, validation, test}; !slices.Equal(got, want) {
			t.Errorf("%s, train, validation and test images were opened %v times, want %v", when, got, want)
		}
	}
	ev, err := newEvaluator(ctx, eng, 2, m, []*dataset.Task{task})
	if err != nil {
		t.Fatal(err)
	}
	expect("after the heads", 0, 0)
	measure := func(s Split) outcome {
		t.Helper()
		out, err := ev.measure(ctx, s, func(int) {})
		if err != nil {
			t.Fatal(err)
		}
		return out["plain"]
	}
	for i, s := range []Split{Validation, Test} {
		if err := ev.prepare(ctx, s, Silent{}); err != nil {
			t.Fatal(err)
		}
		first := measure(s)
		if err := ev.enc.SetWeights(imageTower(m.Weights)); err != nil {
			t.Fatal(err)
		}
		second := measure(s)
		if len(first.correct) != parts[s].Len() || !slices.Equal(first.correct, second.correct) || first.acc != second.acc {
			t.Errorf("%s: the same weights give %v and %v", s, first, second)
		}
		expect("after "+string(s), 1, int32(i))
		ev.release(s)
	}
}

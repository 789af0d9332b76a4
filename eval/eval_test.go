package eval

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"testing"
)

func TestPredictAndCorrect(t *testing.T) {
	head := []float32{1, 0, 0, 1, 1, 0} // classes 0 and 2 are equal: the first wins
	got := Predict([]float32{2, 1, -1, 3, 0, 0}, head, 2)
	want := []int{0, 1, 0}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("predictions %v, want %v", got, want)
		}
	}
	if c := Correct(got, []int{0, 0, 0}); !c[0] || c[1] || !c[2] {
		t.Errorf("correct: %v", c)
	}
}

func TestNormalize(t *testing.T) {
	x := []float32{3, 4, 0, 5}
	if err := Normalize(x, 2); err != nil || x[0] != 0.6 || x[3] != 1 {
		t.Errorf("%v, %v", x, err)
	}
	for _, bad := range [][]float32{{0, 0}, {float32(math.NaN()), 1}, {float32(math.Inf(1)), 1}} {
		if err := Normalize(bad, 2); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
}

func TestSoftmax(t *testing.T) {
	p := Softmax([]float64{1000, 1000, -1000})
	if math.Abs(p[0]-0.5) > 1e-12 || p[2] != 0 {
		t.Errorf("%v", p)
	}
}

// Of several errors the one of the smallest index is returned, whatever the timing.
func TestParallelError(t *testing.T) {
	e3, e7 := errors.New("three"), errors.New("seven")
	for range 200 {
		var calls atomic.Int64
		err := parallel(context.Background(), 100, 4, func(i int) error {
			calls.Add(1)
			switch i {
			case 3:
				return e3
			case 7:
				return e7
			}
			return nil
		}, nil)
		if err != e3 {
			t.Fatalf("got %v", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := parallel(ctx, 10, 2, func(int) error { return nil }, nil); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}

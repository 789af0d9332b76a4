// Package paint is the method over named tensors: it patches an open-vocabulary model by averaging the weights from
// before and after fine-tuning on a task,
//
//	theta_patch = (1 - alpha) * theta_zs + alpha * theta_ft
//
// Interpolate gives the weights at one alpha and an Interpolator those at many; Sweep measures each alpha of a grid
// from Alphas; Select chooses one by a Rule, on validation data only. There is no engine here, no file and no network:
// a model is a weights.Set, and what measures it is the caller's function.
//
// Method: Ilharco et al., Patching open-vocabulary models by interpolating weights, NeurIPS 2022, arXiv:2208.05592.
package paint

import (
	"context"
	"fmt"
	"math"
	"slices"

	"paint/weights"
)

// Point is what was measured at one alpha. Accuracies are fractions, by task name.
type Point struct {
	Alpha     float64
	Split     string // "validation", "test", ...: the data the accuracies are of
	Patching  map[string]float64
	Supported map[string]float64
}

// PatchingMean is the unweighted mean accuracy over the patching tasks, NaN without any.
func (p Point) PatchingMean() float64 { return mean(p.Patching) }

// SupportedMean is the unweighted mean accuracy over the supported tasks, NaN without any.
func (p Point) SupportedMean() float64 { return mean(p.Supported) }

func mean(m map[string]float64) float64 {
	// Summed in the order of names: a mean must not depend on the order of a map.
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	var s float64
	for _, n := range names {
		s += m[n]
	}
	return s / float64(len(m))
}

// Sweep calls measure with the interpolated weights at each alpha, in order, and returns the points. The set that
// measure gets is valid until it returns.
func Sweep(ctx context.Context, zs, ft *weights.Set, alphas []float64, measure func(ctx context.Context, alpha float64, w *weights.Set) (Point, error), opts ...Option) ([]Point, error) {
	ip, err := NewInterpolator(zs, ft, opts...)
	if err != nil {
		return nil, err
	}
	points := make([]Point, 0, len(alphas))
	for _, a := range alphas {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		w, err := ip.At(a)
		if err != nil {
			return nil, err
		}
		p, err := measure(ctx, a, w)
		if err != nil {
			return nil, fmt.Errorf("sweeping: alpha %g: %w", a, err)
		}
		p.Alpha = a
		points = append(points, p)
	}
	return points, nil
}

// same reports whether two alphas are equal up to the rounding of decimal steps.
func same(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

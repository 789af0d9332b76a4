package paint_test

import (
	"context"
	"fmt"

	"paint"
	"paint/weights"
)

// Two models of one weight: before and after fine-tuning. Accuracy on the patching task rises with alpha, that on the
// supported task falls; the rule keeps the fall within one point.
func Example() {
	var zs, ft weights.Set
	zs.Put(weights.FromFloat32("visual.proj", []float32{0, 1}, 2))
	ft.Put(weights.FromFloat32("visual.proj", []float32{1, 3}, 2))

	alphas, _ := paint.Alphas("0:1:0.1")
	points, _ := paint.Sweep(context.Background(), &zs, &ft, alphas, func(_ context.Context, alpha float64, w *weights.Set) (paint.Point, error) {
		return paint.Point{Split: "validation",
			Patching:  map[string]float64{"mnist": 0.4 + 0.5*alpha},
			Supported: map[string]float64{"cifar10": 0.9 - 0.1*alpha*alpha}}, nil
	})
	rule, _ := paint.ParseRule("max-drop=1.0")
	choice, _ := paint.Select(points, rule)
	patched, _ := paint.Interpolate(&zs, &ft, choice.Alpha)
	fmt.Printf("alpha %.1f: %.1f\n", choice.Alpha, patched.Get("visual.proj").Float32())
	// Output: alpha 0.3: [0.3 1.6]
}

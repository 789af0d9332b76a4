package train

import "math"

// CosineLR is the reference's schedule: linear warm-up, then half a cosine to 0. step counts from 0; the result is a
// multiple of base. Source: src/utils.py of the reference code.
func CosineLR(base float64, step, warmup, steps int) float64 {
	if step < warmup {
		return base * float64(step+1) / float64(warmup)
	}
	return 0.5 * (1 + math.Cos(math.Pi*float64(step-warmup)/float64(steps-warmup))) * base
}

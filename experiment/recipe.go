package experiment

import "paint/train"

// EmbeddedRecipe is how the embedded model is fine-tuned by default.
func EmbeddedRecipe() train.Options {
	o := train.Paper()
	o.Steps, o.BatchSize, o.LR, o.Warmup, o.Augment = 400, 64, 1e-4, 40, "crop"
	return o
}

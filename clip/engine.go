package clip

import (
	"context"

	"paint/weights"
)

// Engine runs models. Every implementation passes the conformance suite in clip/enginetest.
type Engine interface {
	// Name is "cpu" or "xla".
	Name() string
	// NewEncoder copies the weights (internal names, see Config.Params) and returns a model that encodes.
	NewEncoder(cfg Config, w *weights.Set) (Encoder, error)
	// NewTrainer copies the weights and returns a model that trains.
	NewTrainer(cfg Config, w *weights.Set, opt TrainOptions) (Trainer, error)
}

// Encoder encodes images and texts. It is safe for use by one goroutine at a time; results do not depend on how the
// inputs are cut into batches.
type Encoder interface {
	// EncodeImage reads pixels [n, 3, ImageSize, ImageSize], normalised, and writes dst [n, EmbedDim]: features as
	// the projection gives them, not L2-normalised.
	EncodeImage(ctx context.Context, dst, pixels []float32) error
	// EncodeText reads ids [n, ContextLength] and writes dst [n, EmbedDim], not L2-normalised.
	EncodeText(ctx context.Context, dst []float32, ids []int32) error
	// SetWeights replaces the values of the tensors that w names; the others stay.
	SetWeights(w *weights.Set) error
}

// TrainOptions are AdamW's constants (decoupled weight decay) and what is trained.
type TrainOptions struct {
	Beta1, Beta2, Eps float64
	// WeightDecay applies to every trained tensor, as torch.optim.AdamW and the reference do.
	WeightDecay float64
	// ClipNorm is the largest global gradient norm; 0 means no clipping.
	ClipNorm float64
	// Image and Text say which towers are trained. The logit scale is trained in contrastive steps when Text is set.
	Image, Text bool
}

// Trainer takes optimizer steps.
type Trainer interface {
	// StepHead is one step of cross-entropy over a frozen zero-shot head: logits = normalised image features times
	// head^T, where head [classes, EmbedDim] already holds exp(logit_scale).
	// A step that fails (the context ends, an input is out of range, the loss or the gradient is not finite) leaves
	// weights, moments and step count as they were.
	StepHead(ctx context.Context, b HeadBatch, lr float64) (StepStats, error)
	// StepContrastive is one step of CLIP's symmetric cross-entropy over the batch's images and texts (Radford et al.,
	// arXiv:2103.00020, figure 3), with logits exp(logit_scale) times the cosines. It needs Text; without Image the
	// image tower stays as it is. The logit scale is held at or below ln 100 after the step.
	StepContrastive(ctx context.Context, b ContrastiveBatch, lr float64) (StepStats, error)
	// Weights returns copies, in F32 and under internal names, of the trained tensors.
	Weights() *weights.Set
	// State returns copies of all that a resumed run needs: for each trained tensor "weights.<name>", "exp_avg.<name>"
	// and "exp_avg_sq.<name>", the number of steps taken as "step" and, as AdamW's bias correction counts them for
	// each trained tower, "step.image" and "step.text" (scalars, I64).
	State() *weights.Set
	// Restore sets what State returned.
	Restore(state *weights.Set) error
}

// HeadBatch is a batch for StepHead.
type HeadBatch struct {
	Pixels         []float32 // [n, 3, S, S], normalised
	Labels         []int     // [n], in [0, classes)
	Head           []float32 // [classes, EmbedDim]
	LabelSmoothing float64   // in [0, 1)
}

// ContrastiveBatch is a batch for StepContrastive: image i belongs to text i.
type ContrastiveBatch struct {
	Pixels []float32 // [n, 3, S, S], normalised
	IDs    []int32   // [n, ContextLength]
}

// StepStats describe one step.
type StepStats struct {
	Loss     float64 // mean over the batch, before the step
	GradNorm float64 // global L2 norm before clipping
	Correct  int     // images of the batch whose largest logit was the label's or their own text's, before the step
}

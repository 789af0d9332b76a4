package kernel

// Operations on one row. They are methods of Worker because the worker knows the instruction set.

// LayerNorm writes dst = (x-mean)*rstd*gamma + beta, where rstd = 1/sqrt(var+eps) with the biased variance, and
// returns mean and rstd. All slices have the length of x; dst may be x.
func (w *Worker) LayerNorm(dst, x, gamma, beta []float32, eps float32) (mean, rstd float32) {
	n := len(x)
	if n == 0 {
		return 0, 0
	}
	var stats [2]float32
	w.layerNorm(first(dst, n), x, first(gamma, n), first(beta, n), eps, &stats)
	return stats[0], stats[1]
}

// LayerNormBackward adds the gradient of a LayerNorm to dx, and the row's share of the parameters' gradients to dgamma
// and dbeta, given the gradient dy of its output, its input x, and mean and rstd as LayerNorm returned them. dx may
// not be dy.
func (w *Worker) LayerNormBackward(dx, dy, x, gamma []float32, mean, rstd float32, dgamma, dbeta []float32) {
	n := len(x)
	w.layerNormBack(first(dx, n), first(dy, n), x, first(gamma, n), mean, rstd, first(dgamma, n), first(dbeta, n))
}

// Softmax replaces x[:n] by softmax(scale*x[:n]) and the rest of x by zeros, which is how a causal mask ends a row.
func (w *Worker) Softmax(x []float32, n int, scale float32) {
	clear(x[n:])
	w.softmax(x[:n], scale)
}

// SoftmaxBackward replaces dp, the gradient of the output p of Softmax, by the gradient of its input:
// scale * p * (dp - sum(dp*p)). Only the first n entries count; the rest become zeros.
func (w *Worker) SoftmaxBackward(dp, p []float32, n int, scale float32) {
	clear(dp[n:])
	w.softmaxBack(first(dp, n), first(p, n), scale)
}

// Activate writes dst = act(pre). dst may be pre.
func (w *Worker) Activate(dst, pre []float32, act Act) {
	w.epilogueRow(first(dst, len(pre)), pre, nil, nil, nil, act)
}

// ActivateBackward multiplies da, the gradient of act's output, by act'(pre).
func (w *Worker) ActivateBackward(da, pre []float32, act Act) {
	w.actBack(first(da, len(pre)), pre, act)
}

// Add adds src to dst.
func (w *Worker) Add(dst, src []float32) { w.add(first(dst, len(src)), src) }

// Axpy adds a*x to dst.
func (w *Worker) Axpy(dst []float32, a float32, x []float32) { w.scaleAdd(first(dst, len(x)), 1, x, a) }

// ScaleAdd writes dst = a*dst + b*x.
func (w *Worker) ScaleAdd(dst []float32, a float32, x []float32, b float32) {
	w.scaleAdd(first(dst, len(x)), a, x, b)
}

// Scale multiplies dst by a.
func (w *Worker) Scale(dst []float32, a float32) { w.scale(dst, a) }

// Dot is the inner product of two vectors of the length of x.
func (w *Worker) Dot(x, y []float32) float32 { return w.dot(x, first(y, len(x))) }

// SumSq is the sum of the squares of x.
func (w *Worker) SumSq(x []float32) float32 { return w.dot(x, x) }

// first is x[:n] for n up to the length of x: a slice expression alone would reach into the capacity.
func first(x []float32, n int) []float32 {
	_ = x[n:]
	return x[:n]
}

package kernel

import "math"

// L2Normalize writes dst = x/|x| and returns 1/|x|. A row of zeros gives NaN, as the division does. dst may be x.
func (w *Worker) L2Normalize(dst, x []float32) (inv float32) {
	inv = float32(1 / math.Sqrt(float64(w.SumSq(x))))
	copy(first(dst, len(x)), x)
	w.Scale(dst[:len(x)], inv)
	return inv
}

// L2NormalizeBackward writes dx = inv * (dy - y*(y.dy)): the gradient of L2Normalize's input, given its output y and
// the factor it returned. dx may be dy.
func (w *Worker) L2NormalizeBackward(dx, dy, y []float32, inv float32) {
	n := len(y)
	s := w.Dot(y, dy)
	copy(first(dx, n), first(dy, n))
	w.ScaleAdd(dx[:n], inv, y, -s*inv)
}

// CrossEntropy returns the cross-entropy of softmax(logits) against the label, in nats, with label smoothing as
// PyTorch defines it: the target is 1-smoothing for the label plus smoothing/len(logits) for every class. Where
// dlogits is not nil it receives scale times the gradient; it may be logits. The sums are in float64.
func CrossEntropy(dlogits, logits []float32, label int, smoothing, scale float64) float64 {
	m := math.Inf(-1)
	for _, v := range logits {
		m = max(m, float64(v))
	}
	var sum, all float64
	for _, v := range logits {
		sum += math.Exp(float64(v) - m)
		all += float64(v)
	}
	n := float64(len(logits))
	lse := m + math.Log(sum)
	loss := lse - (1-smoothing)*float64(logits[label]) - smoothing*all/n
	if dlogits == nil {
		return loss
	}
	for i, v := range logits {
		t := smoothing / n
		if i == label {
			t += 1 - smoothing
		}
		dlogits[i] = float32(scale * (math.Exp(float64(v)-lse) - t))
	}
	return loss
}

//go:build !amd64

package kernel

// There is portable Go only.

func (w *Worker) add(dst, src []float32) { addGo(dst, src) }

func (w *Worker) scale(dst []float32, a float32) { scaleGo(dst, a) }

func (w *Worker) scaleAdd(dst []float32, a float32, x []float32, b float32) { scaleAddGo(dst, a, x, b) }

func (w *Worker) dot(x, y []float32) float32 { return dotGo(x, y) }

func (w *Worker) layerNorm(dst, x, gamma, beta []float32, eps float32, stats *[2]float32) {
	stats[0], stats[1] = lnGo(dst, x, gamma, beta, eps)
}

func (w *Worker) layerNormBack(dx, dy, x, gamma []float32, mean, rstd float32, dgamma, dbeta []float32) {
	lnBackGo(dx, dy, x, gamma, mean, rstd, dgamma, dbeta)
}

func (w *Worker) softmax(x []float32, scale float32) { softmaxGo(x, scale) }

func (w *Worker) softmaxBack(dp, p []float32, scale float32) { softmaxBackGo(dp, p, scale) }

func (w *Worker) actBack(da, x []float32, act Act) { actBackGo(da, x, act) }

func (w *Worker) colSum(dst, x []float32, rows, ld int) { colSumGo(dst, x, rows, ld) }

func (w *Worker) adamW(x, g, m, v []float32, h *adamConsts) { adamGo(x, g, m, v, h) }

func (w *Worker) epilogueRow(dst, src, bias, pre, res []float32, act Act) {
	epilogueGo(dst, src, bias, pre, res, act)
}

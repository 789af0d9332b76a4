package kernel

import "unsafe"

// Dispatch to the instruction set. Slices are as long as the first argument; the callers see to that.

func (w *Worker) add(dst, src []float32) {
	if len(dst) == 0 {
		return
	}
	switch w.isa {
	case AVX512:
		addAVX512(&dst[0], &src[0], len(dst))
	case AVX2:
		addAVX2(&dst[0], &src[0], len(dst))
	default:
		addGo(dst, src)
	}
}

func (w *Worker) scale(dst []float32, a float32) {
	if len(dst) == 0 {
		return
	}
	switch w.isa {
	case AVX512:
		scaleAVX512(&dst[0], len(dst), a)
	case AVX2:
		scaleAVX2(&dst[0], len(dst), a)
	default:
		scaleGo(dst, a)
	}
}

func (w *Worker) scaleAdd(dst []float32, a float32, x []float32, b float32) {
	if len(dst) == 0 {
		return
	}
	switch w.isa {
	case AVX512:
		scaleAddAVX512(&dst[0], &x[0], len(dst), a, b)
	case AVX2:
		scaleAddAVX2(&dst[0], &x[0], len(dst), a, b)
	default:
		scaleAddGo(dst, a, x, b)
	}
}

func (w *Worker) dot(x, y []float32) float32 {
	if len(x) == 0 {
		return 0
	}
	switch w.isa {
	case AVX512:
		return dotAVX512(&x[0], &y[0], len(x))
	case AVX2:
		return dotAVX2(&x[0], &y[0], len(x))
	}
	return dotGo(x, y)
}

func (w *Worker) layerNorm(dst, x, gamma, beta []float32, eps float32, stats *[2]float32) {
	if len(x) == 0 {
		return
	}
	switch w.isa {
	case AVX512:
		layerNormAVX512(&dst[0], &x[0], &gamma[0], &beta[0], &stats[0], len(x), float32(len(x)), eps)
	case AVX2:
		layerNormAVX2(&dst[0], &x[0], &gamma[0], &beta[0], &stats[0], len(x), float32(len(x)), eps)
	default:
		stats[0], stats[1] = lnGo(dst, x, gamma, beta, eps)
	}
}

func (w *Worker) layerNormBack(dx, dy, x, gamma []float32, mean, rstd float32, dgamma, dbeta []float32) {
	if len(x) == 0 {
		return
	}
	switch w.isa {
	case AVX512:
		layerNormBackAVX512(&dx[0], &dy[0], &x[0], &gamma[0], &dgamma[0], &dbeta[0], len(x), float32(len(x)), mean, rstd)
	case AVX2:
		layerNormBackAVX2(&dx[0], &dy[0], &x[0], &gamma[0], &dgamma[0], &dbeta[0], len(x), float32(len(x)), mean, rstd)
	default:
		lnBackGo(dx, dy, x, gamma, mean, rstd, dgamma, dbeta)
	}
}

func (w *Worker) softmax(x []float32, scale float32) {
	if len(x) == 0 {
		return
	}
	switch w.isa {
	case AVX512:
		softmaxAVX512(&x[0], len(x), scale)
	case AVX2:
		softmaxAVX2(&x[0], len(x), scale)
	default:
		softmaxGo(x, scale)
	}
}

func (w *Worker) softmaxBack(dp, p []float32, scale float32) {
	if len(p) == 0 {
		return
	}
	switch w.isa {
	case AVX512:
		softmaxBackAVX512(&dp[0], &p[0], len(p), scale)
	case AVX2:
		softmaxBackAVX2(&dp[0], &p[0], len(p), scale)
	default:
		softmaxBackGo(dp, p, scale)
	}
}

func (w *Worker) actBack(da, x []float32, act Act) {
	if len(x) == 0 {
		return
	}
	switch {
	case w.isa == Generic || act == None:
		actBackGo(da, x, act)
	case w.isa == AVX512 && act == QuickGELU:
		quickBackAVX512(&da[0], &x[0], len(x))
	case w.isa == AVX512:
		geluBackAVX512(&da[0], &x[0], len(x))
	case act == QuickGELU:
		quickBackAVX2(&da[0], &x[0], len(x))
	default:
		geluBackAVX2(&da[0], &x[0], len(x))
	}
}

func (w *Worker) colSum(dst, x []float32, rows, ld int) {
	if len(dst) == 0 {
		return
	}
	switch w.isa {
	case AVX512:
		colSumAVX512(&dst[0], &x[0], rows, 4*ld, len(dst))
	case AVX2:
		colSumAVX2(&dst[0], &x[0], rows, 4*ld, len(dst))
	default:
		colSumGo(dst, x, rows, ld)
	}
}

func (w *Worker) adamW(x, g, m, v []float32, h *adamConsts) {
	if len(x) == 0 {
		return
	}
	switch w.isa {
	case AVX512:
		adamAVX512(&x[0], &g[0], &m[0], &v[0], h, len(x))
	case AVX2:
		adamAVX2(&x[0], &g[0], &m[0], &v[0], h, len(x))
	default:
		adamGo(x, g, m, v, h)
	}
}

func (w *Worker) epilogueRow(dst, src, bias, pre, res []float32, act Act) {
	if len(dst) == 0 {
		return
	}
	if w.isa == Generic {
		epilogueGo(dst, src, bias, pre, res, act)
		return
	}
	d, s, n := &dst[0], &src[0], len(dst)
	b, p, r := unsafe.SliceData(bias), unsafe.SliceData(pre), unsafe.SliceData(res)
	switch {
	case w.isa == AVX512 && act == None:
		epilogueNoneAVX512(d, s, b, p, r, n)
	case w.isa == AVX512 && act == QuickGELU:
		epilogueQuickAVX512(d, s, b, p, r, n)
	case w.isa == AVX512:
		epilogueGELUAVX512(d, s, b, p, r, n)
	case act == None:
		epilogueNoneAVX2(d, s, b, p, r, n)
	case act == QuickGELU:
		epilogueQuickAVX2(d, s, b, p, r, n)
	default:
		epilogueGELUAVX2(d, s, b, p, r, n)
	}
}

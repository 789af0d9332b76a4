package kernel

import "math"

func sumGo(x []float32) float32 {
	var s0, s1, s2, s3 float32
	for ; len(x) >= 4; x = x[4:] {
		s0 += x[0]
		s1 += x[1]
		s2 += x[2]
		s3 += x[3]
	}
	for _, v := range x {
		s0 += v
	}
	return (s0 + s1) + (s2 + s3)
}

func dotGo(x, y []float32) float32 {
	var s0, s1, s2, s3 float32
	y = y[:len(x)]
	for len(x) >= 4 && len(y) >= 4 {
		s0 += x[0] * y[0]
		s1 += x[1] * y[1]
		s2 += x[2] * y[2]
		s3 += x[3] * y[3]
		x, y = x[4:], y[4:]
	}
	for i, v := range x {
		s0 += v * y[i]
	}
	return (s0 + s1) + (s2 + s3)
}

func addGo(dst, src []float32) {
	src = src[:len(dst)]
	for i := range dst {
		dst[i] += src[i]
	}
}

func scaleGo(dst []float32, a float32) {
	for i := range dst {
		dst[i] *= a
	}
}

func scaleAddGo(dst []float32, a float32, x []float32, b float32) {
	x = x[:len(dst)]
	for i := range dst {
		dst[i] = a*dst[i] + b*x[i]
	}
}

func lnGo(dst, x, gamma, beta []float32, eps float32) (mean, rstd float32) {
	n := float32(len(x))
	mean = sumGo(x) / n
	var s0, s1 float32
	for i, v := range x {
		d := v - mean
		if i&1 == 0 {
			s0 += d * d
		} else {
			s1 += d * d
		}
	}
	rstd = float32(1 / math.Sqrt(float64((s0+s1)/n+eps)))
	for i, v := range x {
		dst[i] = (v-mean)*rstd*gamma[i] + beta[i]
	}
	return mean, rstd
}

func lnBackGo(dx, dy, x, gamma []float32, mean, rstd float32, dgamma, dbeta []float32) {
	n := float32(len(x))
	var s, t float32
	for i, v := range x {
		h := (v - mean) * rstd
		dgamma[i] += dy[i] * h
		dbeta[i] += dy[i]
		d := dy[i] * gamma[i]
		s += d
		t += d * h
	}
	s, t = s/n, t/n
	for i, v := range x {
		h := (v - mean) * rstd
		dx[i] += rstd * (dy[i]*gamma[i] - s - h*t)
	}
}

func softmaxGo(x []float32, scale float32) {
	// The largest scaled value; NaN stays.
	m := float32(math.Inf(-1))
	for i, v := range x {
		v *= scale
		x[i] = v
		if v > m || v != v {
			m = v
		}
	}
	var s float32
	for i, v := range x {
		e := exp32(v - m)
		x[i] = e
		s += e
	}
	s = 1 / s
	for i := range x {
		x[i] *= s
	}
}

func softmaxBackGo(dp, p []float32, scale float32) {
	s := dotGo(dp, p)
	for i, v := range p {
		dp[i] = scale * v * (dp[i] - s)
	}
}

func actGo(dst, x []float32, act Act) {
	switch act {
	case None:
		copy(dst, x)
	case QuickGELU:
		for i, v := range x {
			dst[i] = v / (1 + exp32(-1.702*v))
		}
	case GELU:
		for i, v := range x {
			p, _ := phi32(v)
			dst[i] = v * p
		}
	}
}

// epilogueGo writes pre = src + bias and dst = act(pre) + res; bias, pre and res may be nil.
func epilogueGo(dst, src, bias, pre, res []float32, act Act) {
	if bias != nil {
		for i, v := range src {
			dst[i] = v + bias[i]
		}
		src = dst
	}
	if pre != nil {
		copy(pre, src)
	}
	actGo(dst, src, act)
	if res != nil {
		addGo(dst, res)
	}
}

func actBackGo(da, x []float32, act Act) {
	switch act {
	case QuickGELU:
		for i, v := range x {
			s := 1 / (1 + exp32(-1.702*v))
			da[i] *= s * (1 + 1.702*v*(1-s))
		}
	case GELU:
		for i, v := range x {
			p, e := phi32(v)
			da[i] *= p + v*(e*0.3989422804014327)
		}
	}
}

// colSumGo adds the sums of the first len(dst) columns of x, rows ld apart, to dst.
func colSumGo(dst, x []float32, rows, ld int) {
	const width = 16
	for j := 0; j < len(dst); j += width {
		d := dst[j:min(len(dst), j+width)]
		var s [width]float32
		for i := range rows {
			for q, v := range x[i*ld+j:][:len(d)] {
				s[q] += v
			}
		}
		for q := range d {
			d[q] += s[q]
		}
	}
}

func adamGo(p, g, m, v []float32, h *adamConsts) {
	for i := range p {
		gi := g[i] * h.gscale
		mi := m[i] + h.omb1*(gi-m[i])
		vi := h.beta2*v[i] + h.omb2*(gi*gi)
		m[i], v[i] = mi, vi
		den := float32(math.Sqrt(float64(vi)))/h.sqrtBias2 + h.eps
		p[i] = p[i]*h.decay - h.step*(mi/den)
	}
}

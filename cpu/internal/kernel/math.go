package kernel

import "math"

// exp32 is exp(x): x = n ln 2 + r, a polynomial of degree 6 in r, times 2^n. The polynomial is fitted for this package
// (largest relative error 3e-9 before rounding). The result is within 2 units in the last place; it is 0 below -105 and
// +Inf above 89.
func exp32(x float32) float32 {
	if x != x {
		return x
	}
	x = max(-105, min(89, x))
	n := x * math.Log2E
	if n < 0 {
		n -= 0.5
	} else {
		n += 0.5
	}
	k := int32(n)
	n = float32(k)
	r := x - n*0.693359375 // the product is exact
	r -= n * -2.12194440054690583e-4
	p := float32(0.001381422160193324)
	p = p*r + 0.00836889911442995
	p = p*r + 0.04166840389370918
	p = p*r + 0.1666651964187622
	p = p*r + 0.4999999403953552
	p = p*r + 1
	p = p*r + 1
	// 2^n in two factors, because it may lie outside the range of float32 where the result does not.
	h := k >> 1
	return p * math.Float32frombits(uint32(h+127)<<23) * math.Float32frombits(uint32(k-h+127)<<23)
}

// phi32 is the distribution function of the normal distribution at x, and exp(-x*x/2). Near the middle it is
// 0.5 + x*S(x*x). Farther out, with t = |x|/sqrt(2), erfc(t) = exp(-t*t) * u * Q(u), u = 1/(1+0.5t). S and Q are
// fitted for this package (largest absolute errors before rounding 2e-9 and 8e-9).
func phi32(x float32) (phi, e float32) {
	s := x * x
	e = exp32(-0.5 * s)
	if s < 1.44 {
		p := float32(-6.644856057391735e-06)
		p = p*s + 0.00011032744077965617
		p = p*s - 0.001182709587737918
		p = p*s + 0.009971500374376774
		p = p*s - 0.06648998707532883
		p = p*s + 0.3989422619342804
		return p*x + 0.5, e
	}
	u := 1 / (1 + float32(math.Abs(float64(x)))*(0.5*math.Sqrt2/2))
	q := float32(-0.08913828432559967)
	q = q*u + 0.06024949997663498
	q = q*u + 0.24613691866397858
	q = q*u + 0.21078361570835114
	q = q*u + 0.2895238697528839
	q = q*u + 0.28158560395240784
	q = q * u * e * 0.5
	if x < 0 {
		return q, e
	}
	return 1 - q, e
}

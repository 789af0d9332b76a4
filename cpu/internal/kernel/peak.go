package kernel

import "runtime"

// Peak makes n rounds of independent multiply-adds in registers on the calling goroutine and returns the number of
// floating-point operations: the yardstick that the products are held against.
func Peak(isa ISA, n int) (flops float64) { return peak(isa, n) }

func peakGo(n int) float64 {
	var a, b, c, d, e, f, g, h float32
	x, y := float32(0.5), float32(1)
	for range n {
		a, b, c, d = a*x+y, b*x+y, c*x+y, d*x+y
		e, f, g, h = e*x+y, f*x+y, g*x+y, h*x+y
	}
	runtime.KeepAlive(a + b + c + d + e + f + g + h)
	return float64(n) * 16
}

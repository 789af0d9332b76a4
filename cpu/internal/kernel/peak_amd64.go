package kernel

func peak(isa ISA, n int) (flops float64) {
	switch isa {
	case AVX512:
		peakAVX512(n)
		return float64(n) * 12 * 16 * 2
	case AVX2:
		peakAVX2(n)
		return float64(n) * 12 * 8 * 2
	}
	return peakGo(n)
}

//go:build !amd64

package kernel

func peak(_ ISA, n int) (flops float64) { return peakGo(n) }

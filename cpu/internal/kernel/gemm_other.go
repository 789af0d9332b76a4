//go:build !amd64

package kernel

func (w *Worker) productAsm(g *Gemm, m0, m1, n0, n1 int) { w.productGo(g, m0, m1, n0, n1) }

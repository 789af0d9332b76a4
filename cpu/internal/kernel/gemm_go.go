package kernel

// The portable product packs blocks of op(A) and op(B) into panels of goMR rows and goNR columns and keeps a tile of
// the result in variables.
const (
	goMR, goNR = 4, 4
	goKC       = 256
	goMC       = 64
	goNC       = 512
)

func (w *Worker) productGo(g *Gemm, m0, m1, n0, n1 int) {
	kc := min(goKC, g.K)
	pa := grow(&w.packA, goMC*kc)
	pb := grow(&w.packB, goNC*kc)
	for j := n0; j < n1; j += goNC {
		nc := min(goNC, n1-j)
		for k := 0; k < g.K; k += goKC {
			kc := min(goKC, g.K-k)
			packGo(pb, g.B, g.LDB, !g.TransB, j, nc, k, kc)
			for i := m0; i < m1; i += goMC {
				mc := min(goMC, m1-i)
				packGo(pa, g.A, g.LDA, g.TransA, i, mc, k, kc)
				for jj := 0; jj < nc; jj += goNR {
					for ii := 0; ii < mc; ii += goMR {
						tileGo(g, pa[ii*kc:(ii+goMR)*kc], pb[jj*kc:(jj+goNR)*kc], i+ii, min(goMR, mc-ii), j+jj, min(goNR, nc-jj), k > 0 || g.Accumulate)
					}
				}
				if k+kc == g.K {
					w.epilogue(g, i, i+mc, j, j+nc)
				}
			}
		}
	}
}

// packGo copies n vectors of length kc, which start at number i0, from position k0 on, into panels of four: element k
// of vector i goes to dst[i/4*4*kc + 4*k + i%4]. The vectors are the rows of x, or its columns where cols is set. The
// last panel is filled up with zeros.
func packGo(dst, x []float32, ld int, cols bool, i0, n, k0, kc int) {
	for i := 0; i < n; i += 4 {
		d := dst[i*kc : (i+4)*kc]
		in := min(4, n-i)
		if in < 4 {
			clear(d)
		}
		if cols {
			for k := range kc {
				copy(d[4*k:4*k+in], x[(k0+k)*ld+i0+i:])
			}
			continue
		}
		if in < 4 {
			for r := range in {
				for k, v := range x[(i0+i+r)*ld+k0:][:kc] {
					d[4*k+r] = v
				}
			}
			continue
		}
		r0, r1 := x[(i0+i)*ld+k0:][:kc], x[(i0+i+1)*ld+k0:][:kc]
		r2, r3 := x[(i0+i+2)*ld+k0:][:kc], x[(i0+i+3)*ld+k0:][:kc]
		for k := range r0 {
			q := d[4*k : 4*k+4 : 4*k+4]
			q[0], q[1], q[2], q[3] = r0[k], r1[k], r2[k], r3[k]
		}
	}
}

// tileGo adds the product of a panel of rows and one of columns to C, or stores it there.
func tileGo(g *Gemm, a, b []float32, i, mr, j, nr int, add bool) {
	var t [goMR][goNR]float32
	// Two halves: sixteen sums and six operands are more than an amd64 has registers.
	halfGo(a, b, 0, (*[2][goNR]float32)(t[:2]))
	if mr > 2 {
		halfGo(a, b, 2, (*[2][goNR]float32)(t[2:]))
	}
	for r := range mr {
		c := g.C[(i+r)*g.LDC+j:][:nr]
		if add {
			for q := range c {
				c[q] += t[r][q]
			}
		} else {
			copy(c, t[r][:])
		}
	}
}

func halfGo(a, b []float32, row int, t *[2][goNR]float32) {
	var c00, c01, c02, c03, c10, c11, c12, c13 float32
	a, b = a[row:], b[:len(b):len(b)]
	for len(a) >= 2 && len(b) >= 4 {
		a0, a1 := a[0], a[1]
		b0, b1, b2, b3 := b[0], b[1], b[2], b[3]
		c00 += a0 * b0
		c01 += a0 * b1
		c02 += a0 * b2
		c03 += a0 * b3
		c10 += a1 * b0
		c11 += a1 * b1
		c12 += a1 * b2
		c13 += a1 * b3
		if len(a) < 4 {
			break
		}
		a, b = a[4:], b[4:]
	}
	t[0] = [goNR]float32{c00, c01, c02, c03}
	t[1] = [goNR]float32{c10, c11, c12, c13}
}

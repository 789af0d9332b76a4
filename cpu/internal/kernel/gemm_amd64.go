package kernel

import "unsafe"

// The assembly product follows Goto and van de Geijn (Anatomy of High-Performance Matrix Multiplication, 2008): a
// block of op(B) of kc rows is packed into panels as wide as the tile, a block of op(A) of mc rows into panels as high
// as it; a panel of B is then multiplied by all panels of A, which stay in the second-level cache. Where an operand is
// used too few times to be worth packing, the kernel reads it where it lies.
//
// The rows of a block are dealt to its tiles as evenly as they go: 50 rows are five tiles of 10, not four of 12 and one
// of 2, which would use a sixth of the registers.

// Block sizes. asmKC decides the order of summation; the others do not change results.
const (
	asmKC = 384
	asmMC = 144
	asmNC = 1024
	// directPanels is the largest number of panels of B for which A is not packed.
	directPanels = 4
	// directTiles is the largest number of tiles of A for which B is not packed.
	directTiles = 2
)

// tile is what the kernels are told: multiply one panel of B, [k, up to two vectors], by a column of tiles of A. The
// kernels know its layout.
type tile struct {
	a, b, c unsafe.Pointer
	// Strides in bytes: of A from row to row and from k to k+1, of B from k to k+1, of C from row to row.
	ars, aks, bks, ldc uintptr
	k                  int
	tiles              int     // how many; the kernel counts it down
	aStep              uintptr // bytes from one tile of A to the next
	shape              int     // (vectors-1)*mr + rows-1
	add                int     // 0: store to C, 1: add to it
	mask               uint64  // valid lanes of the last vector (AVX-512)
}

// The offset of the last field, which the kernels were generated for.
var _ = [1]struct{}{}[unsafe.Offsetof(tile{}.mask)-96]

func (w *Worker) productAsm(g *Gemm, m0, m1, n0, n1 int) {
	mr, lanes := 12, 16
	if w.isa == AVX2 {
		mr, lanes = 6, 8
	}
	nr := 2 * lanes
	masked := w.isa == AVX512

	ks := split(g.K, asmKC, 1)
	ms := split(m1-m0, asmMC, mr)
	ns := split(n1-n0, asmNC, nr)
	packB := g.TransB || m1-m0 > directTiles*mr
	var pa, pb, edge []float32
	for j := n0; j < n1; j += ns {
		nc := min(ns, n1-j)
		packA := nc > directPanels*nr || g.TransA && ks*g.LDA > 1<<16
		for k := 0; k < g.K; k += ks {
			kc := min(ks, g.K-k)
			add := 0
			if k > 0 || g.Accumulate {
				add = 1
			}
			if packB {
				pb = grow(&w.packB, ks*roundUp(min(ns, n1-n0), nr)+lanes)
				w.packPanelsB(pb, g, k, kc, j, nc, lanes)
			}
			for i := m0; i < m1; i += ms {
				mc := min(ms, m1-i)
				// The first high tiles have rows+1 rows, the other low ones rows.
				n := (mc + mr - 1) / mr
				rows, high := mc/n, mc%n
				if packA {
					pa = grow(&w.packA, ks*ms+lanes)
					w.packPanelsA(pa, g, k, kc, i, rows, high, n)
				}
				for jj := 0; jj < nc; jj += nr {
					cols := min(nr, nc-jj)
					vecs := (cols + lanes - 1) / lanes
					last := cols - (vecs-1)*lanes
					t := tile{k: kc, add: add, mask: 1<<last - 1}
					switch {
					case packB:
						t.b, t.bks = unsafe.Pointer(&pb[jj*kc]), uintptr(4*vecs*lanes)
					case masked || last == lanes:
						t.b, t.bks = unsafe.Pointer(&g.B[k*g.LDB+j+jj]), uintptr(4*g.LDB)
					default:
						pb = grow(&w.packB, ks*nr+lanes)
						w.packPanelsB(pb, g, k, kc, j+jj, cols, lanes)
						t.b, t.bks = unsafe.Pointer(&pb[0]), uintptr(4*vecs*lanes)
					}
					cPtr, ldc := unsafe.Pointer(&g.C[i*g.LDC+j+jj]), uintptr(4*g.LDC)
					partial := !masked && last < lanes
					if partial { // into a strip of its own, from where the valid columns are copied
						edge = grow(&w.tile, mc*nr)
						cPtr, ldc = unsafe.Pointer(&edge[0]), uintptr(4*nr)
						t.add = 0
					}
					t.ldc = ldc
					for part, row := 0, 0; part < 2; part++ {
						h, cnt := rows+1, high
						if part == 1 {
							h, cnt = rows, n-high
						}
						if cnt == 0 {
							continue
						}
						t.tiles, t.shape = cnt, (vecs-1)*mr+h-1
						t.c = unsafe.Add(cPtr, uintptr(row)*ldc)
						switch {
						case packA:
							t.a, t.ars, t.aks, t.aStep = unsafe.Pointer(&pa[row*kc]), 4, uintptr(4*h), uintptr(4*h*kc)
						case g.TransA:
							t.a, t.ars, t.aks, t.aStep = unsafe.Pointer(&g.A[k*g.LDA+i+row]), 4, uintptr(4*g.LDA), uintptr(4*h)
						default:
							t.a, t.ars, t.aks, t.aStep = unsafe.Pointer(&g.A[(i+row)*g.LDA+k]), uintptr(4*g.LDA), 4, uintptr(4*h*g.LDA)
						}
						if w.isa == AVX512 {
							tileAVX512(&t)
						} else {
							tileAVX2(&t)
						}
						row += h * cnt
					}
					if partial {
						for r := range mc {
							c := g.C[(i+r)*g.LDC+j+jj:][:cols]
							if e := edge[r*nr:][:cols]; add == 0 {
								copy(c, e)
							} else {
								for q, v := range e {
									c[q] += v
								}
							}
						}
					}
				}
				if k+kc == g.K {
					w.epilogue(g, i, i+mc, j, j+nc)
				}
			}
		}
	}
}

// split returns the size of the parts, a multiple of unit, into which n is cut so that none is larger than limit and
// all are about equal.
func split(n, limit, unit int) int {
	parts := (n + limit - 1) / limit
	return roundUp((n+parts-1)/parts, unit)
}

// packPanelsB packs op(B)[k0:k0+kc, j:j+nc] into panels [kc, 2*lanes]; a last panel that fits into one vector is
// [kc, lanes].
func (w *Worker) packPanelsB(dst []float32, g *Gemm, k0, kc, j, nc, lanes int) {
	for jj := 0; jj < nc; jj += 2 * lanes {
		cols := min(2*lanes, nc-jj)
		vecs := (cols + lanes - 1) / lanes
		d := dst[jj*kc:]
		if !g.TransB {
			last := cols - (vecs-1)*lanes
			src := &g.B[k0*g.LDB+j+jj]
			if w.isa == AVX512 {
				packColsAVX512(&d[0], 4*vecs*lanes, src, 4*g.LDB, vecs, last, kc)
			} else {
				packColsAVX2(&d[0], 4*vecs*lanes, src, 4*g.LDB, vecs, last, kc)
			}
			continue
		}
		for v := range vecs {
			rows := min(lanes, cols-v*lanes)
			src := &g.B[(j+jj+v*lanes)*g.LDB+k0]
			if w.isa == AVX512 {
				packRowsAVX512(&d[v*lanes], 4*vecs*lanes, src, 4*g.LDB, rows, kc)
			} else {
				packRowsAVX2(&d[v*lanes], 4*vecs*lanes, src, 4*g.LDB, rows, kc)
			}
		}
	}
}

// packPanelsA packs op(A)[i:, k0:k0+kc] into n panels [kc, h], of which the first high have h = rows+1 and the others
// h = rows. What a store writes behind a panel's rows the next one overwrites; behind the last panel dst has room.
func (w *Worker) packPanelsA(dst []float32, g *Gemm, k0, kc, i, rows, high, n int) {
	for t, row := 0, 0; t < n; t++ {
		h := rows
		if t < high {
			h++
		}
		d := &dst[row*kc]
		switch {
		case g.TransA && w.isa == AVX512:
			packColsAVX512(d, 4*h, &g.A[k0*g.LDA+i+row], 4*g.LDA, 1, h, kc)
		case g.TransA:
			packColsAVX2(d, 4*h, &g.A[k0*g.LDA+i+row], 4*g.LDA, 1, h, kc)
		case w.isa == AVX512:
			packRowsAVX512(d, 4*h, &g.A[(i+row)*g.LDA+k0], 4*g.LDA, h, kc)
		default:
			packRowsAVX2(d, 4*h, &g.A[(i+row)*g.LDA+k0], 4*g.LDA, h, kc)
		}
		row += h
	}
}

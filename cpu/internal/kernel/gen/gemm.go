package main

import "fmt"

// Offsets of the fields of kernel.tile.
const (
	tileA, tileB, tileC       = 0, 8, 16
	tileARS, tileAKS, tileBKS = 24, 32, 40
	tileLDC, tileK            = 48, 56
	tileTiles, tileAStep      = 64, 72
	tileShape, tileAdd        = 80, 88
	tileMask                  = 96
)

func gemmFile(a *asm) {
	for _, s := range []isa{avx512, avx2} {
		tiles(a, s)
		peak(a, s)
	}
	a.fn("pause", "tells the processor that the thread waits in a loop.", 0, nil, "")
	a.p("PAUSE\nRET")
}

// tiles emits the micro-kernels, one for each number of rows and of vectors in a row, behind one entry that jumps to
// the one that t.shape names.
//
// A kernel keeps its tile of C in registers. Each step over K loads the vectors of a row of B and multiplies them by
// one broadcast element of each row of A. Both strides of A are free, so that A may be packed, or lie in memory as it
// is or transposed.
func tiles(a *asm, s isa) {
	name := "tile" + s.name
	a.fn(name, "computes a column of tiles; see tile.", 0, []arg{{"t", "*tile"}}, "", "AX")
	a.p("MOVQ %d(AX), R8", tileShape)
	var pick func(lo, hi int)
	pick = func(lo, hi int) { // shapes lo..hi-1
		if hi-lo == 1 {
			a.p("JMP %s_%d", name, lo)
			return
		}
		mid := (lo + hi) / 2
		l := a.fresh("pick")
		a.p("CMPQ R8, $%d\nJLT %s", mid, l)
		pick(mid, hi)
		a.p("%s:", l)
		pick(lo, mid)
	}
	pick(0, 2*s.mr)
	for vecs := 1; vecs <= 2; vecs++ {
		for rows := 1; rows <= s.mr; rows++ {
			tileKernel(a, s, fmt.Sprintf("%s_%d", name, (vecs-1)*s.mr+rows-1), rows, vecs)
		}
	}
}

func tileKernel(a *asm, s isa, label string, rows, vecs int) {
	sums := rows * vecs
	vb := func(v int) string { return s.v(sums + v) }
	free := sums + vecs // first register for the elements of A
	bcast := min(map[int]int{16: 32, 8: 16}[s.lanes]-free, 6)
	base := []string{"SI", "R8", "R9", "R10"}
	addr := func(r int) string {
		return "(" + base[r/3] + ")" + []string{"", "(R11*1)", "(R11*2)"}[r%3]
	}
	groups := (rows + 2) / 3
	masked := s.lanes == 16

	a.p("%s:", label)
	a.p("MOVQ %d(AX), R14", tileA)
	a.p("MOVQ %d(AX), R11\nMOVQ %d(AX), R13\nMOVQ %d(AX), R12", tileARS, tileAKS, tileBKS)
	a.p("MOVQ %d(AX), DX\nMOVQ %d(AX), BX", tileC, tileLDC)
	if masked {
		a.p("KMOVW %d(AX), K1", tileMask)
	}
	a.p("%s_tile:", label)
	a.p("MOVQ R14, SI\nMOVQ %d(AX), DI\nMOVQ %d(AX), CX", tileB, tileK)
	if groups > 1 {
		a.p("LEAQ (R11)(R11*2), R15")
		for g := 1; g < groups; g++ {
			a.p("LEAQ (%s)(R15*1), %s", base[g-1], base[g])
		}
	}
	// The tile of C is needed at the end; fetch it meanwhile.
	a.p("MOVQ DX, R15")
	for r := range rows {
		a.p("PREFETCHT0 (R15)")
		if vecs == 2 {
			a.p("PREFETCHT0 %d(R15)", 2*s.bytes()-4)
		}
		if r < rows-1 {
			a.p("ADDQ BX, R15")
		}
	}
	for i := range sums {
		s.zero(a, i)
	}
	step := func() {
		for v := range vecs {
			m := ""
			if masked && v == vecs-1 {
				m = "K1, "
				a.p("VMOVUPS.Z %d(DI), %s%s", v*s.bytes(), m, vb(v))
				continue
			}
			a.p("VMOVUPS %d(DI), %s", v*s.bytes(), vb(v))
		}
		a.p("ADDQ R12, DI")
		for r := range rows {
			x := s.v(free + r%bcast)
			a.p("VBROADCASTSS %s, %s", addr(r), x)
			for v := range vecs {
				a.p("VFMADD231PS %s, %s, %s", vb(v), x, s.v(r*vecs+v))
			}
		}
		for g := range groups {
			a.p("ADDQ R13, %s", base[g])
		}
	}
	a.p("SHRQ $1, CX\nJZ %s_odd", label)
	a.p("PCALIGN $32\n%s_loop:", label)
	step()
	step()
	a.p("DECQ CX\nJNZ %s_loop", label)
	a.p("%s_odd:", label)
	a.p("TESTQ $1, %d(AX)\nJZ %s_store", tileK, label)
	step()
	a.p("%s_store:", label)
	a.p("CMPQ %d(AX), $0\nJEQ %s_set", tileAdd, label)
	store := func(add bool) {
		for r := range rows {
			for v := range vecs {
				x, m := s.v(r*vecs+v), fmt.Sprintf("%d(DX)", v*s.bytes())
				if masked && v == vecs-1 {
					if add {
						a.p("VMOVUPS.Z %s, K1, %s\nVADDPS %s, %s, %s", m, s.v(free), s.v(free), x, x)
					}
					a.p("VMOVUPS %s, K1, %s", x, m)
					continue
				}
				if add {
					a.p("VADDPS %s, %s, %s", m, x, x)
				}
				a.p("VMOVUPS %s, %s", x, m)
			}
			a.p("ADDQ BX, DX")
		}
	}
	store(true)
	a.p("JMP %s_next", label)
	a.p("%s_set:", label)
	store(false)
	a.p("%s_next:", label)
	a.p("ADDQ %d(AX), R14", tileAStep)
	a.p("DECQ %d(AX)\nJNZ %s_tile", tileTiles, label)
	a.ret()
}

// peak emits a loop of nothing but independent multiply-adds.
func peak(a *asm, s isa) {
	const chains = 12
	l := a.fresh("peak")
	a.fn("peak"+s.name, fmt.Sprintf("makes n rounds of %d independent vector multiply-adds.", chains), 0, []arg{{"n", "int"}}, "", "CX")
	for i := range 16 {
		s.zero(a, i)
	}
	a.p("PCALIGN $32\n%s:", l)
	for i := range chains {
		a.p("VFMADD231PS %s, %s, %s", s.v(14), s.v(15), s.v(i))
	}
	a.p("DECQ CX\nJNZ %s", l)
	a.ret()
}

package main

import "fmt"

func packFile(a *asm) {
	for _, s := range []isa{avx512, avx2} {
		packRows(a, s)
	}
	packCols(a, avx512)
	packCols(a, avx2)
	// A row of this table, from 32-4*n bytes on, masks the first n of eight lanes.
	for i := range 8 {
		fmt.Fprintf(&a.out, "DATA ·laneMask+%d(SB)/8, $0x%016x\n", 8*i, map[bool]uint64{true: 1<<64 - 1, false: 0}[i < 4])
	}
	fmt.Fprintf(&a.out, "GLOBL ·laneMask(SB), RODATA|NOPTR, $64\n")
}

// tailMask sets the mask for the first CX lanes: K1, or Y15 by way of AX. It changes AX and BX.
func (s isa) tailMask(a *asm) {
	if s.lanes == 16 {
		a.p("MOVL $1, AX\nSHLL CX, AX\nDECL AX\nKMOVW AX, K1")
		return
	}
	a.p("MOVQ CX, BX\nNEGQ BX\nLEAQ ·laneMask+32(SB), AX\nVMOVUPS (AX)(BX*4), Y15")
}

// packRows emits the copy of columns: rows of a matrix become the columns of a panel, by transposing squares.
func packRows(a *asm, s isa) {
	n := s.lanes
	frame := 8 * n
	a.fn("packRows"+s.name,
		fmt.Sprintf("writes element k of each of up to %d rows of src, ld bytes apart, next to one another at dst + k*step bytes,\n// %d values at a time whatever rows is: what stands behind the rows asked for is overwritten.", n, n),
		frame, []arg{{"dst", "*float32"}, {"step", "int"}, {"src", "*float32"}, {"ld", "int"}, {"rows", "int"}, {"k", "int"}}, "",
		"DI", "R12", "SI", "R11", "R10", "CX")
	// Offsets of the rows; the last one stands in for those that are missing.
	a.p("DECQ R10\nXORQ R9, R9\nXORQ R8, R8")
	for i := range n {
		a.p("MOVQ R9, off%d-%d(SP)", i, frame-8*i)
		if i < n-1 {
			a.p("LEAQ (R9)(R11*1), DX\nCMPQ R10, $%d\nCMOVQGT DX, R9", i)
		}
	}
	loop, tail, end := a.fresh("loop"), a.fresh("tail"), a.fresh("end")
	load := func(mask bool) {
		for i := range n {
			a.p("MOVQ off%d-%d(SP), R9", i, frame-8*i)
			switch {
			case !mask:
				a.p("VMOVUPS (SI)(R9*1), %s", s.v(i))
			case n == 16:
				a.p("VMOVUPS.Z (SI)(R9*1), K1, Z%d", i)
			default:
				a.p("VMASKMOVPS (SI)(R9*1), Y15, Y%d", i)
			}
		}
	}
	a.p("CMPQ CX, $%d\nJLT %s", n, tail)
	a.p("%s:", loop)
	load(false)
	for _, x := range transpose(a, s) {
		a.p("VMOVUPS %s, (DI)\nADDQ R12, DI", s.v(x))
	}
	a.p("ADDQ $%d, SI\nSUBQ $%d, CX\nCMPQ CX, $%d\nJGE %s", s.bytes(), n, n, loop)
	a.p("%s:", tail)
	a.p("TESTQ CX, CX\nJZ %s", end)
	s.tailMask(a)
	load(true)
	for i, x := range transpose(a, s) {
		if i == n-1 {
			break
		}
		a.p("VMOVUPS %s, (DI)\nADDQ R12, DI\nDECQ CX\nJZ %s", s.v(x), end)
	}
	a.p("%s:", end)
	a.ret()
}

// transpose emits the transposition of the square in the first registers and returns the registers of its columns.
func transpose(a *asm, s isa) []int {
	n := s.lanes
	// Pairs, then fours of rows within each 128-bit lane: afterwards register 4g+c holds, in lane l, column 4l+c of
	// rows 4g..4g+3. t is the second set of registers.
	t := n
	if n == 8 {
		t = 8
	}
	for i := 0; i < n; i += 2 {
		a.p("VUNPCKLPS %s, %s, %s\nVUNPCKHPS %s, %s, %s", s.v(i+1), s.v(i), s.v(t+i), s.v(i+1), s.v(i), s.v(t+i+1))
	}
	for g := 0; g < n; g += 4 {
		a.p("VUNPCKLPD %s, %s, %s\nVUNPCKHPD %s, %s, %s", s.v(t+g+2), s.v(t+g), s.v(g), s.v(t+g+2), s.v(t+g), s.v(g+1))
		a.p("VUNPCKLPD %s, %s, %s\nVUNPCKHPD %s, %s, %s", s.v(t+g+3), s.v(t+g+1), s.v(g+2), s.v(t+g+3), s.v(t+g+1), s.v(g+3))
	}
	cols := make([]int, n)
	for c := range 4 {
		if n == 8 {
			x0, x1, y0, y1 := c, 4+c, 8+c, 12+c
			a.p("VPERM2F128 $0x20, Y%d, Y%d, Y%d\nVPERM2F128 $0x31, Y%d, Y%d, Y%d", x1, x0, y0, x1, x0, y1)
			cols[c], cols[4+c] = y0, y1
			continue
		}
		x := [4]int{c, 4 + c, 8 + c, 12 + c}
		y := [4]int{16 + c, 20 + c, 24 + c, 28 + c}
		sh := func(imm, p, q, d int) { a.p("VSHUFF32X4 $0x%02x, Z%d, Z%d, Z%d", imm, q, p, d) }
		sh(0x44, x[0], x[1], y[0])
		sh(0x44, x[2], x[3], y[1])
		sh(0xee, x[0], x[1], y[2])
		sh(0xee, x[2], x[3], y[3])
		sh(0x88, y[0], y[1], x[0])
		sh(0xdd, y[0], y[1], x[1])
		sh(0x88, y[2], y[3], x[2])
		sh(0xdd, y[2], y[3], x[3])
		for l := range 4 {
			cols[4*l+c] = x[l]
		}
	}
	return cols
}

// packCols emits the copy of rows: pieces of the rows of a matrix become the rows of a panel.
func packCols(a *asm, s isa) {
	a.fn("packCols"+s.name,
		"copies, for each of k rows of src, ld bytes apart, vecs vectors (one or two) to dst, step bytes apart; only the first\n// last values of the last vector are read, zeros stand for the others.",
		0, []arg{{"dst", "*float32"}, {"step", "int"}, {"src", "*float32"}, {"ld", "int"}, {"vecs", "int"}, {"last", "int"}, {"k", "int"}}, "",
		"DI", "R12", "SI", "R11", "R10", "CX", "DX")
	s.tailMask(a)
	one, two, end := a.fresh("one"), a.fresh("two"), a.fresh("end")
	ld := func(off, r int) {
		if s.lanes == 16 {
			a.p("VMOVUPS.Z %d(SI), K1, Z%d", off, r)
		} else {
			a.p("VMASKMOVPS %d(SI), Y15, Y%d", off, r)
		}
	}
	a.p("CMPQ R10, $2\nJEQ %s", two)
	a.p("%s:", one)
	ld(0, 0)
	a.p("VMOVUPS %s, (DI)\nADDQ R11, SI\nADDQ R12, DI\nDECQ DX\nJNZ %s\nJMP %s", s.v(0), one, end)
	a.p("%s:", two)
	a.p("VMOVUPS (SI), %s", s.v(0))
	ld(s.bytes(), 1)
	a.p("VMOVUPS %s, (DI)\nVMOVUPS %s, %d(DI)\nADDQ R11, SI\nADDQ R12, DI\nDECQ DX\nJNZ %s", s.v(0), s.v(1), s.bytes(), two)
	a.p("%s:", end)
	a.ret()
}

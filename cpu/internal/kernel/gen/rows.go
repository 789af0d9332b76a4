package main

func rowsFile(a *asm) {
	for _, s := range []isa{avx512, avx2} {
		v := &vec{asm: a, isa: s}
		v.linear()
		v.layerNorm()
		v.softmax()
		v.epilogues()
		v.activationsBack()
		v.colSum()
		v.adam()
	}
	constTable(a)
}

// linear emits add, scale, scaleAdd and dot.
func (v *vec) linear() {
	v.fn("add"+v.name, "adds src to dst.", 0, params("dst src", "n", ""), "", "DI", "SI", "CX")
	v.loop(4, "DI SI", func(off, i int) {
		v.ld(at("DI", off), 0)
		v.ld(at("SI", off), 1)
		v.op("VADDPS", "1 0 0")
		v.st(0, at("DI", off))
	})
	v.ret()

	w := v.fn("scale"+v.name, "multiplies dst by a.", 0, params("dst", "n", "a"), "", "DI", "CX")
	v.p("VBROADCASTSS %s, %s", w["a"], v.v(8))
	v.loop(4, "DI", func(off, i int) {
		v.ld(at("DI", off), 0)
		v.op("VMULPS", "8 0 0")
		v.st(0, at("DI", off))
	})
	v.ret()

	w = v.fn("scaleAdd"+v.name, "writes dst = a*dst + b*x.", 0, params("dst x", "n", "a b"), "", "DI", "SI", "CX")
	v.p("VBROADCASTSS %s, %s\nVBROADCASTSS %s, %s", w["a"], v.v(8), w["b"], v.v(9))
	v.loop(4, "DI SI", func(off, i int) {
		v.ld(at("DI", off), 0)
		v.ld(at("SI", off), 1)
		v.op("VMULPS", "8 0 0")
		v.op("VFMADD231PS", "9 1 0")
		v.st(0, at("DI", off))
	})
	v.ret()

	w = v.fn("dot"+v.name, "is the inner product of x and y.", 0, params("x y", "n", ""), "float32", "SI", "DX", "CX")
	v.sums(0)
	v.loop(4, "SI DX", func(off, i int) {
		v.ld(at("SI", off), 4)
		v.ld(at("DX", off), 5)
		v.p("VFMADD231PS %s, %s, %s", v.v(5), v.v(4), v.v(i))
	})
	v.fold("VADDPS", 0)
	v.across("VADDPS", 0, 1)
	v.p("VMOVSS X0, %s", w["ret"])
	v.ret()
}

// sums clears four registers.
func (v *vec) sums(first int) {
	for i := range 4 {
		v.zero(v.asm, first+i)
	}
}

func (v *vec) layerNorm() {
	w := v.fn("layerNorm"+v.name, "normalises a row; stats receives mean and rstd. fn is n.", 0,
		params("dst x gamma beta stats", "n", "fn eps"), "", "DI", "SI", "DX", "R8", "R9", "CX")
	v.sums(0)
	v.loop(4, "SI", func(off, i int) {
		v.ld(at("SI", off), 4)
		v.p("VADDPS %s, %s, %s", v.v(4), v.v(i), v.v(i))
	})
	v.fold("VADDPS", 0)
	v.across("VADDPS", 0, 1)
	v.p("VDIVSS %s, X0, X0\nVMOVSS X0, (R9)\nVBROADCASTSS X0, %s", w["fn"], v.v(5))
	v.p("MOVQ %s, SI\nMOVQ %s, CX", w["x"], w["n"])
	v.sums(0)
	v.loop(4, "SI", func(off, i int) {
		v.ld(at("SI", off), 4)
		v.op("VSUBPS", "5 4 4")
		v.keep(4)
		v.p("VFMADD231PS %s, %s, %s", v.v(4), v.v(4), v.v(i))
	})
	v.fold("VADDPS", 0)
	v.across("VADDPS", 0, 1)
	v.p("VDIVSS %s, X0, X0\nVADDSS %s, X0, X0\nVSQRTSS X0, X0, X0", w["fn"], w["eps"])
	v.p("VMOVSS ·consts+%d(SB), X1\nVDIVSS X0, X1, X6\nVMOVSS X6, 4(R9)", constOffset("one"))
	v.spread(6)
	v.p("MOVQ %s, SI\nMOVQ %s, CX", w["x"], w["n"])
	v.loop(2, "SI DI DX R8", func(off, i int) {
		v.ld(at("SI", off), 0)
		v.op("VSUBPS", "5 0 0")
		v.op("VMULPS", "6 0 0")
		v.ld(at("DX", off), 1)
		v.ld(at("R8", off), 2)
		v.op("VFMADD213PS", "2 1 0")
		v.st(0, at("DI", off))
	})
	v.ret()

	w = v.fn("layerNormBack"+v.name, "adds the gradients of a row's input and of the parameters. fn is n.", 0,
		params("dx dy x gamma dgamma dbeta", "n", "fn mean rstd"), "", "DI", "SI", "DX", "R8", "R9", "R10", "CX")
	v.p("VBROADCASTSS %s, %s\nVBROADCASTSS %s, %s", w["mean"], v.v(10), w["rstd"], v.v(11))
	for _, r := range []int{6, 7, 8, 9} {
		v.zero(v.asm, r)
	}
	normed := func(off int) { // xhat
		v.ld(at("DX", off), 1)
		v.op("VSUBPS", "10 1 1")
		v.op("VMULPS", "11 1 1")
	}
	v.loop(2, "SI DX R8 R9 R10", func(off, i int) {
		v.ld(at("SI", off), 0)
		normed(off)
		v.ld(at("R9", off), 2)
		v.op("VFMADD231PS", "0 1 2")
		v.st(2, at("R9", off))
		v.ld(at("R10", off), 3)
		v.op("VADDPS", "0 3 3")
		v.st(3, at("R10", off))
		v.ld(at("R8", off), 4)
		v.op("VMULPS", "4 0 0")
		v.p("VADDPS %s, %s, %s", v.v(0), v.v(6+2*i), v.v(6+2*i))
		v.p("VFMADD231PS %s, %s, %s", v.v(0), v.v(1), v.v(7+2*i))
	})
	v.op("VADDPS", "8 6 6")
	v.op("VADDPS", "9 7 7")
	v.across("VADDPS", 6, 0)
	v.across("VADDPS", 7, 0)
	v.p("VDIVSS %s, X6, X6\nVDIVSS %s, X7, X7", w["fn"], w["fn"])
	v.spread(6)
	v.spread(7)
	v.p("MOVQ %s, SI\nMOVQ %s, DX\nMOVQ %s, R8\nMOVQ %s, CX", w["dy"], w["x"], w["gamma"], w["n"])
	v.loop(2, "SI DX R8 DI", func(off, i int) {
		v.ld(at("SI", off), 0)
		v.ld(at("R8", off), 4)
		v.op("VMULPS", "4 0 0")
		v.op("VSUBPS", "6 0 0")
		normed(off)
		v.op("VFNMADD231PS", "1 7 0")
		v.ld(at("DI", off), 2)
		v.op("VFMADD231PS", "0 11 2")
		v.st(2, at("DI", off))
	})
	v.ret()
}

func (v *vec) softmax() {
	w := v.fn("softmax"+v.name, "replaces x by the softmax of scale*x.", 0, params("x", "n", "scale"), "", "SI", "CX")
	v.p("VBROADCASTSS %s, %s", w["scale"], v.v(12))
	v.expBounds()
	for i := range 4 {
		v.constant("ninf", i)
	}
	v.constant("ninf", 5)
	v.loop(4, "SI", func(off, i int) {
		v.ld(at("SI", off), 4)
		v.op("VMULPS", "12 4 4")
		if v.mask && v.lanes == 16 {
			v.p("VBLENDMPS Z4, Z5, K1, Z4")
		} else if v.mask {
			v.p("VBLENDVPS Y15, Y4, Y5, Y4")
		}
		v.p("VMAXPS %s, %s, %s", v.v(4), v.v(i), v.v(i))
	})
	v.fold("VMAXPS", 0)
	v.across("VMAXPS", 0, 1)
	v.p("VBROADCASTSS X0, %s", v.v(5))
	v.zero(v.asm, 6)
	v.zero(v.asm, 7)
	v.p("MOVQ %s, SI\nMOVQ %s, CX", w["x"], w["n"])
	v.loop(2, "SI", func(off, i int) {
		v.ld(at("SI", off), 3*i)
		v.p("VMULPS %s, %s, %s", v.v(12), v.v(3*i), v.v(3*i))
		v.p("VSUBPS %s, %s, %s", v.v(5), v.v(3*i), v.v(3*i))
		t := []int{1, 4}[i]
		v.exp(3*i, t, t+[]int{1, 4}[i])
		v.st(3*i, at("SI", off))
		v.keep(3 * i)
		v.p("VADDPS %s, %s, %s", v.v(3*i), v.v(6+i), v.v(6+i))
	})
	v.op("VADDPS", "7 6 6")
	v.across("VADDPS", 6, 0)
	v.p("VMOVSS ·consts+%d(SB), X1\nVDIVSS X6, X1, X6", constOffset("one"))
	v.spread(6)
	v.p("MOVQ %s, SI\nMOVQ %s, CX", w["x"], w["n"])
	v.loop(2, "SI", func(off, i int) {
		v.ld(at("SI", off), 0)
		v.op("VMULPS", "6 0 0")
		v.st(0, at("SI", off))
	})
	v.ret()

	w = v.fn("softmaxBack"+v.name, "replaces dp by scale * p * (dp - sum(dp*p)).", 0, params("dp p", "n", "scale"), "", "DI", "SI", "CX")
	v.p("VBROADCASTSS %s, %s", w["scale"], v.v(12))
	v.sums(0)
	v.loop(4, "DI SI", func(off, i int) {
		v.ld(at("DI", off), 4)
		v.ld(at("SI", off), 5)
		v.p("VFMADD231PS %s, %s, %s", v.v(5), v.v(4), v.v(i))
	})
	v.fold("VADDPS", 0)
	v.across("VADDPS", 0, 1)
	v.p("VBROADCASTSS X0, %s", v.v(6))
	v.p("MOVQ %s, DI\nMOVQ %s, SI\nMOVQ %s, CX", w["dp"], w["p"], w["n"])
	v.loop(2, "DI SI", func(off, i int) {
		v.ld(at("DI", off), 0)
		v.ld(at("SI", off), 1)
		v.op("VSUBPS", "6 0 0")
		v.op("VMULPS", "12 1 1")
		v.op("VMULPS", "1 0 0")
		v.st(0, at("DI", off))
	})
	v.ret()
}

// epilogues emits what follows a product: dst = act(src + bias) + res, pre = src + bias. bias, pre and res may be nil.
func (v *vec) epilogues() {
	for _, act := range []string{"None", "Quick", "GELU"} {
		v.fn("epilogue"+act+v.name, "writes pre = src + bias and dst = act(pre) + res; bias, pre and res may be nil.", 0,
			params("dst src bias pre res", "n", ""), "", "DI", "SI", "R8", "R9", "R10", "CX")
		v.expBounds()
		v.p("XORQ DX, DX")
		v.loop(1, "DX", func(int, int) {
			opt := func(ptr string, f func()) {
				skip := v.fresh("skip")
				v.p("TESTQ %s, %s\nJZ %s", ptr, ptr, skip)
				f()
				v.p("%s:", skip)
			}
			v.ld("(SI)(DX*1)", 0)
			opt("R8", func() { v.ld("(R8)(DX*1)", 1); v.op("VADDPS", "1 0 0") })
			opt("R9", func() { v.st(0, "(R9)(DX*1)") })
			switch act {
			case "Quick":
				v.opc("VMULPS", "nquick", "0 1")
				v.exp(1, 2, 3)
				v.opc("VADDPS", "one", "1 1")
				v.op("VDIVPS", "1 0 0")
			case "GELU":
				v.phi(0, 1, 2, 3, 4, 5)
				v.op("VMULPS", "1 0 0")
			}
			opt("R10", func() { v.ld("(R10)(DX*1)", 1); v.op("VADDPS", "1 0 0") })
			v.st(0, "(DI)(DX*1)")
		})
		v.ret()
	}
}

func (v *vec) activationsBack() {
	v.fn("quickBack"+v.name, "multiplies da by the derivative of QuickGELU at x.", 0, params("da x", "n", ""), "", "DI", "SI", "CX")
	v.expBounds()
	v.constant("one", 5)
	v.loop(1, "DI SI", func(off, i int) {
		v.ld(at("SI", off), 0)
		v.opc("VMULPS", "nquick", "0 1")
		v.exp(1, 2, 3)
		v.op("VADDPS", "5 1 1")
		v.op("VDIVPS", "1 5 1") // s
		v.op("VSUBPS", "1 5 2")
		v.op("VMULPS", "0 2 2")
		v.opc("VMULPS", "quick", "2 2")
		v.op("VADDPS", "5 2 2")
		v.op("VMULPS", "1 2 2")
		v.ld(at("DI", off), 3)
		v.op("VMULPS", "2 3 3")
		v.st(3, at("DI", off))
	})
	v.ret()

	v.fn("geluBack"+v.name, "multiplies da by the derivative of GELU at x.", 0, params("da x", "n", ""), "", "DI", "SI", "CX")
	v.expBounds()
	v.loop(1, "DI SI", func(off, i int) {
		v.ld(at("SI", off), 0)
		v.phi(0, 1, 2, 3, 4, 5)
		v.opc("VMULPS", "isqrt2pi", "2 2")
		v.op("VFMADD231PS", "0 2 1")
		v.ld(at("DI", off), 3)
		v.op("VMULPS", "1 3 3")
		v.st(3, at("DI", off))
	})
	v.ret()
}

// colSum emits the sums of columns: strips of four vectors, then of one.
func (v *vec) colSum() {
	v.fn("colSum"+v.name, "adds the sums of n columns of x, rows ld bytes apart, to dst.", 0,
		params("dst x", "rows ld n", ""), "", "DI", "SI", "R8", "R9", "CX")
	strip := func(vecs int) {
		l := v.fresh("rows")
		for i := range vecs {
			v.zero(v.asm, i)
		}
		v.p("MOVQ SI, DX\nMOVQ R8, R10\n%s:", l)
		for i := range vecs {
			if v.mask {
				v.ld(at("DX", 0), 5)
				v.op("VADDPS", "5 0 0")
				continue
			}
			v.p("VADDPS %d(DX), %s, %s", i*v.bytes(), v.v(i), v.v(i))
		}
		v.p("ADDQ R9, DX\nDECQ R10\nJNZ %s", l)
		for i := range vecs {
			v.ld(at("DI", i*v.bytes()), 5)
			v.p("VADDPS %s, %s, %s", v.v(i), v.v(5), v.v(5))
			v.st(5, at("DI", i*v.bytes()))
		}
	}
	four, one := v.fresh("four"), v.fresh("less")
	v.p("%s:", four)
	v.p("CMPQ CX, $%d\nJLT %s", 4*v.lanes, one)
	strip(4)
	v.p("ADDQ $%d, SI\nADDQ $%d, DI\nSUBQ $%d, CX\nJMP %s", 4*v.bytes(), 4*v.bytes(), 4*v.lanes, four)
	v.p("%s:", one)
	v.loop(1, "DI SI", func(int, int) { strip(1) })
	v.ret()
}

func (v *vec) adam() {
	v.fn("adam"+v.name, "takes one step of AdamW with the constants h.", 0, params("p grad m v h", "n", ""), "", "DI", "SI", "DX", "R8", "R9", "CX")
	// gscale, omb1, beta2, omb2, sqrtBias2, eps, decay, step
	for i := range 8 {
		v.p("VBROADCASTSS %d(R9), %s", 4*i, v.v(5+i))
	}
	v.loop(1, "DI SI DX R8", func(off, i int) {
		v.ld(at("SI", off), 0)
		v.op("VMULPS", "5 0 0")
		v.ld(at("DX", off), 1)
		v.op("VSUBPS", "1 0 2")
		v.op("VFMADD231PS", "6 2 1")
		v.st(1, at("DX", off))
		v.ld(at("R8", off), 2)
		v.op("VMULPS", "7 2 2")
		v.op("VMULPS", "0 0 0")
		v.op("VFMADD231PS", "8 0 2")
		v.st(2, at("R8", off))
		v.op("VSQRTPS", "2 2")
		v.op("VDIVPS", "9 2 2")
		v.op("VADDPS", "10 2 2")
		v.op("VDIVPS", "2 1 1")
		v.ld(at("DI", off), 3)
		v.op("VMULPS", "11 3 3")
		v.op("VFNMADD231PS", "12 1 3")
		v.st(3, at("DI", off))
	})
	v.ret()
}

package main

import (
	"fmt"
	"math"
	"strings"
)

// vec emits loops over rows of float32 values for one instruction set. Registers 13 and 14 hold the bounds of exp where
// it is used, and 15 is the mask of a tail (K1 in AVX-512); bodies have 0 to 12.
type vec struct {
	*asm
	isa
	mask bool // the body being emitted is that of the tail
}

// f32 is shorthand for a parameter list: names of pointers first, then "n", then names of float32 values.
func params(pointers string, ints string, floats string) []arg {
	var l []arg
	for _, n := range strings.Fields(pointers) {
		t := "*float32"
		if n == "h" {
			t = "*adamConsts"
		}
		l = append(l, arg{n, t})
	}
	for _, n := range strings.Fields(ints) {
		l = append(l, arg{n, "int"})
	}
	for _, n := range strings.Fields(floats) {
		l = append(l, arg{n, "float32"})
	}
	return l
}

// r names registers: r("0 5") is "Z0, Z5".
func (v *vec) r(list string) string {
	f := strings.Fields(list)
	for i := range f {
		f[i] = v.reg + f[i]
	}
	return strings.Join(f, ", ")
}

// op emits one instruction on registers given by number, operands in the order of Go's assembler: destination last.
func (v *vec) op(name, regs string) { v.p("%s %s", name, v.r(regs)) }

// opc emits an instruction whose first operand is a constant from memory.
func (v *vec) opc(name, constant, regs string) {
	b := ""
	if v.lanes == 16 {
		b = ".BCST"
	}
	v.p("%s%s ·consts+%d(SB), %s", name, b, constOffset(constant), v.r(regs))
}

// constant loads a constant into all lanes.
func (v *vec) constant(name string, reg int) {
	v.p("VBROADCASTSS ·consts+%d(SB), %s", constOffset(name), v.v(reg))
}

// ld loads a vector; in the tail, only the valid lanes, the others become 0.
func (v *vec) ld(mem string, reg int) {
	switch {
	case !v.mask:
		v.p("VMOVUPS %s, %s", mem, v.v(reg))
	case v.lanes == 16:
		v.p("VMOVUPS.Z %s, K1, Z%d", mem, reg)
	default:
		v.p("VMASKMOVPS %s, Y15, Y%d", mem, reg)
	}
}

// st stores a vector; in the tail, only the valid lanes.
func (v *vec) st(reg int, mem string) {
	switch {
	case !v.mask:
		v.p("VMOVUPS %s, %s", v.v(reg), mem)
	case v.lanes == 16:
		v.p("VMOVUPS Z%d, K1, %s", reg, mem)
	default:
		v.p("VMASKMOVPS Y%d, Y15, %s", reg, mem)
	}
}

// keep clears the lanes of a register that are not valid.
func (v *vec) keep(reg int) {
	switch {
	case !v.mask:
	case v.lanes == 16:
		v.p("VMOVAPS.Z Z%d, K1, Z%d", reg, reg)
	default:
		v.p("VANDPS Y15, Y%d, Y%d", reg, reg)
	}
}

// loop emits a loop over CX values. body gets the byte offset of its vector from the pointers, which advance, and the
// number of the vector within a round of unroll vectors: sums go to as many registers, which hides the latency of the
// additions.
func (v *vec) loop(unroll int, pointers string, body func(off, i int)) {
	step := func(n int) {
		for _, p := range strings.Fields(pointers) {
			v.p("ADDQ $%d, %s", n*v.bytes(), p)
		}
	}
	one, tail, end := v.fresh("one"), v.fresh("tail"), v.fresh("end")
	if unroll > 1 {
		many := v.fresh("many")
		v.p("CMPQ CX, $%d\nJLT %s", unroll*v.lanes, one)
		v.p("%s:", many)
		for i := range unroll {
			body(i*v.bytes(), i)
		}
		step(unroll)
		v.p("SUBQ $%d, CX\nCMPQ CX, $%d\nJGE %s", unroll*v.lanes, unroll*v.lanes, many)
	}
	v.p("%s:", one)
	v.p("CMPQ CX, $%d\nJLT %s", v.lanes, tail)
	body(0, 0)
	step(1)
	v.p("SUBQ $%d, CX\nJMP %s", v.lanes, one)
	v.p("%s:", tail)
	v.p("TESTQ CX, CX\nJZ %s", end)
	v.tailMask(v.asm)
	v.mask = true
	body(0, 0)
	v.mask = false
	v.p("%s:", end)
}

// at is a memory operand.
func at(ptr string, off int) string { return fmt.Sprintf("%d(%s)", off, ptr) }

// fold adds up the registers first..first+3 into first.
func (v *vec) fold(op string, first int) {
	v.op(op, fmt.Sprintf("%d %d %d", first+1, first, first))
	v.op(op, fmt.Sprintf("%d %d %d", first+3, first+2, first+2))
	v.op(op, fmt.Sprintf("%d %d %d", first+2, first, first))
}

// across combines the lanes of a register into the lowest one and, with spread, copies that to all. It changes t.
func (v *vec) across(op string, reg, t int) {
	if v.lanes == 16 {
		v.p("VEXTRACTF64X4 $1, Z%d, Y%d\n%s Y%d, Y%d, Y%d", reg, t, op, t, reg, reg)
	}
	v.p("VEXTRACTF128 $1, Y%d, X%d\n%s X%d, X%d, X%d", reg, t, op, t, reg, reg)
	v.p("VSHUFPS $0x4e, X%d, X%d, X%d\n%s X%d, X%d, X%d", reg, reg, t, op, t, reg, reg)
	v.p("VSHUFPS $0xb1, X%d, X%d, X%d\n%s X%d, X%d, X%d", reg, reg, t, op, t, reg, reg)
}

// spread copies the lowest lane to all.
func (v *vec) spread(reg int) { v.p("VBROADCASTSS X%d, %s", reg, v.v(reg)) }

// The constants in memory, eight times each. exp and erfc are fitted for this package; the Go versions in math.go have
// the same.
var consts = []struct {
	name  string
	value float64
}{
	{"one", 1}, {"half", 0.5}, {"ninf", math.Inf(-1)},
	{"log2e", math.Log2E}, {"ln2hi", 0.693359375}, {"ln2lo", -2.12194440054690583e-4},
	{"exphi", 89}, {"explo", -105},
	{"e2", 0.4999999403953552}, {"e3", 0.1666651964187622}, {"e4", 0.04166840389370918}, {"e5", 0.00836889911442995}, {"e6", 0.001381422160193324},
	{"quick", 1.702}, {"nquick", -1.702},
	{"nhalf", -0.5}, {"erfcp", 0.5 * math.Sqrt2 / 2}, {"isqrt2pi", 0.3989422804014327}, {"middle", 1.44},
	{"c0", 0.28158560395240784}, {"c1", 0.2895238697528839}, {"c2", 0.21078361570835114}, {"c3", 0.24613691866397858},
	{"c4", 0.06024949997663498}, {"c5", -0.08913828432559967},
	{"s0", 0.3989422619342804}, {"s1", -0.06648998707532883}, {"s2", 0.009971500374376774}, {"s3", -0.001182709587737918},
	{"s4", 0.00011032744077965617}, {"s5", -6.644856057391735e-06},
}

func constOffset(name string) int {
	for i, c := range consts {
		if c.name == name {
			return 32 * i
		}
	}
	panic("no constant " + name)
}

func constTable(a *asm) {
	for i, c := range consts {
		b := uint64(math.Float32bits(float32(c.value)))
		for j := range 4 {
			fmt.Fprintf(&a.out, "DATA ·consts+%d(SB)/8, $0x%016x\n", 32*i+8*j, b<<32|b)
		}
	}
	fmt.Fprintf(&a.out, "GLOBL ·consts(SB), RODATA|NOPTR, $%d\n", 32*len(consts))
}

// expBounds loads what exp needs in registers.
func (v *vec) expBounds() {
	v.constant("exphi", 13)
	v.constant("explo", 14)
}

// exp replaces x by its exponential: x = n ln 2 + r, a polynomial of degree 6 in r, times 2^n. NaN stays NaN (the
// processor's min and max return their second operand then, Go's first). It changes t and u.
func (v *vec) exp(x, t, u int) {
	r := func(l string, args ...any) string { return fmt.Sprintf(l, args...) }
	v.op("VMINPS", r("%d 13 %d", x, x))
	v.op("VMAXPS", r("%d 14 %d", x, x))
	v.opc("VMULPS", "log2e", r("%d %d", x, t))
	if v.lanes == 16 {
		v.p("VRNDSCALEPS $8, %s", v.r(r("%d %d", t, t)))
	} else {
		v.p("VROUNDPS $8, %s", v.r(r("%d %d", t, t)))
	}
	v.opc("VFNMADD231PS", "ln2hi", r("%d %d", t, x))
	v.opc("VFNMADD231PS", "ln2lo", r("%d %d", t, x))
	v.constant("e6", u)
	for _, c := range []string{"e5", "e4", "e3", "e2", "one", "one"} {
		v.opc("VFMADD213PS", c, r("%d %d", x, u))
	}
	if v.lanes == 16 {
		v.op("VSCALEFPS", r("%d %d %d", t, u, x))
		return
	}
	// 2^n in two factors, because it may lie outside the range of float32 where the result does not.
	v.p("VCVTPS2DQ Y%d, Y%d\nVPSRAD $1, Y%d, Y%d\nVPSUBD Y%d, Y%d, Y%d", t, t, t, x, x, t, t)
	v.p("VPSLLD $23, Y%d, Y%d\nVPSLLD $23, Y%d, Y%d", x, x, t, t)
	v.p("VPADDD ·consts+%d(SB), Y%d, Y%d\nVPADDD ·consts+%d(SB), Y%d, Y%d", constOffset("one"), x, x, constOffset("one"), t, t)
	v.p("VMULPS Y%d, Y%d, Y%d\nVMULPS Y%d, Y%d, Y%d", x, u, x, t, x, x)
}

// phi sets p to the normal distribution function at x. Where |x| < 1.2 that is 0.5 + x*S(x*x), S of degree 5. Farther
// out, with e = erfc(|x|/sqrt2)/2, it is e for negative x and 1-e else; erfc(t) is exp(-t*t) * u * Q(u) there,
// u = 1/(1+0.5t), Q of degree 5. g receives exp(-x*x/2). It changes t, u and w.
func (v *vec) phi(x, p, g, t, u, w int) {
	r := func(l string, args ...any) string { return fmt.Sprintf(l, args...) }
	v.op("VMULPS", r("%d %d %d", x, x, w))
	v.opc("VMULPS", "nhalf", r("%d %d", w, g))
	v.exp(g, t, u)
	v.p("VPSLLD $1, %s\nVPSRLD $1, %s", v.r(r("%d %d", x, t)), v.r(r("%d %d", t, t))) // |x|
	v.constant("erfcp", u)
	v.opc("VFMADD213PS", "one", r("%d %d", t, u))
	v.constant("one", t)
	v.op("VDIVPS", r("%d %d %d", u, t, u))
	v.constant("c5", p)
	for _, c := range []string{"c4", "c3", "c2", "c1", "c0"} {
		v.opc("VFMADD213PS", c, r("%d %d", u, p))
	}
	v.op("VMULPS", r("%d %d %d", u, p, p))
	v.op("VMULPS", r("%d %d %d", g, p, p))
	v.opc("VMULPS", "half", r("%d %d", p, p))
	v.op("VSUBPS", r("%d %d %d", p, t, t))
	v.constant("s5", u)
	for _, c := range []string{"s4", "s3", "s2", "s1", "s0"} {
		v.opc("VFMADD213PS", c, r("%d %d", w, u))
	}
	v.opc("VFMADD213PS", "half", r("%d %d", x, u))
	middle := constOffset("middle")
	if v.lanes == 16 {
		v.p("VPMOVD2M Z%d, K2\nVMOVAPS Z%d, K2, Z%d", x, p, t)
		v.p("VCMPPS.BCST $1, ·consts+%d(SB), Z%d, K3\nVMOVAPS Z%d, K3, Z%d\nVMOVAPS Z%d, Z%d", middle, w, u, t, t, p)
		return
	}
	v.p("VBLENDVPS Y%d, Y%d, Y%d, Y%d", x, p, t, p)
	v.p("VCMPPS $1, ·consts+%d(SB), Y%d, Y%d\nVBLENDVPS Y%d, Y%d, Y%d, Y%d", middle, w, w, w, u, p, p)
}

package main

import (
	"bytes"
	"fmt"
	"strings"
)

// asm collects Go assembly.
type asm struct {
	out   bytes.Buffer
	stubs *bytes.Buffer
	label int
}

// p writes one line for each line of text, which Sprintf formats; labels stand at the margin.
func (a *asm) p(format string, args ...any) {
	for l := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
		l = strings.TrimSpace(l)
		if !strings.HasSuffix(l, ":") {
			a.out.WriteByte('\t')
		}
		a.out.WriteString(l + "\n")
	}
}

// fresh returns a label that is unique in the file.
func (a *asm) fresh(name string) string {
	a.label++
	return fmt.Sprintf("%s%d", name, a.label)
}

// arg is a parameter or result of an assembly function: eight bytes, or four where typ is float32.
type arg struct{ name, typ string }

// fn starts a function. Pointers and integers are loaded into the registers named in regs, in order; parameters of
// type float32 are left to the caller of fn, which finds their place in the returned map. doc says what it does.
func (a *asm) fn(name, doc string, frame int, args []arg, ret string, regs ...string) map[string]string {
	off, where, decl := 0, map[string]string{}, []string{}
	for _, g := range args {
		decl = append(decl, g.name+" "+g.typ)
		size := 8
		if g.typ == "float32" {
			size = 4
		}
		off = (off + size - 1) / size * size
		where[g.name] = fmt.Sprintf("%s+%d(FP)", g.name, off)
		off += size
	}
	sig := "(" + strings.Join(decl, ", ") + ")"
	if ret != "" {
		off = (off + 7) / 8 * 8
		where["ret"] = fmt.Sprintf("ret+%d(FP)", off)
		off += 4
		sig += " " + ret
	}
	fmt.Fprintf(a.stubs, "\n// %s %s\n//\n//go:noescape\nfunc %s%s\n", name, doc, name, sig)
	fmt.Fprintf(&a.out, "\n// func %s%s\nTEXT ·%s(SB), NOSPLIT, $%d-%d\n", name, sig, name, frame, off)
	i := 0
	for _, g := range args {
		if g.typ == "float32" {
			continue
		}
		if i < len(regs) {
			a.p("MOVQ %s, %s", where[g.name], regs[i])
		}
		i++
	}
	return where
}

func (a *asm) ret() { a.p("VZEROUPPER\nRET") }

// isa is what differs between the two instruction sets.
type isa struct {
	name  string // suffix of function names
	reg   string // letter of the vector registers
	lanes int
	mr    int // rows of the product's tile
}

var (
	avx512 = isa{"AVX512", "Z", 16, 12}
	avx2   = isa{"AVX2", "Y", 8, 6}
)

func (s isa) bytes() int { return 4 * s.lanes }

// v names a vector register.
func (s isa) v(i int) string { return fmt.Sprintf("%s%d", s.reg, i) }

// zero clears a register.
func (s isa) zero(a *asm, i int) {
	if s.lanes == 16 {
		a.p("VPXORD Z%d, Z%d, Z%d", i, i, i)
		return
	}
	a.p("VXORPS Y%d, Y%d, Y%d", i, i, i)
}

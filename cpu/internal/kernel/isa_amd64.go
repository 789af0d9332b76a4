package kernel

import "golang.org/x/sys/cpu"

// best is the fastest instruction set of the machine. The flags of x/sys/cpu say that the operating system saves the
// registers too.
var best = func() ISA {
	x := cpu.X86
	if !x.HasAVX2 || !x.HasFMA {
		return Generic
	}
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL {
		return AVX512
	}
	return AVX2
}()

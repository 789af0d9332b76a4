// Package kernel holds the float32 numeric kernels of the native engine: matrix products with fused epilogues, the row
// operations of a transformer forwards and backwards, AdamW, and the worker pool that runs them.
//
// Every kernel exists in portable Go and, on amd64, in assembly for AVX2 with FMA and for AVX-512. A Pool is made for
// one instruction set, and all that runs on it uses that one, so a process can hold pools of several.
//
// Results are reproducible: they do not depend on the number of workers, and a row of a matrix product does not depend
// on the other rows that are computed with it. They do depend on the instruction set (in the last bits).
//
// Functions panic where slices are too short for the sizes given; that is a mistake in the caller.
package kernel

//go:generate go run ./gen

import "fmt"

// ISA is an instruction set that the kernels are written for.
type ISA int

// The instruction sets, from the slowest to the fastest.
const (
	Generic ISA = iota // portable Go
	AVX2               // AVX2 and FMA3
	AVX512             // AVX-512 F, BW, DQ and VL
)

// EnvISA is the environment variable whose value callers hand to Select.
const EnvISA = "PAINT_KERNELS"

// String returns the name that Select takes.
func (i ISA) String() string {
	switch i {
	case Generic:
		return "go"
	case AVX2:
		return "avx2"
	case AVX512:
		return "avx512"
	}
	return fmt.Sprintf("ISA(%d)", int(i))
}

// Available lists the instruction sets that this machine runs, Generic first and the fastest last.
func Available() []ISA {
	l := []ISA{Generic}
	for _, i := range []ISA{AVX2, AVX512} {
		if supported(i) {
			l = append(l, i)
		}
	}
	return l
}

// Detect returns the fastest instruction set that the processor and the operating system support.
func Detect() ISA {
	l := Available()
	return l[len(l)-1]
}

// Select returns the instruction set called name: "avx512", "avx2" or "go"; an empty name means Detect. A name that is
// unknown, or that the machine does not support, is an error.
func Select(name string) (ISA, error) {
	if name == "" {
		return Detect(), nil
	}
	for _, i := range []ISA{Generic, AVX2, AVX512} {
		if i.String() != name {
			continue
		}
		if !supported(i) {
			return Generic, fmt.Errorf("selecting kernels: %s=%q: the processor has no support for it; the best it runs is %q", EnvISA, name, Detect())
		}
		return i, nil
	}
	return Generic, fmt.Errorf("selecting kernels: %s=%q: unknown, want avx512, avx2 or go", EnvISA, name)
}

func supported(i ISA) bool { return i == Generic || i <= best }

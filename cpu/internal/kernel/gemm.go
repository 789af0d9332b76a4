package kernel

import (
	"fmt"
	"math"
)

// Act is an activation function.
type Act int

// The activations. QuickGELU is x*sigmoid(1.702x), OpenAI's; GELU is x*Phi(x), by the error function.
const (
	None Act = iota
	QuickGELU
	GELU
)

// Gemm describes one matrix product with its epilogue, all row-major:
//
//	y = op(A) op(B)            [M, N]
//	y = y + C                  where Accumulate
//	y = y + Bias               to each row, where Bias is not nil
//	Pre = y                    where Pre is not nil
//	C = Act(y) + Residual
//
// op(A) is [M, K]: A itself with rows LDA apart, or with TransA the transpose of A stored as [K, M]. op(B) is [K, N]:
// B itself, or with TransB the transpose of B stored as [N, K], as PyTorch keeps the weights of a linear layer. C is
// written with rows LDC apart, Pre too; Residual has rows LDR apart. C and Pre must not overlap each other or an
// input; to add a product to C in place, set Accumulate.
//
// Each element is summed over K in one order, whatever the other sizes are.
type Gemm struct {
	M, N, K int

	A      []float32
	LDA    int
	TransA bool

	B      []float32
	LDB    int
	TransB bool

	C          []float32
	LDC        int
	Accumulate bool

	Bias []float32 // [N] or nil
	Act  Act
	Pre  []float32 // laid out as C, or nil

	Residual []float32 // [M, N] or nil
	LDR      int
}

func (g *Gemm) hasEpilogue() bool {
	return g.Bias != nil || g.Act != None || g.Pre != nil || g.Residual != nil
}

// check panics where a slice is too short for its matrix.
func (g *Gemm) check() {
	if g.M < 0 || g.N < 0 || g.K < 0 {
		panic(fmt.Sprintf("kernel: Gemm: sizes %d x %d x %d", g.M, g.N, g.K))
	}
	if g.M == 0 || g.N == 0 {
		return
	}
	if g.K > 0 {
		if g.TransA {
			checkMatrix("A", g.A, g.K, g.M, g.LDA)
		} else {
			checkMatrix("A", g.A, g.M, g.K, g.LDA)
		}
		if g.TransB {
			checkMatrix("B", g.B, g.N, g.K, g.LDB)
		} else {
			checkMatrix("B", g.B, g.K, g.N, g.LDB)
		}
	}
	checkMatrix("C", g.C, g.M, g.N, g.LDC)
	if g.Bias != nil && len(g.Bias) < g.N {
		panic(fmt.Sprintf("kernel: Gemm: Bias has %d values, want %d", len(g.Bias), g.N))
	}
	if g.Pre != nil {
		checkMatrix("Pre", g.Pre, g.M, g.N, g.LDC)
	}
	if g.Residual != nil {
		checkMatrix("Residual", g.Residual, g.M, g.N, g.LDR)
	}
	if g.Act < None || g.Act > GELU {
		panic(fmt.Sprintf("kernel: Gemm: unknown activation %d", g.Act))
	}
}

func checkMatrix(name string, x []float32, rows, cols, ld int) {
	if ld < cols && rows > 1 {
		panic(fmt.Sprintf("kernel: Gemm: %s is %d x %d with rows only %d apart", name, rows, cols, ld))
	}
	if need := (rows-1)*ld + cols; len(x) < need {
		panic(fmt.Sprintf("kernel: Gemm: %s is %d x %d, rows %d apart: needs %d values, has %d", name, rows, cols, ld, need, len(x)))
	}
}

// grid cuts a product into parts of rows and columns.
type grid struct {
	rows, cols   int // parts
	mStep, nStep int
}

// Gemm computes g on all workers.
func (p *Pool) Gemm(g *Gemm) {
	g.check()
	if g.M == 0 || g.N == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gemm, p.grid = g, p.cut(g)
	defer func() { p.gemm = nil }()
	p.nextPart.Store(0)
	p.run(min(len(p.workers), p.grid.rows*p.grid.cols), 1, p.gemmPart)
}

// runGemmPart computes parts as long as there are any. Which worker computes which does not matter to the result, and
// a worker that is slower, or that the system interrupts, takes fewer.
func (p *Pool) runGemmPart(w *Worker, _, _ int) {
	g, s := p.gemm, &p.grid
	for {
		i := int(p.nextPart.Add(1)) - 1
		if i >= s.rows*s.cols {
			return
		}
		m0, n0 := i/s.cols*s.mStep, i%s.cols*s.nStep
		w.product(g, m0, min(m0+s.mStep, g.M), n0, min(n0+s.nStep, g.N))
	}
}

// Gemm computes g on this worker alone. It allocates only where its packing buffers have to grow.
func (w *Worker) Gemm(g *Gemm) {
	g.check()
	if g.M == 0 || g.N == 0 {
		return
	}
	w.product(g, 0, g.M, 0, g.N)
}

// Work in multiplications: below minWork a part is not worth waking a worker for; where each worker has finePart
// times partsEach or more, it gets partsEach parts.
const (
	minWork   = 1 << 16
	finePart  = 1 << 22
	partsEach = 4
)

// cut chooses the grid that takes the least time: of parts that are about equal, the largest's multiplications and
// what it has to pack.
func (p *Pool) cut(g *Gemm) grid {
	mr, nr := tileSize(p.isa)
	parts := len(p.workers)
	work := g.M * g.N * max(1, g.K)
	if parts > 1 {
		if limit := work / minWork; limit < parts {
			parts = max(1, limit)
		} else if work/(parts*partsEach) >= finePart {
			parts *= partsEach
		}
	}
	best, cost := grid{1, 1, g.M, g.N}, math.Inf(1)
	for cols := 1; cols <= parts; cols++ {
		s := grid{nStep: roundUp((g.N+cols-1)/cols, nr)}
		s.cols = (g.N + s.nStep - 1) / s.nStep
		rows := parts / s.cols
		s.mStep = roundUp((g.M+rows-1)/rows, mr)
		s.rows = (g.M + s.mStep - 1) / s.mStep
		// Packing a value costs about as much as eight multiplications.
		m, n := float64(s.mStep), float64(s.nStep)
		if c := m*n + 8*(m+n); c < cost {
			best, cost = s, c
		}
	}
	return best
}

// tileSize is the tile of the instruction set's kernel.
func tileSize(isa ISA) (mr, nr int) {
	switch isa {
	case AVX512:
		return 12, 32
	case AVX2:
		return 6, 16
	}
	return goMR, goNR
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// product computes the part of g in rows m0..m1-1 and columns n0..n1-1.
func (w *Worker) product(g *Gemm, m0, m1, n0, n1 int) {
	if g.K == 0 {
		for i := m0; i < m1 && !g.Accumulate; i++ {
			clear(g.C[i*g.LDC+n0 : i*g.LDC+n1])
		}
		w.epilogue(g, m0, m1, n0, n1)
		return
	}
	if w.isa == Generic {
		w.productGo(g, m0, m1, n0, n1)
		return
	}
	w.productAsm(g, m0, m1, n0, n1)
}

// epilogue applies what follows the product to a block of C while it is in the cache.
func (w *Worker) epilogue(g *Gemm, m0, m1, n0, n1 int) {
	if !g.hasEpilogue() {
		return
	}
	var bias, pre, res []float32
	if g.Bias != nil {
		bias = g.Bias[n0:n1]
	}
	for i := m0; i < m1; i++ {
		c := g.C[i*g.LDC+n0 : i*g.LDC+n1]
		if g.Pre != nil {
			pre = g.Pre[i*g.LDC+n0 : i*g.LDC+n1]
		}
		if g.Residual != nil {
			res = g.Residual[i*g.LDR+n0 : i*g.LDR+n1]
		}
		w.epilogueRow(c, c, bias, pre, res, g.Act)
	}
}

// grow returns a slice of n values that reuses *buf, which it enlarges where needed.
func grow(buf *[]float32, n int) []float32 {
	if cap(*buf) < n {
		*buf = make([]float32, n)
	}
	return (*buf)[:n]
}

// Package cpu is the native engine: it runs and trains CLIP's two vision and text transformers in float32, in plain
// Go and Go assembly, without cgo.
//
// New makes an Engine, which implements clip.Engine; NewEncoder and NewTrainer make models that run on its threads.
// Backward passes are written out by hand, operation by operation, and checked against finite differences of a
// float64 reference (package clip/enginetest).
//
// Results are the same bytes for any number of threads, and the features of an image or a text do not depend on what
// is encoded with it. They differ in the last bits between instruction sets.
package cpu

import (
	"fmt"
	"os"
	"runtime"

	"paint/clip"
	"paint/cpu/internal/kernel"
	"paint/weights"
)

// Options say how an engine runs. The zero value is a good choice.
type Options struct {
	// Threads is the number of threads; 0 means GOMAXPROCS.
	Threads int
	// Kernels is the instruction set: "avx512", "avx2", "go" (portable), or "" for what the environment variable
	// PAINT_KERNELS says and, where it is unset, the fastest that the machine has.
	Kernels string
	// KeepBytes limits the activations that a contrastive step keeps from its forward to its backward passes; 0 means
	// 2 GiB. Beyond it they are computed twice.
	KeepBytes int64
}

// Engine runs models on a fixed set of threads, which its models share: calls from several goroutines take turns.
type Engine struct {
	pool *kernel.Pool
	keep int64

	encodeRows, trainRows int // see their defaults
}

var _ clip.Engine = (*Engine)(nil)

// New returns an engine. Close frees its threads.
func New(o Options) (*Engine, error) {
	if o.Threads < 0 {
		return nil, fmt.Errorf("cpu: starting the engine: %d threads", o.Threads)
	}
	if o.KeepBytes < 0 {
		return nil, fmt.Errorf("cpu: starting the engine: %d bytes of activations", o.KeepBytes)
	}
	if o.KeepBytes == 0 {
		o.KeepBytes = 2 << 30
	}
	if o.Threads == 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if o.Kernels == "" {
		o.Kernels = os.Getenv(kernel.EnvISA)
	}
	isa, err := kernel.Select(o.Kernels)
	if err != nil {
		return nil, fmt.Errorf("cpu: starting the engine: %w", err)
	}
	return &Engine{kernel.NewPool(o.Threads, isa), o.KeepBytes, encodeRows, trainRows}, nil
}

// Close ends the engine's threads. Its models must not be used afterwards. Closing twice is harmless.
func (e *Engine) Close() { e.pool.Close() }

// Name is "cpu".
func (e *Engine) Name() string { return "cpu" }

// Threads is the number of threads.
func (e *Engine) Threads() int { return e.pool.Threads() }

// Kernels names the instruction set in use, as Options.Kernels does.
func (e *Engine) Kernels() string { return e.pool.ISA().String() }

// NewEncoder copies the weights, converted to float32, and returns a model that encodes. A tower of which w has no
// tensor at all is left out, and encoding with it is an error; one of which some are missing is an error here.
func (e *Engine) NewEncoder(cfg clip.Config, w *weights.Set) (clip.Encoder, error) {
	m, err := e.newEncoder(cfg, w)
	if err != nil {
		return nil, fmt.Errorf("cpu: making an encoder: %w", err)
	}
	return m, nil
}

// NewTrainer copies the weights of the towers that its steps need, converted to float32, and returns a model that
// trains: the image tower's always, the text tower's where it is trained. The text tower need not be in w where it is
// not.
func (e *Engine) NewTrainer(cfg clip.Config, w *weights.Set, opt clip.TrainOptions) (clip.Trainer, error) {
	t, err := e.newTrainer(cfg, w, opt)
	if err != nil {
		return nil, fmt.Errorf("cpu: making a trainer: %w", err)
	}
	return t, nil
}

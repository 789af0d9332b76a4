package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"paint/clip"
	"paint/experiment"
)

func benchCmd() *cobra.Command {
	var eng engineFlags
	var arch, mode, compute string
	var batch, rounds int
	var asJSON bool
	c := &cobra.Command{
		Use:     "bench --arch NAME --mode encode-image|encode-text|train [flags]",
		Short:   "Time a model on random weights",
		Example: "  paint bench --arch ViT-B-32 --mode train --batch-size 32 --threads 1 --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := clip.Arch(arch)
			if err != nil {
				return usagef("bench: --arch: %w", err)
			}
			if compute != "f32" {
				return usagef("bench: --compute is %q, this engine has: f32", compute)
			}
			if batch < 1 || rounds < 1 {
				return usagef("bench: --batch-size is %d and --rounds %d, want 1 or more", batch, rounds)
			}
			e, err := eng.open()
			if err != nil {
				return err
			}
			defer e.Close()
			step, flops, err := benchStep(c.Context(), e, cfg, mode, batch)
			if err != nil {
				return err
			}
			var ms []float64
			for i := range rounds + 1 { // the first warms up
				t0 := time.Now()
				if err := step(); err != nil {
					return err
				}
				if i > 0 {
					ms = append(ms, time.Since(t0).Seconds()*1e3)
				}
			}
			slices.Sort(ms)
			median := ms[len(ms)/2]
			gflops := flops / median / 1e6
			rss := experiment.PeakRSS()
			if asJSON {
				return printJSON(c, map[string]any{
					"arch": arch, "mode": mode, "batch_size": batch, "threads": eng.threads, "compute": compute, "engine": eng.engine, "kernels": e.Kernels(),
					"ms": map[string]float64{"min": ms[0], "median": median}, "per_second": float64(batch) / median * 1e3,
					"gflops": gflops, "peak_rss_bytes": rss})
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s %s, batch %d, %d threads, %s: median %.1f ms, least %.1f ms, %.1f a second, %.1f GFLOP/s, peak memory %d MiB\n",
				arch, mode, batch, eng.threads, e.Kernels(), median, ms[0], float64(batch)/median*1e3, gflops, rss>>20)
			return err
		},
	}
	eng.add(c)
	jsonFlag(c, &asJSON)
	c.Flags().StringVar(&arch, "arch", "embedded", "architecture: embedded, tiny, ViT-B-32, ViT-B-16, ViT-L-14")
	c.Flags().StringVar(&mode, "mode", "encode-image", "encode-image, encode-text or train (a fine-tuning step of the image tower)")
	c.Flags().StringVar(&compute, "compute", "f32", "arithmetic: f32")
	c.Flags().IntVar(&batch, "batch-size", 32, "images or texts a step")
	c.Flags().IntVar(&rounds, "rounds", 5, "timed steps, after one to warm up")
	return c
}

// benchStep returns one step of the mode on random weights and inputs, and its floating-point operations.
func benchStep(ctx context.Context, e clip.Engine, cfg clip.Config, mode string, batch int) (func() error, float64, error) {
	w := clip.Random(cfg, 1)
	rng := rand.New(rand.NewPCG(1, 2))
	normal := func(n int, std float64) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64() * std)
		}
		return v
	}
	px := 3 * cfg.Vision.ImageSize * cfg.Vision.ImageSize
	switch mode {
	case "encode-image":
		enc, err := e.NewEncoder(cfg, w)
		if err != nil {
			return nil, 0, err
		}
		in, out := normal(batch*px, 1), make([]float32, batch*cfg.EmbedDim)
		return func() error { return enc.EncodeImage(ctx, out, in) }, cfg.ImageFLOPs() * float64(batch), nil
	case "encode-text":
		enc, err := e.NewEncoder(cfg, w)
		if err != nil {
			return nil, 0, err
		}
		t := cfg.Text
		ids, out := make([]int32, batch*t.ContextLength), make([]float32, batch*cfg.EmbedDim)
		for i := range batch {
			row := ids[i*t.ContextLength : (i+1)*t.ContextLength]
			for k := range row[:t.ContextLength-1] {
				row[k] = int32(rng.IntN(t.VocabSize - 2))
			}
			row[0], row[len(row)-1] = int32(t.VocabSize-2), int32(t.VocabSize-1)
		}
		return func() error { return enc.EncodeText(ctx, out, ids) }, cfg.TextFLOPs() * float64(batch), nil
	case "train":
		tr, err := e.NewTrainer(cfg, w, clip.TrainOptions{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1, ClipNorm: 1, Image: true})
		if err != nil {
			return nil, 0, err
		}
		const classes = 10
		b := clip.HeadBatch{Pixels: normal(batch*px, 1), Head: normal(classes*cfg.EmbedDim, 0.1), Labels: make([]int, batch)}
		for i := range b.Labels {
			b.Labels[i] = i % classes
		}
		return func() error { _, err := tr.StepHead(ctx, b, 1e-5); return err }, 3 * cfg.ImageFLOPs() * float64(batch), nil
	}
	return nil, 0, usagef("bench: --mode is %q, want encode-image, encode-text or train", mode)
}

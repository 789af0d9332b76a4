package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"paint/checkpoint"
	"paint/experiment"
	"paint/preprocess"
	"paint/weights"
)

func embedCmd() *cobra.Command {
	var eng engineFlags
	var model, pixelFile string
	var images, texts []string
	var asJSON, raw bool
	c := &cobra.Command{
		Use:     "embed [--image FILE]... [--text STRING]... [--pixels FILE.safetensors] --json",
		Short:   "Features of images and texts, and their logits",
		Example: "  paint embed --text 'a cat' --text 'a dog' --image picture.png --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if len(images) == 0 && len(texts) == 0 && pixelFile == "" {
				return usagef("embed: give --image, --text or --pixels (see paint embed --help)")
			}
			m, err := experiment.OpenModel(model)
			if err != nil {
				return err
			}
			t := experiment.TransformOf(m.Config)
			var pixels []float32
			if pixelFile != "" {
				if pixels, err = readPixels(pixelFile, t.Size); err != nil {
					return err
				}
			}
			for _, f := range images {
				img, err := preprocess.DecodeFile(f)
				if err != nil {
					return err
				}
				px := make([]float32, 3*t.Size*t.Size)
				t.Apply(px, img)
				pixels = append(pixels, px...)
			}
			e, err := eng.open()
			if err != nil {
				return err
			}
			defer e.Close()
			out, err := experiment.Embed(c.Context(), e, m, pixels, texts, raw)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c, out)
			}
			w := c.OutOrStdout()
			for _, group := range []struct {
				what string
				rows [][]float32
			}{{"image", out.ImageFeatures}, {"text", out.TextFeatures}, {"logits of image", out.LogitsPerImage}} {
				for i, r := range group.rows {
					fmt.Fprintf(w, "%s %d: %.5g\n", group.what, i, r[:min(len(r), 8)])
				}
			}
			return nil
		},
	}
	eng.add(c)
	modelFlag(c, &model)
	jsonFlag(c, &asJSON)
	c.Flags().StringArrayVar(&images, "image", nil, "image file (repeat for more)")
	c.Flags().StringArrayVar(&texts, "text", nil, "text (repeat for more)")
	c.Flags().StringVar(&pixelFile, "pixels", "", `safetensors file with a tensor "pixels" [batch, 3, H, W], already normalised`)
	c.Flags().BoolVar(&raw, "raw", false, "leave features as the projection gives them, not L2-normalised")
	return c
}

// readPixels reads tensor "pixels" [n, 3, size, size].
func readPixels(path string, size int) ([]float32, error) {
	f, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t := f.Set().Get("pixels")
	if t == nil {
		return nil, fmt.Errorf("reading pixels %s: no tensor \"pixels\"", path)
	}
	if len(t.Shape) != 4 || t.Shape[1] != 3 || t.Shape[2] != size || t.Shape[3] != size || !t.DType.Float() {
		return nil, fmt.Errorf("reading pixels %s: tensor \"pixels\" is %v %v, the model takes F32 [n 3 %d %d]", path, t.DType, t.Shape, size, size)
	}
	out := make([]float32, t.Len())
	t.CopyFloat32(out)
	return out, nil
}

func preprocessCmd() *cobra.Command {
	var size int
	var out string
	c := &cobra.Command{
		Use:     "preprocess --size N --out FILE.safetensors IMAGE...",
		Short:   "Pixels [n, 3, N, N] as a model sees them",
		Example: "  paint preprocess --size 48 --out pixels.safetensors picture.png",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if size < 1 || size > 4096 {
				return usagef("preprocess: --size is %d, want 1 to 4096", size)
			}
			if out == "" {
				return usagef("preprocess: --out is missing (see paint preprocess --help)")
			}
			t := preprocess.Transform{Size: size, Mean: clipMean, Std: clipStd}
			px := 3 * size * size
			pixels := make([]float32, len(args)*px)
			for i, a := range args {
				img, err := preprocess.DecodeFile(a)
				if err != nil {
					return err
				}
				t.Apply(pixels[i*px:(i+1)*px], img)
			}
			var s weights.Set
			s.Put(weights.FromFloat32("pixels", pixels, len(args), 3, size, size))
			if err := checkpoint.Write(out, &s); err != nil {
				return err
			}
			_, err := fmt.Fprintf(os.Stderr, "%s: pixels [%d 3 %d %d]\n", out, len(args), size, size)
			return err
		},
	}
	c.Flags().IntVar(&size, "size", 224, "side of the square, pixels")
	c.Flags().StringVar(&out, "out", "", "file to write")
	return c
}

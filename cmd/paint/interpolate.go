package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"paint"
	"paint/checkpoint"
	"paint/clip"
	"paint/experiment"
	"paint/weights"
)

func interpolateCmd() *cobra.Command {
	var alpha float64
	var out string
	c := &cobra.Command{
		Use:   "interpolate ZS FT --alpha A --out FILE_OR_DIR",
		Short: "Step 2 alone: (1-A)*ZS + A*FT",
		Long: `interpolate averages two models, or two files of any named tensors. Of directories the result is a directory in the
layout of ZS; of files it is a safetensors file, written piece by piece. Sums are in float32 and rounded once to the type in which ZS stores the
tensor; alpha 0 and 1 give ZS and FT to the bit.`,
		Example: "  paint interpolate embedded paint-finetune-mnist --alpha 0.4 --out patched\n  paint interpolate a.safetensors b.safetensors --alpha 0.5 --out c.safetensors",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if !c.Flags().Changed("alpha") {
				return usagef("interpolate: --alpha is missing (see paint interpolate --help)")
			}
			if out == "" {
				return usagef("interpolate: --out is missing (see paint interpolate --help)")
			}
			if _, err := os.Lstat(out); err == nil {
				return fmt.Errorf("interpolating: %s %w: give another --out", out, experiment.ErrExists)
			}
			if isFile(args[0]) && isFile(args[1]) {
				sets, done, err := openSets(args...)
				if err != nil {
					return err
				}
				defer done()
				write, err := paint.Stream(sets[0], sets[1], alpha)
				if err != nil {
					return err
				}
				return checkpoint.WriteWith(out, sets[0], write)
			}
			zs, err := experiment.OpenModel(args[0])
			if err != nil {
				return err
			}
			ft, err := experiment.OpenModel(args[1])
			if err != nil {
				return err
			}
			w, err := paint.Interpolate(zs.Weights, ft.Weights, alpha)
			if err != nil {
				return err
			}
			m, err := zs.With(w)
			if err != nil {
				return err
			}
			return m.Save(out)
		},
	}
	c.Flags().Float64Var(&alpha, "alpha", 0, "the mixing coefficient, 0 (ZS) to 1 (FT)")
	c.Flags().StringVar(&out, "out", "", "file or directory to write")
	return c
}

func isFile(ref string) bool {
	s, err := os.Stat(ref)
	return err == nil && !s.IsDir()
}

// openSets opens named tensors: files as they are, anything else as a model under internal names. Call done when the
// tensors are no longer needed.
func openSets(refs ...string) (sets []*weights.Set, done func(), err error) {
	var files []*checkpoint.File
	done = func() {
		for _, f := range files {
			f.Close()
		}
	}
	allFiles := true
	for _, r := range refs {
		allFiles = allFiles && isFile(r)
	}
	for _, r := range refs {
		if !allFiles {
			var m *clip.Model
			if m, err = experiment.OpenModel(r); err != nil {
				break
			}
			sets = append(sets, m.Weights)
			continue
		}
		var f *checkpoint.File
		if f, err = checkpoint.OpenAny(r); err != nil {
			break
		}
		files = append(files, f)
		sets = append(sets, f.Set())
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return sets, done, nil
}

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"paint/experiment"
	"paint/weights"
)

func inspectCmd() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "inspect [MODEL]",
		Short:   "Architecture, layout, types, parameter counts, metadata and hash of a model",
		Example: "  paint inspect\n  paint inspect paint-demo/patched --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			m, err := experiment.OpenModel(first(args))
			if err != nil {
				return err
			}
			dtypes := map[string]int{}
			var total, image int
			for t := range m.Weights.All() {
				dtypes[t.DType.String()] += t.Len()
				total += t.Len()
				if strings.HasPrefix(t.Name, "visual.") {
					image += t.Len()
				}
			}
			if asJSON {
				return printJSON(c, map[string]any{
					"layout": m.Layout, "architecture": m.Config, "dtypes": dtypes, "tensors": m.Weights.Len(),
					"parameters": map[string]int{"total": total, "image_tower": image, "text_tower": total - image - 1},
					"metadata":   m.Weights.Metadata, "note": m.Note, "sha256": m.Hash})
			}
			w := c.OutOrStdout()
			v, t := m.Config.Vision, m.Config.Text
			act := "gelu"
			if m.Config.QuickGELU {
				act = "quick_gelu"
			}
			fmt.Fprintf(w, "layout        %s\n", m.Layout)
			fmt.Fprintf(w, "image tower   ViT, %d px, patch %d, width %d, %d layers, %d heads: %d parameters\n", v.ImageSize, v.PatchSize, v.Width, v.Layers, v.Heads, image)
			fmt.Fprintf(w, "text tower    context %d, vocabulary %d, width %d, %d layers, %d heads: %d parameters\n", t.ContextLength, t.VocabSize, t.Width, t.Layers, t.Heads, total-image-1)
			fmt.Fprintf(w, "embedding     %d, activation %s\n", m.Config.EmbedDim, act)
			fmt.Fprintf(w, "tensors       %d, %d parameters", m.Weights.Len(), total)
			for _, k := range slices.Sorted(maps.Keys(dtypes)) {
				fmt.Fprintf(w, ", %s %d", k, dtypes[k])
			}
			fmt.Fprintln(w)
			for _, k := range slices.Sorted(maps.Keys(m.Weights.Metadata)) {
				fmt.Fprintf(w, "metadata      %s = %q\n", k, m.Weights.Metadata[k])
			}
			if m.Note != "" {
				fmt.Fprintf(w, "note          %s\n", m.Note)
			}
			_, err = fmt.Fprintf(w, "sha256        %s\n", m.Hash)
			return err
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func diffCmd() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "diff A B",
		Short:   "How far two models or files are apart: L2, relative distance and cosine, per tensor and in all",
		Example: "  paint diff embedded paint-demo/patched",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			a, done, err := openSets(args...)
			if err != nil {
				return err
			}
			defer done()
			d, err := weights.Compare(a[0], a[1])
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c, d)
			}
			w := c.OutOrStdout()
			fmt.Fprintf(w, "%-60s %12s %12s %12s\n", "tensor", "L2", "relative", "cosine")
			for _, t := range d.Tensors {
				fmt.Fprintf(w, "%-60s %12.5g %12.5g %12.7f\n", t.Name, t.L2, t.Relative, t.Cosine)
			}
			_, err = fmt.Fprintf(w, "%-60s %12.5g %12.5g %12.7f\n", "all", d.L2, d.Relative, d.Cosine)
			return err
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

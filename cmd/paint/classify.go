package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"paint/experiment"
	"paint/preprocess"
)

func classifyCmd() *cobra.Command {
	var eng engineFlags
	var model, labels string
	var templates []string
	var top int
	var asJSON bool
	c := &cobra.Command{
		Use:     "classify --labels a,b,c [--template \"a photo of a {}.\"] IMAGE...",
		Short:   "Open-vocabulary classification: the probability of each label for each image",
		Example: "  paint classify --model paint-demo/patched --labels 'cat,dog,the number seven' picture.png",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			names := splitList(labels)
			if len(names) == 0 {
				return usagef("classify: --labels is missing (see paint classify --help)")
			}
			for _, t := range templates {
				if strings.Count(t, "{}") != 1 {
					return usagef("classify: --template %q has %d \"{}\", want 1", t, strings.Count(t, "{}"))
				}
			}
			m, err := experiment.OpenModel(model)
			if err != nil {
				return err
			}
			var images []*preprocess.Image
			for _, a := range args {
				img, err := preprocess.DecodeFile(a)
				if err != nil {
					return err
				}
				images = append(images, img)
			}
			e, err := eng.open()
			if err != nil {
				return err
			}
			defer e.Close()
			probs, err := experiment.Classify(c.Context(), e, m, images, names, templates)
			if err != nil {
				return err
			}
			type row struct {
				Image         string             `json:"image"`
				Label         string             `json:"label"`
				Probabilities map[string]float64 `json:"probabilities"`
			}
			var out []row
			w := c.OutOrStdout()
			for i, p := range probs {
				order := make([]int, len(names))
				for k := range order {
					order[k] = k
				}
				slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[b], p[a]) })
				r := row{args[i], names[order[0]], map[string]float64{}}
				for k, n := range names {
					r.Probabilities[n] = p[k]
				}
				out = append(out, r)
				if asJSON {
					continue
				}
				fmt.Fprintln(w, args[i])
				for _, k := range order[:min(top, len(order))] {
					fmt.Fprintf(w, "  %5.1f %%  %s\n", 100*p[k], names[k])
				}
			}
			if asJSON {
				return printJSON(c, map[string]any{"results": out})
			}
			return nil
		},
	}
	eng.add(c)
	modelFlag(c, &model)
	jsonFlag(c, &asJSON)
	c.Flags().StringVar(&labels, "labels", "", "labels, separated by commas")
	c.Flags().StringArrayVar(&templates, "template", []string{"a photo of a {}."}, "text around a label, with one {}; several are averaged")
	c.Flags().IntVar(&top, "top", 5, "labels to print an image")
	return c
}

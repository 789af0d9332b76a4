package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"paint/experiment"
)

func evalCmd() *cobra.Command {
	var eng engineFlags
	var model, tasks, split, data string
	var asJSON, quiet bool
	c := &cobra.Command{
		Use:     "eval --task T[,T2] [flags]",
		Short:   "Zero-shot accuracy of a model, with 95 % intervals",
		Example: "  paint eval --task mnist,animals\n  paint eval --model paint-demo/patched --task mnist --split test --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			refs := splitList(tasks)
			if len(refs) == 0 {
				return usagef("eval: --task is missing (see paint eval --help)")
			}
			if s := experiment.Split(split); s != experiment.Validation && s != experiment.Test {
				return usagef("eval: --split is %q, want validation or test", split)
			}
			m, err := experiment.OpenModel(model)
			if err != nil {
				return err
			}
			e, err := eng.open()
			if err != nil {
				return err
			}
			defer e.Close()
			ui := newProgress(c, quiet)
			rs, err := experiment.Evaluate(c.Context(), e, eng.threads, m, refs, data, experiment.Split(split), ui)
			ui.close()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c, map[string]any{"results": rs})
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "task\tsplit\timages\ttop-1 %%\t95 %% interval\n")
			for _, r := range rs {
				fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s to %s\n", r.Task, r.Split, r.N, percent(r.Top1), percent(r.CI95[0]), percent(r.CI95[1]))
			}
			return w.Flush()
		},
	}
	eng.add(c)
	modelFlag(c, &model)
	dataFlag(c, &data)
	jsonFlag(c, &asJSON)
	quietFlag(c, &quiet)
	c.Flags().StringVar(&tasks, "task", "", "tasks, separated by commas")
	c.Flags().StringVar(&split, "split", "test", "validation or test")
	return c
}

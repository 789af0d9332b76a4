package main

import (
	"github.com/spf13/cobra"
)

func demoCmd() *cobra.Command {
	var f jobFlags
	c := &cobra.Command{
		Use:   "demo [--out DIR]",
		Short: "The whole method on the embedded model and data, offline",
		Long: `demo patches the embedded model on handwritten digits (MNIST) while keeping eight other tasks, with nothing but what
is inside this binary, and ends with a report. It is "paint patch --task mnist" with the defaults.`,
		Example: "  paint demo\n  paint demo --out my-run --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.out == "" && !f.resume {
				f.out = freeName("paint-demo")
			}
			return f.runPatch(c)
		},
	}
	f.common(c)
	f.addTraining(c)
	f.addSweep(c)
	f.task = "mnist"
	c.Flags().Lookup("task").DefValue = "mnist"
	c.Flags().Lookup("data").Hidden = true
	c.Flags().Lookup("model").Hidden = true
	return c
}

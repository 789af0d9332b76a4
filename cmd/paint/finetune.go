package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"paint/experiment"
)

func finetuneCmd() *cobra.Command {
	var f jobFlags
	c := &cobra.Command{
		Use:   "finetune --task TASK --out DIR [flags]",
		Short: "Step 1 alone: fine-tune the image tower with the frozen zero-shot head",
		Long: `finetune writes the fine-tuned model, complete and in the layout of the input, to --out. An interrupted run keeps its
state beside it, in OUT.state, and goes on with --resume.`,
		Example: "  paint finetune --task mnist --out mnist-ft\n  paint sweep embedded mnist-ft --task mnist --supported animals,food --out mnist-sweep",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.alphas, f.rule = "0,1", "mean"
			cfg, done, err := f.config(c)
			if err != nil {
				return err
			}
			defer done()
			ui := newProgress(c, f.quiet)
			res, err := experiment.FineTune(c.Context(), cfg, ui)
			ui.close()
			if err != nil {
				return err
			}
			last := res.Points[len(res.Points)-1]
			if f.json {
				return printJSON(c, map[string]any{"out": cfg.Out, "steps": last.Step, "loss": last.Loss, "peak_rss_bytes": experiment.PeakRSS()})
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: %d steps, last loss %.4f\n", cfg.Out, last.Step, last.Loss)
			return err
		},
	}
	f.common(c)
	f.addTraining(c)
	return c
}

func sweepCmd() *cobra.Command {
	var f jobFlags
	var zs, ft string
	c := &cobra.Command{
		Use:     "sweep ZS FT --task TASK [flags]",
		Short:   "Alphas over two existing models: evaluate, choose on validation data, test, write a run directory",
		Example: "  paint finetune --task mnist --out mnist-ft\n  paint sweep embedded mnist-ft --task mnist --out mnist-sweep",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			zs, ft = args[0], args[1]
			f.model = zs
			cfg, done, err := f.config(c)
			if err != nil {
				return err
			}
			defer done()
			cfg.FineTuned = ft
			ui := newProgress(c, f.quiet)
			rec, err := experiment.Sweep(c.Context(), cfg, ui)
			ui.close()
			if err != nil {
				return err
			}
			return f.print(c, rec, cfg.Out)
		},
	}
	f.common(c)
	c.Flags().Lookup("model").Hidden = true
	f.addSweep(c)
	return c
}

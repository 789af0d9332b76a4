package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"paint/checkpoint"
	"paint/report"
)

func reportCmd() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:     "report DIR...",
		Short:   "Rebuild the report of a run from its run.json, or compare runs",
		Long:    `report rebuilds everything that people read in a run directory from run.json, without a model. With several directories it writes one page that compares the runs.`,
		Example: "  paint report paint-demo\n  paint report paint-demo paint-demo-2 --out compare.html",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var runs []report.Named
			for _, d := range args {
				r, err := report.Read(d)
				if err != nil {
					return err
				}
				runs = append(runs, report.Named{Name: filepath.Base(filepath.Clean(d)), Run: r})
			}
			w := c.OutOrStdout()
			if len(runs) == 1 {
				if err := report.WriteAll(args[0], runs[0].Run); err != nil {
					return err
				}
				_, err := fmt.Fprintln(w, filepath.Join(args[0], "report.html"))
				return err
			}
			page, err := report.Compare(runs)
			if err != nil {
				return err
			}
			if _, err := os.Stat(out); err == nil {
				return fmt.Errorf("writing report: %s exists already: give another --out", out)
			}
			if err := checkpoint.WriteFile(out, func(w io.Writer) error { _, err := w.Write(page); return err }); err != nil {
				return err
			}
			_, err = fmt.Fprintln(w, out)
			return err
		},
	}
	c.Flags().StringVar(&out, "out", "compare.html", "page to write when comparing runs")
	return c
}

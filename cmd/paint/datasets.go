package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"paint/dataset"
	"paint/embedded"
	"paint/experiment"
)

func datasetsCmd() *cobra.Command {
	var data string
	var asJSON bool
	var extract string
	c := &cobra.Command{
		Use:     "datasets [NAME] [--extract DIR]",
		Short:   "What is known, what is present, where its files are expected, licence, checksum",
		Example: "  paint datasets\n  paint datasets mnist\n  paint datasets animals --extract animals   # as PNG files in class folders",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			known := dataset.List()
			emb := embedded.Tasks()
			if extract != "" {
				if len(args) == 0 {
					return usagef("datasets: --extract needs the name of a data set")
				}
				t, err := experiment.OpenTask(args[0], data)
				if err != nil {
					return err
				}
				return experiment.Extract(t, extract)
			}
			if name := first(args); name != "" {
				return describeDataset(c, name, data, asJSON)
			}
			if asJSON {
				return printJSON(c, map[string]any{"known": known, "embedded": emb})
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "task\tkind\tclasses\tvalidation\ttest\twhere\n")
			for _, i := range emb {
				fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\tembedded\n", i.Name, i.Kind, i.Classes, i.Validation.Images, i.Test.Images)
			}
			for _, k := range known {
				where := "not present; see paint datasets " + k.Name
				if k.Present(data) {
					where = k.Dir(data)
				}
				fmt.Fprintf(w, "%s\tofficial files\t%d\t\t\t%s\n", k.Name, len(k.Classes), where)
			}
			return w.Flush()
		},
	}
	dataFlag(c, &data)
	jsonFlag(c, &asJSON)
	c.Flags().StringVar(&extract, "extract", "", "write the images as a new folder of PNG files, class by class")
	return c
}

// describeDataset prints all that is known of one name: the embedded subset, the official files, or both.
func describeDataset(c *cobra.Command, name, data string, asJSON bool) error {
	var emb *embedded.Info
	for _, i := range embedded.Tasks() {
		if i.Name == name {
			emb = &i
		}
	}
	k, known := dataset.Known(name)
	if emb == nil && !known {
		return usagef("datasets: no data set is called %q (see paint datasets)", name)
	}
	if asJSON {
		out := map[string]any{"name": name}
		if emb != nil {
			out["embedded"] = emb
		}
		if known {
			out["official"], out["dir"], out["present"] = k, k.Dir(data), k.Present(data)
		}
		return printJSON(c, out)
	}
	w := c.OutOrStdout()
	if emb != nil {
		fmt.Fprintf(w, "%s (embedded): %s\n", emb.Name, emb.Title)
		fmt.Fprintf(w, "  kind       %s, %d classes\n", emb.Kind, emb.Classes)
		for _, p := range []struct {
			split string
			n     embedded.Count
		}{{"train", emb.Train}, {"validation", emb.Validation}, {"test", emb.Test}} {
			if p.n.Images > 0 {
				fmt.Fprintf(w, "  %-10s %d images of %d drawings\n", p.split, p.n.Images, p.n.Drawings)
			}
		}
		fmt.Fprintf(w, "  licence    %s\n", emb.Licence)
	}
	if known {
		present := "not present: the embedded subset is used"
		if emb == nil {
			present = "not present"
		}
		if k.Present(data) {
			present = "present: used instead of the embedded subset"
		}
		fmt.Fprintf(w, "%s (official files): %s\n", k.Name, k.Title)
		fmt.Fprintf(w, "  expected   in %s (%s)\n", k.Dir(data), present)
		for _, f := range k.Files {
			fmt.Fprintf(w, "  file       %s, %d bytes, sha256 %s\n", f.Name, f.Bytes, f.SHA256)
		}
		fmt.Fprintf(w, "  licence    %s\n", k.Licence)
	}
	return nil
}

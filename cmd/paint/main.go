// Command paint patches open-vocabulary image models: see paint --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"paint/dataset"
	"paint/train"
)

// version is set by the linker for releases.
var version = "0.1.0-dev"

func main() { os.Exit(run()) }

// run is main with an exit code: 0 done, 1 failed, 2 wrong usage, 3 a check did not hold.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second Ctrl-C ends the process at once.
	context.AfterFunc(ctx, stop)
	cmd := newRoot()
	ran, err := cmd.ExecuteContextC(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "paint: %v\n", err)
		return 2
	case errors.Is(err, errCheck):
		fmt.Fprintf(os.Stderr, "paint: %v\n", err)
		return 3
	case ctx.Err() != nil && errors.Is(err, context.Canceled) && ran.Flags().Lookup("resume") == nil:
		fmt.Fprintln(os.Stderr, "paint: stopped; nothing half-written was left")
		return 1
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "paint: stopped; what was done is kept: the same command with --resume goes on")
		return 1
	}
	fmt.Fprintf(os.Stderr, "paint: %v\n", err)
	if h := hint(err); h != "" {
		fmt.Fprintf(os.Stderr, "hint: %s\n", h)
	}
	return 1
}

// errCheck is wrapped by errors that say a check did not hold.
var errCheck = errors.New("check failed")

// usageError is an error in how the command was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// hint says what a person may do about an error, where that is known.
func hint(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return "the disk is full; nothing half-written was left"
	case errors.Is(err, train.ErrCheckpoint):
		return "give the options of the interrupted run, or another --out"
	case errors.Is(err, dataset.ErrUnknown):
		return "`paint datasets` lists the tasks and where their files are looked for"
	}
	return ""
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "paint",
		Short: "Patch open-vocabulary image models",
		Long: `paint makes a CLIP-like model good at a task it is weak at and keeps it good at the others: it fine-tunes the image
tower on the task with a frozen head of text embeddings and averages the weights from before and after,

    theta_patch = (1 - alpha) * theta_zs + alpha * theta_ft

with alpha chosen on held-out data. The patched model has the same parameters and answers any label.`,
		Example:       "  paint demo                                        # the whole method, offline, on the embedded model\n  paint patch --task mnist --supported animals,food # the same for any model and task",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          func(_ *cobra.Command, args []string) error { return unknownVerb(args) },
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetVersionTemplate("paint {{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%s: %w (see %s --help)", c.Name(), err, c.CommandPath())
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		demoCmd(), patchCmd(), finetuneCmd(), sweepCmd(), interpolateCmd(), evalCmd(), classifyCmd(), embedCmd(),
		tokenizeCmd(), preprocessCmd(), inspectCmd(), diffCmd(), datasetsCmd(), reportCmd(), benchCmd())
	for _, c := range root.Commands() {
		if args := c.Args; args != nil {
			c.Args = func(c *cobra.Command, a []string) error {
				if err := args(c, a); err != nil {
					return usagef("%s: %w (see paint %s --help)", c.Name(), err, c.Name())
				}
				return nil
			}
		}
	}
	return root
}

func unknownVerb(args []string) error {
	if len(args) > 0 {
		return usagef("unknown verb %q (see paint --help)", args[0])
	}
	return nil
}

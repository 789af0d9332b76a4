package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"paint/clip"
	"paint/tokenizer"
)

var clipMean, clipStd = clip.OpenAIMean, clip.OpenAIStd

func tokenizeCmd() *cobra.Command {
	var asJSON, jsonLines bool
	var vocab, context int
	c := &cobra.Command{
		Use:     "tokenize [flags] < TEXTS",
		Short:   "One text a line on standard input to token ids, a JSON array a line",
		Example: "  echo 'a photo of a cat' | paint tokenize",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			tok, err := tokenizer.New(vocab, context)
			if err != nil {
				return usageError{err}
			}
			w := bufio.NewWriter(c.OutOrStdout())
			r := bufio.NewReaderSize(c.InOrStdin(), 1<<16)
			for n := 1; ; n++ {
				line, err := r.ReadString('\n')
				if err == io.EOF && line == "" {
					return w.Flush()
				}
				if err != nil && err != io.EOF {
					return fmt.Errorf("reading texts: %w", err)
				}
				line = strings.TrimSuffix(line, "\n")
				if jsonLines {
					var s string
					if err := json.Unmarshal([]byte(line), &s); err != nil {
						w.Flush() //nolint:errcheck // the first error is the one to tell
						return fmt.Errorf("reading texts: line %d: %q is no JSON string: %w", n, line, err)
					}
					line = s
				}
				ids := tok.EncodeBatch([]string{line})
				b, err2 := json.Marshal(ids)
				if err2 != nil {
					return err2
				}
				w.Write(bytes.ReplaceAll(b, []byte(","), []byte(", "))) //nolint:errcheck // Flush reports it
				w.WriteByte('\n')                                       //nolint:errcheck
				if err == io.EOF {
					return w.Flush()
				}
			}
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON (the only form there is; accepted for symmetry)")
	c.Flags().BoolVar(&jsonLines, "json-lines", false, "input lines are JSON strings")
	c.Flags().IntVar(&vocab, "vocab-size", 49408, "vocabulary size of the model (the embedded one: 4096)")
	c.Flags().IntVar(&context, "context-length", 77, "ids a text (the embedded model: 24)")
	return c
}

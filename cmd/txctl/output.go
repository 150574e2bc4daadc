// `txctl output`.

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"
)

// printed is the document of `output`.
type printed struct {
	Number uint64 `json:"number"`
	Output string `json:"output"`
}

func (a *app) outputCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "output NUMBER",
		Short: "Show what the commands of a transaction printed",
		Long: "output shows what was recorded of what the commands of a transaction printed, both of their outputs in\n" +
			"the order of their coming. On a terminal control characters are shown, not obeyed; \"txctl replay\" plays\n" +
			"a shell back as it was.",
		RunE: func(c *cobra.Command, args []string) error {
			name, err := oneSnapshot(c, args)
			if err != nil {
				return err
			}
			return a.output(name)
		},
	}
}

func (a *app) output(name string) error {
	d, n, err := a.snapshot(name)
	if err != nil {
		return err
	}
	file, err := d.Output(a.asked, n)
	if err != nil {
		return err
	}
	defer file.Close()
	z, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return fmt.Errorf("cannot read the output: %w", err)
	}
	defer z.Close()
	switch {
	case a.json:
		all, err := io.ReadAll(z)
		if err != nil {
			return fmt.Errorf("cannot read the output: %w", err)
		}
		return a.document(printed{n, string(all)})
	case !isTerminal(a.stdout):
		_, err := io.Copy(a.stdout, z)
		return err
	}
	screen := a.screen()
	lines := bufio.NewReader(z)
	return a.paged(func(w io.Writer) error {
		for {
			line, err := lines.ReadString('\n')
			if line != "" {
				if _, err := io.WriteString(w, screen.Output(line)+"\n"); err != nil {
					return err
				}
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("cannot read the output: %w", err)
			}
		}
	})
}

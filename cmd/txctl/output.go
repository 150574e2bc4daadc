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

// oneSnapshot checks the one argument that names a snapshot.
func oneSnapshot(c *cobra.Command, args []string) (string, error) {
	if len(args) == 0 {
		return "", usagef("usage: txctl "+c.Use, "%s: NUMBER is missing", c.CommandPath())
	}
	if err := atMostOne(c, args); err != nil {
		return "", err
	}
	return args[0], snapshotName("NUMBER", args[0])
}

func (a *app) output(name string) error {
	d, err := a.daemon()
	if err != nil {
		return err
	}
	n, err := a.numberOf(d, name)
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
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			if _, err := io.WriteString(a.out, screen.Output(line)+"\n"); err != nil {
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
}

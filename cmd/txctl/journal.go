// `txctl journal`.

package main

import (
	"io"

	"github.com/spf13/cobra"
)

func (a *app) journalCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "journal",
		Short: "Export or check the journal as a whole",
		Long: "journal works on the journal as a whole. What needs it for itself is done by the daemon's program while\n" +
			"the daemon is stopped: \"txupd journal import FILE\" and \"txupd journal compact\".",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return a.noVerb(c, args)
			}
			return usagef("usage: txctl journal export|check", "txctl journal: export or check is missing")
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	c.AddCommand(&cobra.Command{
		Use:   "export",
		Short: "Print the journal, one JSON object a line",
		Long: "export prints every event and every list of files, one JSON object a line, also without --json. \"txupd\n" +
			"journal import\" makes the same journal of it again.",
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			d, err := a.daemon()
			if err != nil {
				return err
			}
			lines, err := d.JournalExport(a.asked)
			if err != nil {
				return err
			}
			defer lines.Close()
			a.documented = true
			_, err = io.Copy(a.stdout, lines)
			return err
		},
	}, &cobra.Command{
		Use:   "check",
		Short: "Check the journal, as \"txctl verify\" does",
		Long:  "check is \"txctl verify\" without --head.",
		Args:  noArguments,
		RunE:  func(*cobra.Command, []string) error { return a.verify("") },
	})
	return c
}

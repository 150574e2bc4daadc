// `txctl verify`.

package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/present"
)

func (a *app) verifyCommand() *cobra.Command {
	var head string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Check that the journal is what was written, and say what cannot be proven",
		Long: "verify goes through the whole journal: the chain of events, the records that they give, lists of files\n" +
			"and indexes. It names what was edited, removed or reordered, looks for the heads that were printed to the\n" +
			"system journal, and with --head for one that was kept elsewhere.",
		Example: "  txctl verify\n  txctl verify --head \"$(ssh safe cat head)\"",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("head") && strings.Count(head, ":") != 2 {
				return usagef("JOURNAL:NUMBER:HASH is accepted, as \"txctl verify\" prints it", "--head: %s is no head", short(head))
			}
			return a.verify(head)
		},
	}
	c.Flags().StringVar(&head, "head", "", "check that the journal contains this `head`, which was printed before")
	return c
}

func (a *app) verify(head string) error {
	d, err := a.daemon()
	if err != nil {
		return err
	}
	doc, err := d.Verify(a.asked, head)
	if err != nil {
		return err
	}
	if doc.Problems == nil {
		doc.Problems = []bus.JournalProblem{}
	}
	if doc.Unproven == nil {
		doc.Unproven = []string{}
	}
	if err := a.look(doc, func(s present.Screen) string { return s.Verification(doc) }); err != nil {
		return err
	}
	if !doc.OK {
		return status(fault.Exit(fault.ErrFailed))
	}
	return nil
}

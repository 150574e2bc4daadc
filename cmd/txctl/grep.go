// `txctl grep`.

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/present"
)

// grepLimit is how many lines are shown where nobody says otherwise.
const grepLimit = 1000

func (a *app) grepCommand() *cobra.Command {
	var limit string
	var ignoreCase bool
	c := &cobra.Command{
		Use:     "grep TEXT",
		Short:   "Find a text in what the commands of all transactions printed",
		Long:    "grep shows the lines of recorded output that hold TEXT, as it is and not as a pattern, those of the newest\ntransaction first. \"txctl log --grep\" looks into messages and notes.",
		Example: "  txctl grep -i 'could not resolve'",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("usage: txctl "+c.Use, "txctl grep: TEXT is missing")
			}
			if err := atMostOne(c, args); err != nil {
				return err
			}
			if args[0] == "" || strings.Contains(args[0], "\n") {
				return usagef("a text within one line is accepted", "txctl grep: %s cannot be looked for", short(args[0]))
			}
			n, err := limitOf(c, limit, true)
			if err != nil {
				return err
			}
			if !c.Flags().Changed("limit") {
				n = grepLimit
			}
			d, err := a.daemon()
			if err != nil {
				return err
			}
			doc, err := d.Grep(a.asked, args[0], ignoreCase, n)
			if err != nil {
				return err
			}
			if doc.Matches == nil {
				doc.Matches = []bus.Match{}
			}
			for _, w := range doc.Warnings {
				a.say("txctl: %s", present.Plain(w))
			}
			if len(doc.Matches) == 0 && !a.json {
				return fmt.Errorf("no recorded output holds %s: %w", short(args[0]), fault.ErrNotFound)
			}
			if err := a.look(doc, func(s present.Screen) string { return s.Matches(doc) }); err != nil || len(doc.Matches) > 0 {
				return err
			}
			return status(fault.Exit(fault.ErrNotFound))
		},
	}
	c.Flags().StringVarP(&limit, "limit", "n", "", "show at most this `number` of lines (1000); 0 shows all")
	c.Flags().BoolVarP(&ignoreCase, "ignore-case", "i", false, "in whatever case")
	return c
}

// `txctl blame`.

package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/present"
)

// blameLimit is how many transactions are shown where nobody says otherwise.
const blameLimit = 100

func (a *app) blameCommand() *cobra.Command {
	var limit string
	c := &cobra.Command{
		Use:   "blame PATH|PACKAGE",
		Short: "Show who changed a path or package, and why, newest first",
		Long: "blame shows every recorded change of a path, of what is below a directory, of what matches a pattern\n" +
			"(* ? [a-z], and ** also across /), or of a package. A path begins with \"/\".",
		Example: "  txctl blame /etc/fstab\n  txctl blame '/etc/*.conf'\n  txctl blame libc6",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("usage: txctl "+c.Use, "txctl blame: PATH or PACKAGE is missing")
			}
			if err := atMostOne(c, args); err != nil {
				return err
			}
			subject := args[0]
			switch {
			case subject == "":
				return usagef("usage: txctl "+c.Use, "txctl blame: PATH or PACKAGE is empty")
			case strings.ContainsAny(subject, "/*?[\x00"):
				if err := absolute("PATH", subject); err != nil {
					return err
				}
			}
			n, err := limitOf(c, limit, true)
			if err != nil {
				return err
			}
			if !c.Flags().Changed("limit") {
				n = blameLimit
			}
			d, err := a.daemon()
			if err != nil {
				return err
			}
			doc, err := d.Blame(a.asked, subject, n)
			if err != nil {
				return err
			}
			if doc.Changes == nil {
				doc.Changes = []bus.BlamedChange{}
			}
			return a.look(doc, func(s present.Screen) string { return s.Blame(doc) })
		},
	}
	c.Flags().StringVarP(&limit, "limit", "n", "", "show the changes of at most this `number` of transactions (100); 0 shows all")
	return c
}

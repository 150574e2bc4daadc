// `txctl update`.

package main

import (
	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/busclient"
)

func (a *app) updateCommand() *cobra.Command {
	var m making
	c := &cobra.Command{
		Use:        "update",
		Short:      "Bring every package up to date in a new snapshot and make that what boots next",
		SuggestFor: []string{"upgrade", "dup", "dist-upgrade"},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("\"txctl pkg add PACKAGE\" brings one package up to date",
					"txctl update: %s: it updates all packages and takes no names", short(args[0]))
			}
			return a.runPackages(&m, "update", "updating", func(d daemon, about busclient.About) (transaction, error) {
				return d.Update(a.urged, about)
			})
		},
	}
	m.packageFlags(a, c)
	return c
}

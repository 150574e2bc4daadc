// `txctl update`.

package main

import (
	"github.com/spf13/cobra"

	"github.com/txupd/txupd/client"
)

func (a *app) updateCommand() *cobra.Command {
	var m making
	c := &cobra.Command{
		Use:   "update",
		Short: "Bring every package up to date in a new snapshot and make that what boots next",
		Long: "update reads the package lists anew and brings every package up to date: with apt as dist-upgrade does,\n" +
			"with zypper as update, or as dup on systems that follow their repositories. Where nothing is to be updated,\n" +
			"no snapshot is made; --unchanged-exit tells that from success. If the package manager fails, nothing is\n" +
			"changed (3).",
		Example:    "  txctl update\n  txctl update --unchanged-exit --wait -m nightly",
		SuggestFor: []string{"upgrade", "dup", "dist-upgrade"},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("\"txctl pkg add PACKAGE\" brings one package up to date",
					"txctl update: %s: it updates all packages and takes no names", short(args[0]))
			}
			return a.runPackages(&m, "update", "updating", func(d daemon, about client.About) (transaction, error) {
				return d.Update(a.urged, about)
			})
		},
	}
	m.packageFlags(a, c)
	return c
}

// `txctl list`.

package main

import (
	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/present"
)

func (a *app) listCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the snapshots",
		Long: "list shows every snapshot. Changes are of packages: +added ^upgraded vdowngraded -removed, or the\n" +
			"number of files where no package changed. \"in N\" is superseded by N, which has its changes too.",
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			d, err := a.daemon()
			if err != nil {
				return err
			}
			doc, err := d.List(a.asked)
			if err != nil {
				return err
			}
			if doc.Snapshots == nil {
				doc.Snapshots = []bus.Snapshot{}
			}
			return a.look(doc, func(s present.Screen) string { return s.List(doc) })
		},
	}
}

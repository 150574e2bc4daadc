// `txctl tree`.

package main

import (
	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/present"
)

func (a *app) treeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "tree",
		Short: "Show which snapshot was made from which",
		Long: "tree shows the ancestry of the snapshots, the oldest first, with what each changed of its parent:\n" +
			"+added ^upgraded vdowngraded -removed packages, or the number of files. ● is what runs. Deleted ones\n" +
			"are shown where something was made from them that is still there.",
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			d, err := a.daemon()
			if err != nil {
				return err
			}
			doc, err := d.Tree(a.asked)
			if err != nil {
				return err
			}
			if doc.Snapshots == nil {
				doc.Snapshots = []bus.Snapshot{}
			}
			return a.look(doc, func(s present.Screen) string { return s.Tree(doc) })
		},
	}
}

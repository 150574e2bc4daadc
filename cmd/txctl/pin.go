// `txctl pin` and `txctl unpin`.

package main

import (
	"github.com/spf13/cobra"

	"github.com/txupd/txupd/client"
)

func (a *app) pinCommand() *cobra.Command {
	return a.pinning("pin", "Protect a snapshot from deletion", "Nobody can delete a pinned snapshot until \"txctl unpin\" takes the pin away.", true, "%d is pinned: it is not deleted until \"txctl unpin\"")
}

func (a *app) unpinCommand() *cobra.Command {
	return a.pinning("unpin", "Protect a snapshot from deletion no more", "unpin takes the pin of \"txctl pin\" away. What is protected for another reason stays so.", false, "%d is not pinned any more")
}

func (a *app) pinning(verb, what, more string, pin bool, done string) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " NUMBER",
		Short: what,
		Long:  more,
		RunE: func(c *cobra.Command, args []string) error {
			name, err := oneSnapshot(c, args)
			if err != nil {
				return err
			}
			a.unrecorded(verb)
			return a.annotate(name, client.Annotation{Pin: &pin}, done)
		},
	}
}

// `txctl pin` and `txctl unpin`.

package main

import (
	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/busclient"
)

func (a *app) pinCommand() *cobra.Command {
	return a.pinning("pin", "Protect a snapshot from deletion", true, "%d is pinned: it is not deleted until \"txctl unpin\"")
}

func (a *app) unpinCommand() *cobra.Command {
	return a.pinning("unpin", "Protect a snapshot from deletion no more", false, "%d is not pinned any more")
}

func (a *app) pinning(verb, what string, pin bool, done string) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " NUMBER",
		Short: what,
		RunE: func(c *cobra.Command, args []string) error {
			name, err := oneSnapshot(c, args)
			if err != nil {
				return err
			}
			a.unrecorded(verb)
			return a.annotate(name, busclient.Annotation{Pin: &pin}, done)
		},
	}
}

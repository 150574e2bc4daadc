// `txctl status`, and txctl without a verb.

package main

import (
	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/present"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what runs, what boots next and what to do",
		Long: "status shows the snapshot that runs, the one that boots next and what is different between them, whether\n" +
			"a reboot is needed, the transaction that is in progress, and what waits for a decision. txctl without a\n" +
			"verb shows the same.",
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return a.status() },
	}
}

func (a *app) status() error {
	d, err := a.daemon()
	if err != nil {
		return err
	}
	doc, err := d.Status(a.asked)
	if err != nil {
		return err
	}
	var between []bus.Snapshot
	if next := doc.Pending; next != nil && !a.json {
		between = []bus.Snapshot{*next}
		// The daemon is asked for more only where more than one step lies between the two.
		if doc.Booted == nil || next.Parent == nil || *next.Parent != doc.Booted.Number {
			list, err := d.List(a.asked)
			if err != nil {
				return err
			}
			between = list.Snapshots
		}
	}
	return a.result(doc, func(s present.Screen) string { return s.Status(doc, between) })
}

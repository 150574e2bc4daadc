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
		Args:  noArguments,
		RunE:  func(*cobra.Command, []string) error { return a.status() },
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
	var list bus.List
	if !a.json && doc.Pending != nil {
		if list, err = d.List(a.asked); err != nil {
			return err
		}
	}
	return a.result(doc, func(s present.Screen) string { return s.Status(doc, list.Snapshots) })
}

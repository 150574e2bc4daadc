// `txctl gc`.

package main

import (
	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/present"
)

func (a *app) gcCommand() *cobra.Command {
	var dryRun, explain, automatic bool
	c := &cobra.Command{
		Use:   "gc",
		Short: "Delete the snapshots that the rules of [gc] let go",
		Long: "gc deletes old snapshots by the rules of the section [gc] of the configuration, and more of the oldest while too\n" +
			"little of the file system is free. Never deleted are those that \"txctl delete\" refuses, pinned ones, and the\n" +
			"newest gc.least. Records stay. --explain says of each snapshot which rule decided, and deletes nothing.\n" +
			"The same happens by itself after every commit and every night, unless gc.automatic is false.",
		Example:    "  txctl gc --explain\n  txctl gc",
		SuggestFor: []string{"cleanup", "prune", "vacuum"},
		Args:       noArguments,
		RunE: func(*cobra.Command, []string) error {
			a.unrecorded("gc")
			return a.gc(dryRun || explain, explain, automatic)
		},
	}
	c.Flags().BoolVar(&explain, "explain", false, "say what becomes of each snapshot and why, and do nothing")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be deleted, and do nothing")
	c.Flags().BoolVar(&automatic, "automatic", false, "do nothing where gc.automatic is false, as every night")
	a.waitFlag(c.Flags())
	return c
}

func (a *app) gc(dryRun, explain, automatic bool) error {
	d, err := a.daemon()
	if err != nil {
		return err
	}
	if automatic {
		settings, err := d.Config(a.asked)
		if err != nil {
			return err
		}
		for _, v := range settings.Values {
			if v.Key == "gc.automatic" && v.Value == false {
				a.say("nothing is deleted: gc.automatic is false (%s)", v.Origin)
				return a.look(bus.GC{DryRun: dryRun, Deleted: []uint64{}, Failed: []bus.GCFailure{}, Snapshots: []bus.GCSnapshot{}}, func(present.Screen) string { return "" })
			}
		}
	}
	var doc bus.GC
	err = a.locked(d, func() (err error) {
		doc, err = d.GC(a.urged, dryRun)
		return err
	})
	if err != nil {
		return err
	}
	return a.look(doc, func(s present.Screen) string { return s.GC(doc, explain) })
}

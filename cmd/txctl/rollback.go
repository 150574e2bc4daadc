// `txctl rollback`.

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/busclient"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/present"
	"github.com/txupd/txupd/pkg/journal/record"
)

func (a *app) rollbackCommand() *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use:   "rollback [NUMBER|booted|last-good]",
		Short: "Make another snapshot what boots next",
		Long: "rollback makes a snapshot what boots next; nothing is lost, and another rollback undoes it. Without\n" +
			"an argument that is what runs now, where something else is pending, else the last good one before it.",
		RunE: func(c *cobra.Command, args []string) error {
			if err := atMostOne(c, args); err != nil {
				return err
			}
			name := ""
			if len(args) > 0 {
				name = args[0]
				if err := snapshotName("NUMBER", name); err != nil {
					return err
				}
			}
			a.unrecorded("rollback")
			return a.rollback(name, dryRun)
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be done, and do nothing")
	a.waitFlag(c.Flags())
	return c
}

func (a *app) rollback(name string, dryRun bool) error {
	d, err := a.daemon()
	if err != nil {
		return err
	}
	r := present.Rollback{DryRun: dryRun}
	if err := a.locked(d, func() error {
		st, err := d.Status(a.urged)
		if err != nil {
			return err
		}
		if st.Default == nil || st.Booted == nil {
			return fmt.Errorf("it is not known what runs and what boots next: %w", fault.ErrNotSupported)
		}
		r.Previous, r.Booted = st.Default.Number, st.Booted.Number
		r.Default, err = a.rollTo(d, name, st, dryRun)
		return err
	}); err != nil {
		return err
	}
	r.Difference = present.Between(r.Previous, r.Default, func(n uint64) (present.Step, bool) {
		rec, err := d.Show(a.urged, n)
		return present.StepOfRecord(rec), err == nil
	})
	return a.result(rollbackDocument(r), func(s present.Screen) string { return s.Rollback(r) })
}

// rollTo rolls back to the snapshot that is named, "" for the daemon's choice,
// and returns its number; in a dry run it only finds that.
func (a *app) rollTo(d daemon, name string, st bus.Status, dryRun bool) (uint64, error) {
	if name != "" {
		n, err := resolve("NUMBER", name, st)
		if err != nil {
			return 0, err
		}
		if dryRun {
			return n, a.exists(d, n)
		}
		return d.Rollback(a.urged, int64(n))
	}
	if dryRun {
		return a.choice(d, st)
	}
	return d.Rollback(a.urged, -1)
}

// exists fails where there is no snapshot n.
func (a *app) exists(d daemon, n uint64) error {
	list, err := d.List(a.urged)
	if err != nil {
		return err
	}
	for _, one := range list.Snapshots {
		if one.Number == n && one.Phase == record.Committed {
			return nil
		}
	}
	return fmt.Errorf("snapshot %d: %w", n, fault.ErrNotFound)
}

// choice is what the daemon would choose: what runs where something else is
// pending, else the last good one before it, else its parent.
func (a *app) choice(d daemon, st bus.Status) (uint64, error) {
	if st.Pending != nil {
		return st.Booted.Number, nil
	}
	log, err := d.Log(a.urged, busclient.LogFilter{})
	if err != nil {
		return 0, err
	}
	var best *record.Record
	for i, rec := range log.Records {
		if rec.Verdict != record.Good || rec.Phase != record.Committed || rec.Deleted != nil || rec.Number == st.Booted.Number {
			continue
		}
		if best == nil || rec.VerdictSequence > best.VerdictSequence {
			best = &log.Records[i]
		}
	}
	switch {
	case best != nil:
		return best.Number, nil
	case st.Booted.Parent != nil:
		return *st.Booted.Parent, a.exists(d, *st.Booted.Parent)
	}
	return 0, fmt.Errorf("there is no good snapshot before the booted one: name one: %w", fault.ErrNotFound)
}

// rolledBack is the document of a rollback. Brought and LeftOut are the
// transactions that only the new or only the former default has, newest first.
type rolledBack struct {
	Default        uint64                 `json:"default"`
	Previous       uint64                 `json:"previous"`
	Changed        bool                   `json:"changed"`
	DryRun         bool                   `json:"dry_run"`
	RebootRequired bool                   `json:"reboot_required"`
	Brought        []uint64               `json:"brought"`
	LeftOut        []uint64               `json:"left_out"`
	Complete       bool                   `json:"complete"` // both lists are
	PackageChanges []record.PackageChange `json:"package_changes"`
}

func rollbackDocument(r present.Rollback) rolledBack {
	numbers := func(steps []present.Step) []uint64 {
		all := make([]uint64, len(steps))
		for i, s := range steps {
			all[i] = s.Number
		}
		return all
	}
	return rolledBack{
		Default: r.Default, Previous: r.Previous, Changed: r.Default != r.Previous && !r.DryRun, DryRun: r.DryRun,
		RebootRequired: r.Default != r.Booted,
		Brought:        numbers(r.Brought), LeftOut: numbers(r.LeftOut), Complete: r.Known, PackageChanges: r.Packages(),
	}
}

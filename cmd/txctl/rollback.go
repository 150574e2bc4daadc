// `txctl rollback`.

package main

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/present"
	"github.com/txupd/txupd/pkg/journal/record"
)

// rollbackOptions are what `rollback` may be told.
type rollbackOptions struct {
	dryRun, asCommitted bool
	etc, shared         string
}

func (a *app) rollbackCommand() *cobra.Command {
	var o rollbackOptions
	c := &cobra.Command{
		Use:   "rollback [NUMBER|booted|last-good]",
		Short: "Make another snapshot what boots next",
		Long: "rollback makes a snapshot what boots next; nothing is lost, and another rollback undoes it. Without\n" +
			"an argument that is what runs now, where something else is pending, else the last good one before it.\n" +
			"On writable roots a snapshot boots as it was last left; --as-committed makes a new one of what it was\n" +
			"when it was committed.\n" +
			"/etc comes back as it was then. With --etc=keep a new snapshot is made, into whose /etc what was edited on\n" +
			"the running system since that was committed is merged, and goes on to be until the reboot; what packages or\n" +
			"transactions changed in /etc stays behind with them. Conflicts are listed by \"txctl etc\".",
		Example: "  txctl rollback --dry-run\n  txctl rollback 4\n  txctl rollback 4 --etc=keep",
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
			switch o.etc {
			case bus.EtcRestore, bus.EtcKeep:
			default:
				return usagef("usage: txctl "+c.Use, "txctl rollback: --etc=%s: \"restore\" or \"keep\" is accepted", short(o.etc))
			}
			if o.shared != "keep" && o.shared != "restore" {
				return usagef("usage: txctl "+c.Use, "txctl rollback: --var=%s: \"keep\" or \"restore\" is accepted", short(o.shared))
			}
			if !o.asCommitted && o.etc != bus.EtcKeep {
				a.unrecorded("rollback")
			}
			return a.rollback(name, o)
		},
	}
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what would be done, and do nothing")
	c.Flags().BoolVar(&o.asCommitted, "as-committed", false, "make a new snapshot of what it was when it was committed")
	c.Flags().StringVar(&o.etc, "etc", bus.EtcRestore, "`what` becomes of /etc: restore, as it was then, or keep, with what was edited since")
	c.Flags().StringVar(&o.shared, "var", "keep", "`what` becomes of what the running snapshot handed over to shared trees: keep, or restore\nwhat was there before, at the reboot")
	a.waitFlag(c.Flags())
	return c
}

func (a *app) rollback(name string, o rollbackOptions) error {
	d, err := a.daemon()
	if err != nil {
		return err
	}
	r, err := a.planRollback(d, name, o)
	if err != nil {
		return err
	}
	asked := isTerminal(a.stdin) && isTerminal(a.stderr) && !a.json
	if o.dryRun || asked {
		a.findEdits(d, &r)
	}
	if o.dryRun || r.Default == r.Previous && !r.New() && !r.RestoreShared {
		return a.result(rollbackDocument(r), func(s present.Screen) string { return s.Rollback(r) })
	}
	// It takes nothing away, so that scripts are not asked; a person sees what it means first.
	if asked {
		plan := r
		plan.Planned = true
		if err := a.confirm("rollback", a.words().Rollback(plan)+"\nGo on?"); err != nil {
			return err
		}
	}
	var now uint64
	if err := a.locked(d, func() (err error) {
		now, err = d.Rollback(a.urged, int64(r.Default), client.RollbackOptions{
			AsCommitted: o.asCommitted, KeepEtc: r.KeepEtc, RestoreShared: r.RestoreShared, Message: a.message,
		})
		return err
	}); err != nil {
		return err
	}
	if now != r.Default {
		r.Of, r.Default = r.Default, now
	}
	return a.result(rollbackDocument(r), func(s present.Screen) string { return s.Rollback(r) })
}

// planRollback finds out what a rollback would mean: where to, and what goes and comes with it.
func (a *app) planRollback(d daemon, name string, o rollbackOptions) (present.Rollback, error) {
	r := present.Rollback{DryRun: o.dryRun, AsCommitted: o.asCommitted, RestoreShared: o.shared == "restore"}
	st, err := d.Status(a.urged)
	if err != nil {
		return r, err
	}
	if st.Default == nil || st.Booted == nil {
		return r, fmt.Errorf("it is not known what runs and what boots next: %w", fault.ErrNotSupported)
	}
	r.Previous, r.Booted, r.KernelBefore = st.Default.Number, st.Booted.Number, st.Default.Kernel
	list, err := d.List(a.urged)
	if err != nil {
		return r, err
	}
	if name == "" {
		r.Default, err = a.choice(d, st)
	} else {
		r.Default, err = resolve("NUMBER", name, st)
	}
	if err != nil {
		return r, err
	}
	// What runs has what was edited.
	r.KeepEtc = o.etc == bus.EtcKeep && (r.Default != r.Booted || o.asCommitted)
	at := slices.IndexFunc(list.Snapshots, func(one bus.Snapshot) bool { return one.Number == r.Default && one.Phase == record.Committed })
	if at < 0 {
		return r, fmt.Errorf("snapshot %d: %w", r.Default, fault.ErrNotFound)
	}
	r.KernelAfter = list.Snapshots[at].Kernel
	if r.Default != r.Booted {
		r.Shared = a.handedOver(d, r.Booted)
	}
	r.Difference = present.Between(r.Previous, r.Default, func(n uint64) (present.Step, bool) {
		rec, err := d.Show(a.urged, n)
		return present.StepOfRecord(rec), err == nil
	})
	return r, nil
}

// handedOver finds what a boot of the running root handed over to shared trees.
func (a *app) handedOver(d daemon, booted uint64) []present.Handed {
	rec, err := d.Show(a.urged, booted)
	if err != nil {
		return nil // the rollback does not depend on it
	}
	records := []record.Record{rec}
	for _, n := range rec.SharedBelow {
		if below, err := d.Show(a.urged, n); err == nil {
			records = append(records, below)
		}
	}
	return present.HandedBy(booted, records)
}

// findEdits finds what was written to the running root since its commit, where
// that is left behind. A root that txupd did not make has no image to compare
// with: then it is not known.
func (a *app) findEdits(d daemon, r *present.Rollback) {
	if r.Default == r.Booted || r.Default == r.Previous && !r.KeepEtc {
		return
	}
	running := strconv.FormatUint(r.Booted, 10)
	if edits, err := d.Diff(a.urged, running, running, client.DiffOptions{Now: true}); err == nil {
		r.Edits, r.EditsKnown = edits.Files, true
	}
}

// choice is what the daemon would choose: what runs where something else is
// pending, else the last good one before it, else its parent.
func (a *app) choice(d daemon, st bus.Status) (uint64, error) {
	if st.Pending != nil {
		return st.Booted.Number, nil
	}
	log, err := d.Log(a.urged, client.LogFilter{Brief: true})
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
		return *st.Booted.Parent, nil
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
	// Files sums up the changes of all that is brought, and of all that is left out, the other way round.
	Files        record.FileCounts `json:"files"`
	KernelBefore string            `json:"kernel_before"`
	Kernel       string            `json:"kernel"`
	// AsCommitted is the snapshot that the new one was made of.
	AsCommitted *uint64 `json:"as_committed"`
	// Etc is what becomes of /etc: restore, or keep, and then a new snapshot was made of Of.
	Etc string  `json:"etc"`
	Of  *uint64 `json:"of"`
	// Edits were made to the running root since it was committed, and are not in the new default; null where that is not known.
	Edits []record.FileChange `json:"edits"`
	// Shared is what the running root handed over to shared trees; it is taken back at the reboot if RestoreShared.
	Shared        []present.Handed `json:"shared"`
	RestoreShared bool             `json:"restore_shared"`
}

func rollbackDocument(r present.Rollback) rolledBack {
	numbers := func(steps []present.Step) []uint64 {
		all := make([]uint64, len(steps))
		for i, s := range steps {
			all[i] = s.Number
		}
		return all
	}
	var of, asCommitted *uint64
	if r.New() {
		of = &r.Of
		if r.DryRun {
			of = &r.Default
		}
	}
	if r.AsCommitted {
		asCommitted = of
	}
	etc := bus.EtcRestore
	if r.KeepEtc {
		etc = bus.EtcKeep
	}
	var edits []record.FileChange
	if r.EditsKnown {
		edits = append([]record.FileChange{}, r.Edits...)
	}
	return rolledBack{
		Edits: edits, Shared: append([]present.Handed{}, r.Shared...), RestoreShared: r.RestoreShared,
		Files: r.Files(), KernelBefore: r.KernelBefore, Kernel: r.KernelAfter, AsCommitted: asCommitted, Etc: etc, Of: of,
		Default: r.Default, Previous: r.Previous, Changed: r.Default != r.Previous && !r.DryRun, DryRun: r.DryRun,
		RebootRequired: r.Default != r.Booted,
		Brought:        numbers(r.Brought), LeftOut: numbers(r.LeftOut), Complete: r.Known, PackageChanges: r.Packages(),
	}
}

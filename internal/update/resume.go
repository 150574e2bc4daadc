// What the daemon does when it starts: it looks at what it finds, not at what
// it believes, and finishes or undoes what a crash left.

package update

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/txupd/txupd/internal/engine"
	"github.com/txupd/txupd/internal/sandbox"
	"github.com/txupd/txupd/internal/sharedtree"
	"github.com/txupd/txupd/pkg/grubcfg"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// Resume rebuilds a lost journal, finishes or undoes every transaction that was interrupted, takes up an
// open one that waited, adopts the running root and notes the boot. Running it
// twice changes nothing.
func (u *Updater) Resume(ctx context.Context) error {
	if err := u.rebuild(ctx); err != nil {
		return err
	}
	done, err := u.endInterrupted(ctx)
	if err != nil {
		return err
	}
	if err := u.adopt(); err != nil {
		return err
	}
	if err := u.noteBoot(); err != nil {
		return err
	}
	if !u.Passing {
		done = append(done, u.handOverLate(ctx)...)
	}
	u.trouble(u.tidyLive(), "what an interrupted merge of /etc left could not be removed")
	u.trouble(u.tidyShared(nil), "what was kept of shared trees could not be removed")
	u.trouble(u.noteLoader(ctx), "what the boot loader decided could not be noted")
	boot, err := u.reconcileBoot(ctx)
	u.trouble(err, "the boot menu could not be brought up to date")
	u.trouble(u.noteRepair(nil, append(done, boot...)), "what was repaired could not be recorded")
	u.takeReserve()
	u.printHead()
	u.markPending()
	u.publishMetrics()
	return nil
}

// refreshEntry gives the adopted root its boot entry, while it runs: what it was
// booted with is known then. Where kernels lie in the root, it also follows what
// was done to them without us, so that an entry never names one that is gone.
func (u *Updater) refreshEntry() (changed bool, err error) {
	booted, err := u.booted()
	if err != nil || booted.foreign || u.CommandLine == "" {
		return false, err
	}
	e := booted.rec.BootEntry
	if e == nil && !booted.rec.Adopted || e != nil && e.BootUUID != "" && !booted.rec.Adopted {
		return false, nil // made before the setup, or its kernel is staged
	}
	k, err := u.Boot.InPlace(u.Root)
	if err != nil && e != nil {
		// Its old entry may still boot, and is no worse than none.
		u.Log.Warn("the boot entry of the running root is left as it is", "snapshot", booted.number, "error", err)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("the boot entry of snapshot %d, which runs, cannot be made: %w", booted.number, err)
	}
	if e != nil && e.KernelVersion == k.Version && e.Kernel == k.Kernel && slices.Equal(e.Initrd, k.Initrd) {
		return false, nil
	}
	line := grubcfg.CommandLine(u.CommandLine)
	if e != nil {
		line = e.CommandLine
	}
	booted.rec.BootEntry = entryOf(k, line, assessed(u.Root))
	booted.rec.Kernel = k.Version
	return true, u.put("boot-entry", nil, booted.rec)
}

// resume decides about one transaction with recorded steps, and says what it did with it.
func (u *Updater) resume(ctx context.Context, n uint64) (did string, err error) {
	var rec record.Record
	var raw []byte
	if err := u.Journal.View(func(tx *journal.Tx) (err error) {
		if rec, err = tx.Record(n); err != nil {
			return err
		}
		raw, err = tx.Steps(n)
		return err
	}); err != nil {
		return "", err
	}
	plan, err := engine.Decode(raw)
	if err != nil {
		return "", err
	}
	if data, ok := plan.Data(stepResolve); ok {
		return u.resumeResolve(ctx, rec, data)
	}
	t := &Transaction{
		u: u, number: snapshot.Number(n), rec: rec, plan: plan, output: newOutput(u.logDir(), u.Config.Log, u.Now), started: len(rec.Commands),
		step: make(chan struct{}, 1),
	}
	if err := sandbox.End(u.Store.Path(t.number, snapshot.RoleSnapshot)); err != nil {
		return "", err
	}
	committed, err := u.engine.Committed(ctx, plan)
	if err != nil {
		return "", err
	}
	if committed || plan.Has(stepRemove) {
		return t.finish(ctx)
	}
	if rec.Phase == record.Committed {
		return fmt.Sprintf("gave up an interrupted rollback to snapshot %d: it had not begun", n), errors.Join(u.noteRestore(nil), u.close(rec, "rollback-failed"))
	}
	if rec.Phase == record.Open && u.waits(rec) {
		return "", u.takeUp(t)
	}
	cause := error(nil)
	if rec.Phase == record.Open {
		cause = errors.New("interrupted: the daemon ended while it was under way")
		u.Log.Warn("undoing an interrupted transaction", "transaction", n)
	}
	phase := record.Failed
	if rec.Phase == record.Discarded {
		phase = record.Discarded // its undoing was interrupted
	}
	if rec.Phase == record.Open && rec.Expires != nil && u.Now().After(*rec.Expires) {
		phase, cause = record.Discarded, nil
	}
	return fmt.Sprintf("undid transaction %d (%s), which was interrupted before its commit point", n, rec.Kind), t.undo(phase, cause)
}

// waits reports whether the transaction was open with no command running: such
// a one outlives the daemon, also where its commit was cut before the switch.
func (u *Updater) waits(rec record.Record) bool {
	if rec.Kind != KindBegin || len(rec.Subvolumes) == 0 || rec.Expires != nil && u.Now().After(*rec.Expires) {
		return false
	}
	for _, c := range rec.Commands {
		if c.Exit == record.NoExit {
			return false
		}
	}
	made, err := u.Store.Made(snapshot.Number(rec.Number))
	return err == nil && made[snapshot.RoleSnapshot] == rootOfRecord(rec)
}

// takeUp goes on with an open transaction.
func (u *Updater) takeUp(t *Transaction) error {
	h, err := u.hold(fmt.Sprintf("transaction %d (%s)", t.number, t.rec.Kind), t.rec.Actor)
	if err != nil {
		return err
	}
	defer u.work.Done()
	if err := errors.Join(u.Store.DropLeftovers(t.number), sandbox.Tidy(u.Store.Path(t.number, snapshot.RoleSnapshot)), sharedtree.Tidy(u.Driver, u.Store.Dir(t.number))); err != nil {
		u.letGo(h)
		return err
	}
	around, err := u.outside()
	if err != nil {
		return err
	}
	t.hidden, t.unseen = around.mounts, around.unseen
	h.since = t.rec.Created
	t.holder = h
	if t.rec.Parent != nil {
		if t.parent, err = u.existing(snapshot.Number(*t.rec.Parent)); err != nil {
			t.parent = view{number: snapshot.Number(*t.rec.Parent), foreign: true}
		}
	}
	t.plan.Did(stepPrepare, stepPublish)
	// A commit that was cut may have sealed it.
	if err := u.Driver.SetReadOnly(u.Store.Path(t.number, snapshot.RoleSnapshot), false); err != nil {
		return err
	}
	u.remember(t)
	u.Log.Info("an open transaction waits", "transaction", t.number)
	return nil
}

// finish completes what passed its commit point, and says what it was.
func (t *Transaction) finish(ctx context.Context) (did string, err error) {
	u, rec := t.u, t.rec
	// A switch that happened is left as it is now: somebody may have switched again.
	if t.plan.Has(stepRemove) {
		if err := u.engine.Finish(ctx, t.plan); err != nil {
			return "", err
		}
	}
	// Durable before the steps are forgotten.
	if err := u.Driver.Sync(u.Root); err != nil {
		return "", err
	}
	u.Log.Warn("finished an interrupted transaction", "transaction", rec.Number)
	switch {
	case t.plan.Has(stepRemove):
		if rec.Deleted == nil {
			now := u.Now().UTC()
			rec.Deleted = &now
		}
		u.trouble(dropLog(u.logDir(), t.number), "what a deleted snapshot printed could not be removed")
		return fmt.Sprintf("finished the interrupted removal of snapshot %d", rec.Number), u.close(rec, "deleted")
	case rec.Phase == record.Open:
		return fmt.Sprintf("recorded transaction %d, which was interrupted after its commit point", rec.Number), t.finishCommit(ctx)
	}
	return fmt.Sprintf("recorded the rollback to snapshot %d, which was interrupted after its commit point", rec.Number), u.close(rec, "rolled-back")
}

// finishCommit takes the record from beside the snapshot, where it became
// durable with the switch, and the file changes from the images.
func (t *Transaction) finishCommit(ctx context.Context) error {
	marker, err := t.u.Store.ReadMarker(t.number)
	if err != nil {
		return err
	}
	var rec record.Record
	if err := json.Unmarshal(marker.Record, &rec); err != nil {
		return fmt.Errorf("cannot read the marker of snapshot %d: %w", t.number, err)
	}
	t.rec = rec
	if t.hidden, err = t.u.hiddenTrees(); err != nil {
		return err
	}
	files, err := t.changes(ctx)
	if err != nil {
		return err
	}
	return t.recordCommitted(files)
}

// close writes the record and drops its steps.
func (u *Updater) close(rec record.Record, event string) error {
	defer u.forgetGood()
	return u.Journal.Update(func(tx *journal.Tx) error {
		if err := tx.Put(event, nil, rec); err != nil {
			return err
		}
		return tx.DeleteSteps(rec.Number)
	})
}

// adopt gives the running root a record if txupd did not make it: good, and
// protected, so that the first trial has somewhere to fall back to.
func (u *Updater) adopt() error {
	v, err := u.booted()
	if err != nil || !v.foreign {
		return err
	}
	booted := v.subvolume
	var taken bool
	if err := u.Journal.View(func(tx *journal.Tx) error {
		rec, err := tx.Record(uint64(v.number))
		if errors.Is(err, journal.ErrNotFound) {
			return nil
		}
		taken = err == nil && rec.Deleted == nil && rec.Phase == record.Committed
		return err
	}); err != nil {
		return err
	}
	if taken {
		// Another subvolume took the place of one that we know: it is shown as foreign, and nothing is overwritten.
		return nil
	}
	rec := record.Record{
		Number: uint64(v.number), UUID: booted.UUID.String(), Phase: record.Committed, Verdict: record.Good, VerdictSequence: 1,
		Adopted: true, Kind: KindAdopt, Message: "the system as txupd found it", Created: u.Now().UTC(), Tags: []string{},
		Actor:      record.Actor{Name: "txupd"},
		Kernel:     kernelIn(u.Root),
		Subvolumes: map[string]record.Subvolume{string(snapshot.RoleSnapshot): {ID: uint64(booted.ID), UUID: booted.UUID.String()}},
	}
	defer u.forgetGood()
	return u.put("adopted", nil, rec)
}

// noteBoot records that the booted snapshot was booted, once a boot.
func (u *Updater) noteBoot() error {
	v, err := u.booted()
	if err != nil || v.foreign || u.thisBoot(v.rec) >= 0 {
		return err
	}
	if err := u.missed(v); err != nil {
		return err
	}
	if v, err = u.booted(); err != nil {
		return err
	}
	v.rec.Boots = append(v.rec.Boots, record.Boot{
		BootID: u.BootID, First: u.Now().UTC(), Count: len(v.rec.Boots) + 1, Verdict: record.Untried, Failed: []string{},
	})
	return u.put("booted", nil, v.rec)
}

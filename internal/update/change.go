// Rollback and deletion: changes of what exists, under the same lock as transactions.

package update

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/engine"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// Rollback makes a snapshot the one that boots next and returns its number. to
// is a number or a word; "" is the booted one where another is pending, else
// the last good one before it.
func (u *Updater) Rollback(ctx context.Context, to string, actor record.Actor) (snapshot.Number, error) {
	return u.rollback(ctx, to, actor, false)
}

// RollbackRestoring is Rollback, and the boot of that snapshot takes back what
// the running one handed over to shared trees.
func (u *Updater) RollbackRestoring(ctx context.Context, to string, actor record.Actor) (snapshot.Number, error) {
	return u.rollback(ctx, to, actor, true)
}

func (u *Updater) rollback(ctx context.Context, to string, actor record.Actor, restore bool) (snapshot.Number, error) {
	h, done, err := u.change(ctx, "a rollback", actor)
	if err != nil {
		return 0, err
	}
	defer done()
	defer u.letGo(h)
	r, target, err := u.rollbackTarget(to)
	if err != nil {
		return 0, err
	}
	var request []byte
	if restore {
		if request, err = u.requestRestore(r.booted, target); err != nil {
			return 0, err
		}
	}
	if target.same(r.standby) {
		return target.number, u.noteRestore(request)
	}
	if target.foreign {
		return 0, fmt.Errorf("%w: subvolume %d was not made by txupd", fault.ErrNotSupported, target.subvolume.ID)
	}
	if err := u.switchTo(ctx, r, target, actor, "rollback", request); err != nil {
		var derived *derivedError
		if errors.As(err, &derived) {
			return target.number, err
		}
		return 0, err
	}
	return target.number, nil
}

// switchTo makes a snapshot whose record is closed what boots next. event is
// what the journal calls it, restore what is to be taken back from shared trees then.
func (u *Updater) switchTo(ctx context.Context, r *roles, to view, actor record.Actor, event string, restore []byte) error {
	if err := r.facts.Err(); err != nil {
		return err
	}
	if r.facts.Mode == boot.FollowsMenu && to.rec.BootEntry == nil {
		return fmt.Errorf("%w: snapshot %d has no boot entry: it was made before the boot menu was set up", fault.ErrNotSupported, to.number)
	}
	u.makeRoom()
	plan := &engine.Plan{}
	if err := u.intendSwitch(plan, r.facts, switchData{Number: to.number, From: r.standby.subvolume.ID, To: to.subvolume.ID}); err != nil {
		return err
	}
	if err := u.noteRestore(restore); err != nil {
		return err
	}
	if err := u.recordPlan(event, actor, to.rec, plan); err != nil {
		return err
	}
	if err := u.engine.Do(ctx, plan, ""); err != nil {
		if happened, probe := u.engine.Committed(context.Background(), plan); probe != nil || happened {
			return &derivedError{errors.Join(err, probe)}
		}
		return errors.Join(err, u.close(to.rec, "rollback-failed"), u.noteRestore(nil))
	}
	if err := u.close(to.rec, "rolled-back"); err != nil {
		return &derivedError{err}
	}
	u.notify(Event{Kind: SnapshotsChanged})
	return nil
}

// RollbackAsCommitted makes a new snapshot of what one was when it was
// committed, whatever was written to it since it was booted, and makes that what
// boots next. It returns its number.
func (u *Updater) RollbackAsCommitted(ctx context.Context, q Request) (snapshot.Number, error) {
	r, target, err := u.rollbackTarget(q.From)
	if err != nil {
		return 0, err
	}
	q.asCommitted, q.etc = true, bus.EtcRestore
	return u.rollbackToNew(ctx, q, r, target, fmt.Sprintf("snapshot %d as it was committed", target.number))
}

// committedImage is the image of a snapshot as it was committed.
func (u *Updater) committedImage(v view) (snapshot.Subvolume, error) {
	image, err := u.Driver.Info(u.Store.Path(v.number, snapshot.RoleAfter))
	if errors.Is(err, fs.ErrNotExist) || v.rec.Adopted {
		return image, fmt.Errorf("%w: snapshot %d has no image of its commit", fault.ErrNotSupported, v.number)
	}
	if err == nil && v.rec.Subvolumes[string(snapshot.RoleAfter)].UUID != image.UUID.String() {
		err = fmt.Errorf("the image of snapshot %d: %w", v.number, snapshot.ErrForeign)
	}
	return image, err
}

// rollbackTarget is what a rollback to a number, a word or "" goes to, as things stand.
func (u *Updater) rollbackTarget(to string) (r *roles, target view, err error) {
	if r, err = u.roles(); err != nil {
		return nil, view{}, err
	}
	target, err = u.choose(r, to)
	return r, target, err
}

func (u *Updater) choose(r *roles, to string) (view, error) {
	if to != "" {
		return r.choose(to)
	}
	if _, pending := r.pending(); pending {
		return r.booted, nil
	}
	other, err := u.latestGood(&r.booted.number)
	if err != nil {
		return view{}, err
	}
	if other.ok {
		return u.existing(other.number)
	}
	if p := r.booted.rec.Parent; p != nil {
		return u.existing(snapshot.Number(*p))
	}
	return view{}, fmt.Errorf("there is no good snapshot before the booted one: name one: %w", fault.ErrNotFound)
}

// put records an event that changes nothing but the record; actor is nil for ourselves.
func (u *Updater) put(event string, actor *record.Actor, rec record.Record) error {
	return u.Journal.Update(func(tx *journal.Tx) error { return tx.Put(event, actor, rec) })
}

// recordPlan makes the intent of a change durable before it acts.
func (u *Updater) recordPlan(event string, actor record.Actor, rec record.Record, plan *engine.Plan) error {
	steps, err := plan.Encode()
	if err != nil {
		return err
	}
	if err := u.Journal.Update(func(tx *journal.Tx) error {
		if err := tx.Put(event, &actor, rec); err != nil {
			return err
		}
		return tx.PutSteps(rec.Number, steps)
	}); err != nil {
		return err
	}
	plan.Recorded()
	return nil
}

// Delete removes a snapshot and what was printed in its making; its record stays.
func (u *Updater) Delete(ctx context.Context, n snapshot.Number, actor record.Actor) error {
	return u.deleteFor(ctx, n, actor, "")
}

// deleteFor deletes a snapshot, and records the rule that let it go, "" for none.
func (u *Updater) deleteFor(ctx context.Context, n snapshot.Number, actor record.Actor, rule string) error {
	h, done, err := u.change(ctx, "a deletion", actor)
	if err != nil {
		return err
	}
	defer done()
	defer u.letGo(h)
	u.briefly(h)
	target, err := u.existing(n)
	if err != nil {
		return err
	}
	if err := u.deletable(target); err != nil {
		return err
	}
	u.makeRoom()
	plan := &engine.Plan{}
	// Out of the menu first: an entry must never lead to what is gone.
	if err := errors.Join(plan.Intend(stepForget, menuData{Number: n}),
		plan.Intend(stepRemove, removeData{Number: n, UUID: target.rec.UUID, Subvolumes: target.rec.Subvolumes})); err != nil {
		return err
	}
	if err := u.recordPlan("delete", actor, target.rec, plan); err != nil {
		return err
	}
	err = u.engine.Do(ctx, plan, "")
	if fault.Name(err) == fault.Name(fault.ErrNoSpace) {
		// What goes makes room for the menu, in which for a moment there is an entry that leads nowhere: none
		// that boots next or is fallen back to.
		err = u.deleteFirst(ctx, target, actor)
	}
	if errors.Is(err, snapshot.ErrNested) || errors.Is(err, snapshot.ErrProtected) {
		// Refused before anything was changed.
		return errors.Join(fmt.Errorf("%w: %w", fault.ErrProtected, err), u.close(target.rec, "delete-refused"))
	}
	if err == nil {
		err = u.Driver.Sync(u.Root)
	}
	if err != nil {
		return err // the steps stay: the next start finishes the removal
	}
	now := u.Now().UTC()
	target.rec.Deleted, target.rec.DeletedFor = &now, rule
	err = u.close(target.rec, "deleted")
	if err == nil && target.rec.BootEntry != nil {
		err = u.sweepKernels(ctx)
	}
	if err = errors.Join(err, dropLog(u.logDir(), n)); err != nil {
		return &derivedError{err}
	}
	u.notify(Event{Kind: SnapshotsChanged})
	return nil
}

// deleteFirst removes a snapshot before its entry in the menu, which could not be written.
func (u *Updater) deleteFirst(ctx context.Context, target view, actor record.Actor) error {
	plan := &engine.Plan{}
	if err := errors.Join(plan.Intend(stepRemove, removeData{Number: target.number, UUID: target.rec.UUID, Subvolumes: target.rec.Subvolumes}),
		plan.Intend(stepForget, menuData{Number: target.number})); err != nil {
		return err
	}
	if err := u.recordPlan("delete", actor, target.rec, plan); err != nil {
		return err
	}
	return u.engine.Do(ctx, plan, "")
}

// deletable refuses what must never go (DESIGN §5.4).
func (u *Updater) deletable(v view) error {
	r, err := u.roles()
	if err != nil {
		return err
	}
	why, err := u.protection(r, v, u.keeping)
	if err == nil && why == "" && v.rec.Pinned {
		why = "it is pinned"
	}
	if err == nil && why != "" {
		err = fmt.Errorf("snapshot %d cannot be deleted: %s: %w", v.number, why, fault.ErrProtected)
	}
	return err
}

// protection is why a snapshot must not go, whatever anybody wants, "" for nothing.
// keeping is asked where it takes to know what others need of captures.
func (u *Updater) protection(r *roles, v view, keeping func() (*keeping, error)) (string, error) {
	shared, err := u.protectsShared(v.rec, keeping)
	if err != nil {
		return "", err
	}
	has := r.describe(v).Roles
	for _, p := range []struct {
		yes bool
		why string
	}{
		{slices.Contains(has, bus.RoleBooted), "it is booted"},
		{slices.Contains(has, bus.RoleOpen), "its transaction is open"},
		{slices.Contains(has, bus.RoleLastGood), "it is the last good one"},
		{slices.Contains(has, bus.RolePending), "it is pending: roll back first"},
		{slices.Contains(has, bus.RoleDefault), "it boots next"},
		{v.rec.Adopted, "it is the system as txupd found it"},
		{v.foreign, "txupd did not make it"},
		{shared != "", shared},
	} {
		if p.yes {
			return p.why, nil
		}
	}
	return "", nil
}

// Rollback and deletion: changes of what exists, under the same lock as transactions.

package update

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	if err := u.rootFollowsDefault(); err != nil {
		return 0, err
	}
	h, done, err := u.change(ctx, "a rollback", actor)
	if err != nil {
		return 0, err
	}
	defer done()
	defer u.letGo(h)
	r, err := u.roles()
	if err != nil {
		return 0, err
	}
	target, err := u.rollbackTarget(r, to)
	if err != nil {
		return 0, err
	}
	if target.same(r.standby) {
		return target.number, nil
	}
	if target.foreign {
		return 0, fmt.Errorf("%w: subvolume %d was not made by txupd", fault.ErrNotSupported, target.subvolume.ID)
	}
	plan := &engine.Plan{}
	if err := plan.Intend(stepSetDefault, switchData{Number: target.number, From: r.standby.subvolume.ID, To: target.subvolume.ID}); err != nil {
		return 0, err
	}
	if err := u.recordPlan("rollback", actor, target.rec, plan); err != nil {
		return 0, err
	}
	if err := u.engine.Do(ctx, plan, ""); err != nil {
		if happened, probe := u.engine.Committed(context.Background(), plan); probe != nil || happened {
			return target.number, &derivedError{errors.Join(err, probe)}
		}
		return 0, errors.Join(err, u.close(target.rec, "rollback-failed"))
	}
	if err := u.close(target.rec, "rolled-back"); err != nil {
		return target.number, &derivedError{err}
	}
	u.notify(Event{Kind: SnapshotsChanged})
	return target.number, nil
}

func (u *Updater) rollbackTarget(r *roles, to string) (view, error) {
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

// Delete removes a snapshot; its record stays.
func (u *Updater) Delete(ctx context.Context, n snapshot.Number, actor record.Actor) error {
	h, done, err := u.change(ctx, "a deletion", actor)
	if err != nil {
		return err
	}
	defer done()
	defer u.letGo(h)
	target, err := u.existing(n)
	if err != nil {
		return err
	}
	if err := u.deletable(target); err != nil {
		return err
	}
	plan := &engine.Plan{}
	if err := plan.Intend(stepRemove, removeData{Number: n, UUID: target.rec.UUID, Subvolumes: target.rec.Subvolumes}); err != nil {
		return err
	}
	if err := u.recordPlan("delete", actor, target.rec, plan); err != nil {
		return err
	}
	err = u.engine.Do(ctx, plan, "")
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
	target.rec.Deleted = &now
	if err := u.close(target.rec, "deleted"); err != nil {
		return &derivedError{err}
	}
	u.notify(Event{Kind: SnapshotsChanged})
	return nil
}

// deletable refuses what must never go (DESIGN §5.4).
func (u *Updater) deletable(v view) error {
	r, err := u.roles()
	if err != nil {
		return err
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
		{v.rec.Pinned, "it is pinned"},
	} {
		if p.yes {
			return fmt.Errorf("snapshot %d cannot be deleted: %s: %w", v.number, p.why, fault.ErrProtected)
		}
	}
	return nil
}

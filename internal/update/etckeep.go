// Going back without losing what was edited: rollback --etc=keep.
//
// An older root must not get the configuration of newer packages: what the
// packages of the running snapshot changed in /etc stays behind with them, and
// only what was edited on the running system comes along. The image of the running
// snapshot as it was committed tells the two apart, and so is the ancestor of the
// merge. For a snapshot that was made from what runs it is the usual one.

package update

import (
	"context"
	"fmt"
	"strconv"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/snapshot"
)

// etcLineOf says with what the /etc of a transaction's snapshot is merged.
func (u *Updater) etcLineOf(q Request, parent view) (etcLine, error) {
	switch q.etc {
	case bus.EtcRestore:
		return etcLine{}, nil
	case bus.EtcKeep:
		return u.keepLine(parent)
	}
	return u.etcLine(parent)
}

// keepLine is etcLine also for a parent that has nothing to do with what runs.
// ErrNotSupported where what was edited on the running system cannot be told.
func (u *Updater) keepLine(parent view) (etcLine, error) {
	line, err := u.etcLine(parent)
	if err != nil || line.of != "" {
		return line, err
	}
	running, err := u.booted()
	if err != nil {
		return etcLine{}, err
	}
	if running.foreign || running.rec.Adopted {
		return etcLine{}, fmt.Errorf("%w: what was edited in the running /etc cannot be told apart, because txupd did not make what runs; "+
			"without --etc=keep it comes back as it was then", fault.ErrNotSupported)
	}
	if _, err := u.committedImage(running); err != nil {
		return etcLine{}, fmt.Errorf("cannot tell what was edited in the running /etc: %w", err)
	}
	return etcLine{of: running.subvolume.UUID.String(), live: &liveData{running.number, snapshot.RoleAfter}}, nil
}

// RollbackKeepingEtc makes a new snapshot of what q.From was left as, or with
// asCommitted of what it was when it was committed, brings along what was
// edited in the running /etc, and makes that what boots next. It returns its number. To what
// runs it goes back as it is: that has what was edited.
func (u *Updater) RollbackKeepingEtc(ctx context.Context, q Request, asCommitted bool) (snapshot.Number, error) {
	r, target, err := u.rollbackTarget(q.From)
	if err != nil {
		return 0, err
	}
	if target.same(r.booted) && !asCommitted {
		return u.rollback(ctx, bus.WordBooted, q.Actor, q.RestoreShared)
	}
	q.asCommitted, q.etc = asCommitted, bus.EtcKeep
	words := fmt.Sprintf("snapshot %d with the running /etc", target.number)
	if asCommitted {
		words = fmt.Sprintf("snapshot %d as it was committed, with the running /etc", target.number)
	}
	return u.rollbackToNew(ctx, q, r, target, words)
}

// rollbackToNew makes a snapshot of another one and makes it what boots next.
func (u *Updater) rollbackToNew(ctx context.Context, q Request, r *roles, target view, words string) (snapshot.Number, error) {
	if q.RestoreShared {
		if _, err := u.requestRestore(r.booted, target); err != nil {
			return 0, err
		}
	}
	q.Kind, q.From, q.KeepUnchanged = KindRollback, strconv.FormatUint(uint64(target.number), 10), true
	if q.Message == "" {
		q.Message = words
	}
	nothing := func(*Transaction) error { return nil }
	t, e, err := u.start(ctx, q, nothing)
	if err != nil {
		return 0, err
	}
	defer e.leave()
	err = t.commit(e.ctx)
	if err == nil {
		if e := u.noteRestoreAt(r.booted, t.number, q.RestoreShared); e != nil {
			err = &derivedError{e}
		}
	}
	t.settle(err)
	return t.number, t.State().Failure
}

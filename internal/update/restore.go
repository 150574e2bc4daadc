// Taking back what was handed over to shared trees: at the boot of a root that
// was rolled back to, where that was asked for, and where a hand-over was cut
// short and another root boots.

package update

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/txupd/txupd/internal/failpoint"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/handover"
	"github.com/txupd/txupd/internal/sharedtree"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// restoreRequest is the value of restoreKey: at the first boot of To, or of what
// was made of it, what was handed over at boots of From is taken back.
type restoreRequest struct {
	From     uint64 `json:"from"`
	FromRoot string `json:"from_root"` // the uuid of its subvolume
	To       uint64 `json:"to"`
}

// requestRestore is the value of a request to take back, at the boot of a target,
// what the running root handed over; nil where there is nothing to take back.
func (u *Updater) requestRestore(booted, to view) ([]byte, error) {
	if booted.same(to) {
		return nil, nil
	}
	done, err := readHandedTo(u.Store.Dir(booted.number))
	if err != nil {
		return nil, err
	}
	forked := slices.ContainsFunc(done.Trees, func(t handedTree) bool { return t.Forked })
	if !forked && len(done.Trees) > 0 {
		return nil, fmt.Errorf("%w: what snapshot %d handed over to shared trees cannot be taken back: they are no btrfs subvolumes that could be forked; --var=keep leaves it",
			fault.ErrNotSupported, booted.number)
	}
	if !forked && handedAtBoot(u, booted) {
		return nil, fmt.Errorf("%w: what snapshot %d handed over to shared trees cannot be taken back any more: what that takes is kept until its boot is found good; --var=keep leaves it",
			fault.ErrNotSupported, booted.number)
	}
	if !forked {
		return nil, nil
	}
	return json.Marshal(restoreRequest{From: booted.rec.Number, FromRoot: booted.subvolume.UUID.String(), To: to.rec.Number})
}

// noteRestore makes a request the only one; nil is none.
func (u *Updater) noteRestore(request []byte) error {
	_, before, err := u.handOverNotes()
	if err != nil || before == nil && request == nil {
		return err
	}
	return u.Journal.Update(func(tx *journal.Tx) error { return tx.PutMeta(restoreKey, request) })
}

// noteRestoreAt is noteRestore for a snapshot that was made just now; where
// nothing is to be taken back a request of before is void.
func (u *Updater) noteRestoreAt(booted view, to snapshot.Number, restore bool) error {
	if !restore {
		return u.noteRestore(nil)
	}
	target, err := u.existing(to)
	if err != nil {
		return &derivedError{err}
	}
	request, err := u.requestRestore(booted, target)
	if err == nil {
		err = u.noteRestore(request)
	}
	if err != nil {
		return &derivedError{err}
	}
	return nil
}

// handedAtBoot reports whether a boot of the snapshot handed anything over.
func handedAtBoot(u *Updater, v view) bool {
	return slices.ContainsFunc(append([]uint64{v.rec.Number}, v.rec.SharedBelow...), func(n uint64) bool {
		rec, err := u.recordOf(n)
		return err == nil && slices.ContainsFunc(rec.Shared, func(s record.SharedTree) bool { return s.By != nil && *s.By == v.rec.Number && s.HandedOver != nil })
	})
}

// restoreShared does what a request wants, if this is the boot that it is for.
func (u *Updater) restoreShared(ctx context.Context, booted view, q restoreRequest, h *HandOver) error {
	if booted.subvolume.UUID.String() == q.FromRoot {
		return nil // it has not been left yet
	}
	meant, err := u.isMeant(booted.rec, q)
	if err != nil {
		return err
	}
	if !meant {
		h.leave("what snapshot %d handed over to shared trees is not taken back: that was asked for a boot of snapshot %d", q.From, q.To)
		return u.Journal.Update(func(tx *journal.Tx) error { return tx.PutMeta(restoreKey, nil) })
	}
	dir := u.Store.Dir(snapshot.Number(q.From))
	done, err := readHandedTo(dir)
	if err != nil {
		return err
	}
	trees, _, err := u.sharedTrees()
	if err != nil {
		return err
	}
	for _, t := range done.Trees {
		if !t.Forked {
			h.leave("what snapshot %d handed over to %s stays: that could not be forked before", q.From, t.Tree)
			continue
		}
		kept := sharedtree.Kept{Dir: dir, Tree: t.Tree}
		if err := u.undoTree(ctx, q.From, kept, t.rows(), trees, h); err != nil {
			return err
		}
		if err := u.recordUndone(t); err != nil {
			return err
		}
	}
	if err := u.endUndone(restoreKey, h); err != nil {
		return err
	}
	return u.dropKept(snapshot.Number(q.From))
}

// isMeant reports whether a record is of the snapshot that was rolled back to, or
// of what was made of that since, and not of what was left.
func (u *Updater) isMeant(rec record.Record, q restoreRequest) (yes bool, err error) {
	err = u.Journal.View(func(tx *journal.Tx) error {
		for {
			if yes = rec.Number == q.To; yes || rec.Number == q.From || rec.Parent == nil {
				return nil
			}
			parent, err := tx.Record(*rec.Parent)
			if errors.Is(err, journal.ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			rec = parent
		}
	})
	return yes, err
}

// undoTree gives one live tree back what it was.
func (u *Updater) undoTree(ctx context.Context, from uint64, kept sharedtree.Kept, rows []handover.Row, trees []sharedtree.Tree, h *HandOver) error {
	i := slices.IndexFunc(trees, func(t sharedtree.Tree) bool { return t.Path == kept.Tree && captures(t) && t.Subvolume })
	if i < 0 {
		return fmt.Errorf("cannot take back what snapshot %d handed over to %s: it is not mounted there", from, kept.Tree)
	}
	var became []handover.Row
	err := failpoint.Around("hand-over/undo", func() (err error) {
		became, err = handover.Undo(ctx, handover.UndoRequest{
			Number: from, Tree: kept.Tree, Live: trees[i].Dir, Before: kept.Before(), After: kept.After(), Rows: rows,
		})
		return err
	})
	if err != nil {
		return err
	}
	left := 0
	for _, r := range became {
		if r.Decision == handover.Kept || r.Decision == handover.Skipped {
			left++
			h.leave("%s stays as it is: %s", r.Path, r.Reason)
		}
	}
	h.did("took back what snapshot %d handed over to %s: %d paths", from, kept.Tree, len(became)-left)
	return nil
}

// recordUndone writes down that a tree has nothing any more of what was handed over to it.
func (u *Updater) recordUndone(t handedTree) error {
	changed, err := u.changeShares(t, func(_ handedShare, _ record.Record, tree *record.SharedTree) {
		tree.HandedOver, tree.By, tree.Became, tree.Decisions = nil, nil, nil, nil
	})
	if err != nil {
		return err
	}
	return u.Journal.Update(func(tx *journal.Tx) error { return putAll(tx, "taken-back", changed) })
}

// endUndone forgets that something was to be taken back, and tells what became of it.
func (u *Updater) endUndone(key string, h *HandOver) error {
	return u.Journal.Update(func(tx *journal.Tx) error {
		return errors.Join(tx.PutMeta(key, nil), tx.Tell("taken-back", nil, slices.Concat(h.Done, h.Left)))
	})
}

// takeBackInterrupted takes back a hand-over that was cut short at a boot of
// another root than the one that runs: half of it is no state that anybody meant.
func (u *Updater) takeBackInterrupted(ctx context.Context, way underWay, h *HandOver) error {
	dir := u.Store.Dir(snapshot.Number(way.Number))
	if rec, err := u.recordOf(way.Number); err == nil && rec.Deleted == nil {
		if err := u.takeBackHalves(ctx, rec, dir, h); err != nil {
			return err
		}
	} else if err != nil && !errors.Is(err, fault.ErrNotFound) {
		return err
	}
	if err := u.endUndone(handOverKey, h); err != nil {
		return err
	}
	return u.dropKept(snapshot.Number(way.Number))
}

func (u *Updater) takeBackHalves(ctx context.Context, rec record.Record, dir string, h *HandOver) error {
	done, err := readHandedTo(dir)
	if err != nil {
		return err
	}
	trees, _, err := u.sharedTrees()
	if err != nil {
		return err
	}
	shares, err := u.everyShare(rec)
	if err != nil {
		return err
	}
	for _, tree := range treesOf(shares) {
		kept := sharedtree.Kept{Dir: dir, Tree: tree}
		if _, err := os.Lstat(kept.Before()); errors.Is(err, fs.ErrNotExist) {
			continue // it was not begun, or could not be forked
		} else if err != nil {
			return err
		}
		i := slices.IndexFunc(trees, func(t sharedtree.Tree) bool { return t.Path == tree && captures(t) && t.Subvolume })
		if i < 0 {
			return fmt.Errorf("cannot take back what snapshot %d handed over to %s: it is not mounted there", rec.Number, tree)
		}
		t := done.of(tree)
		rows := t.rows()
		if len(t.Given) == 0 { // it was in the middle of this one
			if rows, err = u.rowsOfHalf(ctx, sharesOf(shares, tree), trees[i]); err != nil {
				return err
			}
			if err := kept.ForkAfter(u.Driver, trees[i]); err != nil {
				return err
			}
		}
		if err := u.undoTree(ctx, rec.Number, kept, rows, trees, h); err != nil {
			return err
		}
		if err := u.recordUndone(t); err != nil {
			return err
		}
	}
	return nil
}

// rowsOfHalf is what became, or would have become, of paths in a hand-over that was cut short.
func (u *Updater) rowsOfHalf(ctx context.Context, shares []share, live sharedtree.Tree) ([]handover.Row, error) {
	var rows []handover.Row
	for _, s := range shares {
		given, err := handover.Give(ctx, handover.Request{Capture: u.given(snapshot.Number(s.rec.Number), &s.capture), Live: live.Dir, DryRun: true})
		if err != nil && !errors.Is(err, handover.ErrFormat) {
			return nil, err
		}
		rows = append(rows, given...)
	}
	return rows, nil
}

// everyShare lists the captures that a boot of a snapshot is concerned with, the oldest first.
func (u *Updater) everyShare(rec record.Record) ([]share, error) {
	var list []share
	for _, n := range slices.Backward(append([]uint64{rec.Number}, rec.SharedBelow...)) {
		one, err := u.recordOf(n)
		if errors.Is(err, fault.ErrNotFound) || err == nil && one.Deleted != nil {
			continue
		}
		if err != nil {
			return nil, err
		}
		made, err := u.loadCaptures(snapshot.Number(n))
		if err != nil {
			return nil, err
		}
		for _, c := range made {
			if tree := sharedOf(&one, c.Tree); tree != nil && (tree.HandedOver == nil || *tree.By == rec.Number) {
				list = append(list, share{one, c})
			}
		}
	}
	return list, nil
}

// dropKept removes what was kept to take back what was handed over at boots of a snapshot.
func (u *Updater) dropKept(n snapshot.Number) error {
	dir := u.Store.Dir(n)
	if err := sharedtree.RemoveKept(u.Driver, dir); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, handedFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	sharedtree.RemoveDirectories(dir)
	return nil
}

// A journal that is lost is made anew from what stands beside the snapshots.

package update

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// rebuilt is a record with its file changes.
type rebuilt struct {
	rec   record.Record
	files []record.FileChange
}

// rebuild fills an empty journal if there are snapshots of ours: it was damaged
// and set aside, or deleted. All of it is one journal commit, so that a crash
// leaves it empty and the next start begins again.
func (u *Updater) rebuild(ctx context.Context) error {
	var events uint64
	if err := u.Journal.View(func(tx *journal.Tx) error {
		head, err := tx.Head()
		events = head.Seq
		return err
	}); err != nil || events > 0 {
		return err
	}
	entries, err := u.Store.Entries()
	if err != nil {
		return err
	}
	next, err := u.nextUnrecorded()
	if err != nil {
		return err
	}
	why := u.Damage
	if why == "" {
		why = "the journal was missing"
	}
	warning := why + "; this was rebuilt from the snapshot"
	var found []rebuilt
	var lost []snapshot.RemoveRequest
	for _, e := range entries {
		one, ok := u.reread(ctx, e, warning)
		if !ok {
			continue
		}
		if one.rec.Phase == record.Open && e.Snapshot.Identity() != next {
			// Without its steps it cannot go on.
			one.rec.Phase = record.Failed
			lost = append(lost, snapshot.RemoveRequest{Number: e.Number, UUID: one.rec.UUID})
		} else {
			one.rec.Phase = record.Committed
		}
		found = append(found, one)
	}
	if len(found) == 0 {
		return nil
	}
	u.Log.Error(why, "rebuilt", len(found))
	err = u.Journal.Update(func(tx *journal.Tx) error {
		for _, one := range found {
			if err := tx.Put("rebuilt", nil, one.rec); err != nil {
				return err
			}
			if len(one.files) == 0 {
				continue
			}
			if err := tx.PutFiles(one.rec.Number, one.files); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot rebuild the journal: %w", err)
	}
	for _, r := range lost {
		err = errors.Join(err, u.Store.Remove(r))
	}
	return err
}

// nextUnrecorded is what boots next, found without any record.
func (u *Updater) nextUnrecorded() (snapshot.Identity, error) {
	f, err := u.facts()
	if err != nil {
		return snapshot.Identity{}, err
	}
	if f.Mode == boot.FollowsMenu {
		n, err := u.menuDefault()
		if err != nil || n == nil {
			return snapshot.Identity{}, err
		}
		root, err := u.Driver.Info(u.Store.Path(snapshot.Number(*n), snapshot.RoleSnapshot))
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return root.Identity(), err
	}
	standby, err := u.Store.Default()
	return standby.Identity(), err
}

// reread takes the record from the marker and the file changes from the images.
// A marker that makes no sense is left alone and said.
func (u *Updater) reread(ctx context.Context, e snapshot.Entry, warning string) (rebuilt, bool) {
	if e.Marker == nil {
		return rebuilt{}, false // another tool's
	}
	t := &Transaction{u: u, number: e.Number}
	err := json.Unmarshal(e.Marker.Record, &t.rec)
	if err == nil && (t.rec.Number != uint64(e.Number) || t.rec.UUID != e.Marker.UUID) {
		err = errors.New("it speaks of another transaction")
	}
	if err == nil {
		err = t.learnSubvolumes()
	}
	if err != nil {
		u.Log.Error("cannot rebuild a record", "snapshot", e.Number, "error", err)
		return rebuilt{}, false
	}
	t.warn(warning)
	if t.hidden, err = u.hiddenTrees(); err != nil {
		u.Log.Error("cannot tell shared trees", "error", err)
	}
	one := rebuilt{}
	if t.rec.Phase == record.Committed {
		if one.files, err = t.changes(ctx); err != nil {
			t.warn(fmt.Sprintf("the file changes are lost: %v", err))
		}
	}
	one.rec = t.rec
	return one, true
}

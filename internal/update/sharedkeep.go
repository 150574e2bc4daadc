// How long captures, and what it takes to take them back, are kept.

package update

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/txupd/txupd/internal/sharedtree"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// keeping is what the snapshots that stand need of captures.
type keeping struct {
	records []record.Record
	// handed is what is kept of hand-overs, by the snapshot that was booted.
	handed map[uint64]handedTo
	// wanted are the snapshots whose hand-over is to be taken back, or is under way.
	wanted []uint64
}

// keeping looks at the snapshots that have anything of captures.
func (u *Updater) keeping() (*keeping, error) {
	k := &keeping{handed: map[uint64]handedTo{}}
	way, request, err := u.handOverNotes()
	if err != nil {
		return nil, err
	}
	if way != nil {
		k.wanted = append(k.wanted, way.Number)
	}
	if request != nil {
		k.wanted = append(k.wanted, request.From)
	}
	err = u.Journal.View(func(tx *journal.Tx) error {
		for rec, err := range u.standing(tx) {
			if err != nil {
				return err
			}
			if rec.Deleted == nil && (rec.Phase == record.Committed || rec.Phase == record.Open) {
				k.records = append(k.records, rec)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, rec := range k.records {
		done, err := readHandedTo(u.Store.Dir(snapshot.Number(rec.Number)))
		if err != nil {
			return nil, err
		}
		if len(done.Trees) > 0 {
			k.handed[rec.Number] = done
		}
	}
	return k, nil
}

// neededBy is the snapshot whose next hand-over, or what is shown to it, needs the
// captures of another one; 0 for none.
func (k *keeping) neededBy(n uint64) uint64 {
	own := slices.IndexFunc(k.records, func(r record.Record) bool { return r.Number == n })
	waits := own >= 0 && !handedOver(k.records[own])
	for _, r := range k.records {
		if !slices.Contains(r.SharedBelow, n) {
			continue
		}
		if waits || r.Phase == record.Open || !handedOver(r) || k.canBeUndone(r.Number) {
			return r.Number
		}
	}
	return 0
}

// canBeUndone reports whether what a transaction captured may be taken back, and
// handed over once more then.
func (k *keeping) canBeUndone(n uint64) bool {
	for _, done := range k.handed {
		for _, t := range done.Trees {
			if slices.ContainsFunc(t.Given, func(g handedShare) bool { return g.Number == n }) {
				return true
			}
		}
	}
	return false
}

// protectsShared says why a snapshot must not be deleted for what it has of shared trees, "" if it may.
func (u *Updater) protectsShared(rec record.Record, keeping func() (*keeping, error)) (string, error) {
	if len(rec.Shared) == 0 && !sharedtree.Any(u.Store.Dir(snapshot.Number(rec.Number))) {
		return "", nil
	}
	k, err := keeping()
	if err != nil {
		return "", err
	}
	if slices.Contains(k.wanted, rec.Number) {
		return "what it handed over to shared trees is to be taken back first", nil
	}
	if by := k.neededBy(rec.Number); by != 0 {
		return fmt.Sprintf("snapshot %d needs what it captured of shared trees", by), nil
	}
	return "", nil
}

// tidyShared removes what nobody needs of captures any more. good is the snapshot
// that was found good just now, nil for none: nothing older is taken back then.
func (u *Updater) tidyShared(good *uint64) error {
	if some, err := u.anyShared(); err != nil || !some {
		return err
	}
	k, err := u.keeping()
	if err != nil {
		return err
	}
	for _, rec := range k.records {
		done, kept := k.handed[rec.Number]
		if rec.Phase == record.Open { // whoever works on it may be making captures now
			continue
		}
		if slices.Contains(k.wanted, rec.Number) || kept && good == nil && !goodSince(rec, done.Boot) && k.stillHanded(rec.Number) {
			continue
		}
		if err := u.dropKept(snapshot.Number(rec.Number)); err != nil {
			return err
		}
		delete(k.handed, rec.Number)
	}
	for _, rec := range k.records {
		if err := u.dropCaptures(k, rec); err != nil {
			return err
		}
	}
	return nil
}

// stillHanded reports whether the records say that the hand-over holds: one that was taken back does not.
func (k *keeping) stillHanded(by uint64) bool {
	return slices.ContainsFunc(k.records, func(r record.Record) bool {
		return slices.ContainsFunc(r.Shared, func(s record.SharedTree) bool { return s.By != nil && *s.By == by })
	})
}

// anyShared reports whether any snapshot has captures or forks, which costs little where there are none.
func (u *Updater) anyShared() (bool, error) {
	numbers, err := u.Store.Numbers()
	return slices.ContainsFunc(numbers, func(n snapshot.Number) bool {
		dir := u.Store.Dir(n)
		_, handed := os.Lstat(filepath.Join(dir, handedFile))
		return handed == nil || sharedtree.Any(dir)
	}), err
}

// dropCaptures removes the captures of a snapshot that were handed over, and that
// nobody needs, and with them their place in the record.
func (u *Updater) dropCaptures(k *keeping, rec record.Record) error {
	if rec.Phase != record.Committed || len(rec.Shared) == 0 || k.neededBy(rec.Number) != 0 || k.canBeUndone(rec.Number) {
		return nil
	}
	dir := u.Store.Dir(snapshot.Number(rec.Number))
	changed := false
	for _, tree := range rec.Shared {
		if tree.HandedOver == nil {
			continue
		}
		c := sharedtree.Capture{Dir: dir, Tree: tree.Tree}
		if err := c.Remove(u.Driver); err != nil {
			return err
		}
		for _, role := range c.Roles() {
			if _, ok := rec.Subvolumes[role]; ok {
				changed = true
			}
		}
	}
	sharedtree.RemoveDirectories(dir)
	if !changed {
		return nil
	}
	// Gone for good before the record forgets them.
	if err := u.Driver.Sync(u.Root); err != nil {
		return err
	}
	without := func(r *record.Record) {
		r.Subvolumes = maps.Clone(r.Subvolumes)
		for _, tree := range rec.Shared {
			if tree.HandedOver == nil {
				continue
			}
			for _, role := range (&sharedtree.Capture{Tree: tree.Tree}).Roles() {
				delete(r.Subvolumes, role)
			}
		}
	}
	marked := rec
	without(&marked)
	if err := u.markAgain(marked); err != nil {
		return err
	}
	return u.Journal.Update(func(tx *journal.Tx) error {
		now, err := tx.Record(rec.Number)
		if err != nil {
			return err
		}
		without(&now)
		return tx.Put("captures-removed", nil, now)
	})
}

// goodSince reports whether a boot of a snapshot was found good, the given one or a later one.
func goodSince(rec record.Record, boot string) bool {
	at := slices.IndexFunc(rec.Boots, func(b record.Boot) bool { return b.BootID == boot })
	return at >= 0 && slices.ContainsFunc(rec.Boots[at:], func(b record.Boot) bool { return b.Verdict == record.Good })
}

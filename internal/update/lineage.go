// The ancestry of snapshots.

package update

import (
	"cmp"
	"errors"
	"slices"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
)

// Tree describes every snapshot that exists and, where those were deleted, the
// ancestors that connect them, by number.
func (u *Updater) Tree() (bus.List, error) {
	doc, err := u.List()
	if err != nil {
		return doc, err
	}
	known := map[uint64]bool{}
	for _, s := range doc.Snapshots {
		known[s.Number] = true
	}
	err = u.Journal.View(func(tx *journal.Tx) error {
		for i := 0; i < len(doc.Snapshots); i++ { // what is added is looked at too
			p := doc.Snapshots[i].Parent
			if p == nil || known[*p] {
				continue
			}
			known[*p] = true
			rec, err := tx.Record(*p)
			if errors.Is(err, journal.ErrNotFound) {
				continue
			} else if err != nil {
				return err
			}
			doc.Snapshots = append(doc.Snapshots, recordedSnapshot(rec))
		}
		return nil
	})
	slices.SortStableFunc(doc.Snapshots, func(a, b bus.Snapshot) int { return cmp.Compare(a.Number, b.Number) })
	return doc, err
}

// recordedSnapshot describes a snapshot by its record alone.
func recordedSnapshot(rec record.Record) bus.Snapshot {
	return bus.Snapshot{
		Number: rec.Number, Phase: rec.Phase, Verdict: rec.Verdict, Roles: []string{}, Created: rec.Created, Kernel: rec.Kernel,
		Message: rec.Message, Kind: rec.Kind, Tags: append([]string{}, rec.Tags...), Parent: rec.Parent,
		Packages: rec.Packages, Files: rec.Files, Pinned: rec.Pinned, Adopted: rec.Adopted, Deleted: rec.Deleted,
	}
}

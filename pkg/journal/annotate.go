// What people add to a record after the fact.

package journal

import (
	"encoding/json"
	"fmt"

	"github.com/txupd/txupd/pkg/journal/record"
)

// Annotate lets change alter notes, tags and pin of record n, appends an event
// of that kind and returns the record as it is then, without FileChanges. Where
// change alters nothing there is no event. ErrNotFound if there is no such record.
func (tx *Tx) Annotate(kind string, actor *record.Actor, n uint64, change func(*record.Annotations) error) (rec record.Record, err error) {
	err = tx.write(func() error {
		old, err := tx.storedRecord(n)
		if err != nil {
			return err
		}
		if old == nil {
			return ErrNotFound
		}
		if rec, err = tx.decodeRecord(n, old); err != nil {
			return err
		}
		a := record.Annotations{Notes: rec.Notes, Tags: rec.Tags, Pinned: rec.Pinned}
		if err := change(&a); err != nil {
			return err
		}
		rec.Notes, rec.Tags, rec.Pinned = a.Notes, a.Tags, a.Pinned
		patch, err := diffRecord(old, rec)
		if err != nil || len(patch) == 0 {
			return err
		}
		return tx.patch(kind, actor, n, old, patch)
	})
	if err != nil {
		return record.Record{}, fmt.Errorf("cannot annotate snapshot %d: %w", n, err)
	}
	return rec, nil
}

// keepAnnotations puts those of the stored record into rec.
func (tx *Tx) keepAnnotations(stored []byte, rec *record.Record) error {
	var a record.Annotations
	if err := json.Unmarshal(stored, &a); err != nil {
		return tx.damaged("record %d: %v", rec.Number, err)
	}
	rec.Notes, rec.Tags, rec.Pinned = a.Notes, a.Tags, a.Pinned
	return nil
}

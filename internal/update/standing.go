// Which records are looked at: those of what exists, so that the work grows with
// the snapshots that there are and not with all that ever were.

package update

import (
	"errors"
	"iter"
	"slices"

	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// standing iterates over the records with a directory under .snapshots, and that
// of a root outside of it, the highest number first.
func (u *Updater) standing(tx *journal.Tx) iter.Seq2[record.Record, error] {
	return func(yield func(record.Record, error) bool) {
		numbers, err := u.Store.Numbers()
		if err != nil {
			yield(record.Record{}, err)
			return
		}
		for _, n := range slices.Backward(append([]snapshot.Number{0}, numbers...)) {
			rec, err := tx.Record(uint64(n))
			if errors.Is(err, journal.ErrNotFound) {
				continue // another tool's
			}
			if !yield(rec, err) || err != nil {
				return
			}
		}
	}
}

// mostRecent bounds how far back it is looked for what was decided lately.
const mostRecent = 500

// recent iterates over the newest records, whatever became of their snapshots.
func recent(tx *journal.Tx) iter.Seq2[record.Record, error] {
	return func(yield func(record.Record, error) bool) {
		left := mostRecent
		for rec, err := range tx.Records(journal.Newest, true) {
			if left--; left < 0 || !yield(rec, err) || err != nil {
				return
			}
		}
	}
}

// Owners of captured files: a merge of /etc may give users other ids than those
// under which a transaction's packages wrote to shared trees.

package update

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/txupd/txupd/internal/etcmerge"
	"github.com/txupd/txupd/internal/sharedtree"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// reownCaptures gives what renumbered users own in the captures that a boot of
// snapshot n will hand over to their new ids: its own, and those that it is
// stacked on, which have the same users.
func (u *Updater) reownCaptures(ctx context.Context, n snapshot.Number, renumbered []etcmerge.Renumber) error {
	numbers, err := u.capturedFor(n)
	if err != nil {
		return err
	}
	for _, m := range numbers {
		made, err := u.loadCaptures(m)
		if err != nil {
			return err
		}
		for _, c := range made {
			if err := u.reownCapture(ctx, &c, renumbered); err != nil {
				return fmt.Errorf("cannot give what transaction %d captured of %s its new owners: %w", m, c.Tree, err)
			}
		}
	}
	return nil
}

// capturedFor are the snapshots whose captures wait for a boot of snapshot n, and
// itself, the record of which may not be closed yet.
func (u *Updater) capturedFor(n snapshot.Number) ([]snapshot.Number, error) {
	rec, err := u.recordOf(uint64(n))
	if err != nil {
		return nil, err
	}
	var numbers []snapshot.Number
	if rec.Phase == record.Open {
		numbers = append(numbers, n)
	}
	waiting, err := u.waiting(rec)
	for _, w := range waiting {
		numbers = append(numbers, snapshot.Number(w))
	}
	return numbers, err
}

func (u *Updater) reownCapture(ctx context.Context, c *sharedtree.Capture, renumbered []etcmerge.Renumber) error {
	upper, err := os.Open(c.Upper())
	if err != nil {
		return err
	}
	defer upper.Close()
	// What had the old id in the live tree did not belong to the new name.
	below, err := u.belowCapture(c)
	if err != nil {
		return err
	}
	if below != nil {
		defer below.Close()
	}
	sealed, err := c.Sealed(u.Driver)
	if err != nil {
		return err
	}
	if sealed {
		if err := c.SetSealed(u.Driver, false); err != nil {
			return err
		}
	}
	_, err = etcmerge.ReownUpper(ctx, upper, below, renumbered)
	if sealed {
		// Also after an error: whoever hands it over expects it so.
		err = errors.Join(err, c.Seal(u.Driver))
	}
	return err
}

// belowCapture opens what the live tree was, or, where it could not be forked,
// what it is; nil where that is not mounted.
func (u *Updater) belowCapture(c *sharedtree.Capture) (*os.File, error) {
	if c.Forked {
		return os.Open(c.Fork())
	}
	trees, _, err := u.sharedTrees()
	if err != nil {
		return nil, err
	}
	live, err := c.At(trees)
	if errors.Is(err, sharedtree.ErrElsewhere) {
		return nil, nil // late in a shutdown: then the ids alone decide
	}
	if err != nil {
		return nil, err
	}
	return os.Open(live.Dir)
}

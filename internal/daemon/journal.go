// Work on the journal as a whole, without the daemon: also from a rescue system.

package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/snapshot"
)

// journalAt finds the journal of the system at root.
func journalAt(root string) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	store, err := snapshot.Open(root, driver(), snapshot.Options{})
	if err != nil {
		return "", fmt.Errorf("%w: %w", fault.ErrNotSupported, err)
	}
	dir, err := store.StateDir()
	return filepath.Join(dir, "journal.db"), err
}

// inUse gives the errors of the journal their kind.
func inUse(err error) error {
	if errors.Is(err, journal.ErrLocked) {
		return fmt.Errorf("%w: %w; \"systemctl stop txupd\" first", fault.ErrBusy, err)
	}
	return err
}

// ExportJournal writes the journal of the system at root as lines of JSON.
func ExportJournal(ctx context.Context, root string, w io.Writer) error {
	return withJournal(root, func(j *journal.Journal) error { return j.Export(ctx, w) })
}

// CheckJournal verifies it.
func CheckJournal(ctx context.Context, root string) (report journal.Report, err error) {
	return report, withJournal(root, func(j *journal.Journal) error {
		report, err = j.Verify(ctx)
		return err
	})
}

func withJournal(root string, fn func(*journal.Journal) error) error {
	path, err := journalAt(root)
	if err != nil {
		return err
	}
	j, err := journal.Open(path, journal.Options{})
	if err != nil {
		return inUse(err)
	}
	return errors.Join(fn(j), j.Close())
}

// ImportJournal makes the journal of the system at root of exported lines, if it has none or an empty one.
func ImportJournal(ctx context.Context, root string, r io.Reader) error {
	path, err := journalAt(root)
	if err != nil {
		return err
	}
	return inUse(journal.Import(ctx, path, r, journal.Options{}))
}

// CompactJournal gives back the space that the journal's file does not use.
func CompactJournal(root string) error {
	path, err := journalAt(root)
	if err != nil {
		return err
	}
	return inUse(journal.Compact(path, journal.Options{}))
}

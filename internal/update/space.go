// Space on the file system of the root: what a transaction begins with, and what
// is held back so that it can be undone, and snapshots deleted, when it is full.

package update

import (
	"fmt"
	"log/slog"

	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/reserve"
)

// The least free space that a transaction begins with, beside the reserve.
//
// Metadata: renaming asks for 8 MiB for a moment, and what was forked and written
// just before has not given back yet what it asked for. Where nodes have 16 KiB, a
// small transaction is told no in its middle with 9 MiB, and not with 12. Data: so
// that small changes fit. Package managers ask for more and are told no by the file
// system. Undoing, deleting and going back need neither: they have the reserve.
const (
	leastData     = 32 << 20
	leastMetadata = 16 << 20
)

// space refuses a transaction where there is too little, and takes the reserve
// where it is not there: it was needed, and nothing begins without it.
func (u *Updater) space() error {
	usage, err := u.Driver.Usage(u.Root)
	if err != nil {
		return err
	}
	var data, metadata uint64 = leastData, leastMetadata
	whole := true
	if u.Reserve != nil {
		if whole, err = u.Reserve.Whole(); err != nil {
			return err
		}
	}
	if !whole {
		data, metadata = data+reserve.Data, metadata+reserve.Metadata
	}
	if free := usage.Data(); free < data {
		return fmt.Errorf("%w: %d MiB are free for data, at least %d are needed", fault.ErrNoSpace, free/mib, data/mib)
	}
	if free := usage.Metadata(); free < metadata {
		return fmt.Errorf("%w: %d MiB are free for metadata, at least %d are needed", fault.ErrNoSpace, free/mib, metadata/mib)
	}
	if whole {
		return nil
	}
	return u.Reserve.Take()
}

// takeReserve is for the start: the earlier the reserve is taken, the likelier it
// is there. Where there is no space for it transactions are told.
func (u *Updater) takeReserve() {
	if u.Reserve == nil {
		return
	}
	if whole, err := u.Reserve.Whole(); err == nil && whole {
		return
	}
	if err := u.space(); err != nil {
		u.Log.Warn("no space is held in reserve", "error", err)
	}
}

// makeRoom lets go of the reserve where little else is left, before a change that
// gives space back or decides what boots next. Deleting a subvolume and removing
// files need no space, but renaming, writing a menu and recording it do.
func (u *Updater) makeRoom() {
	if u.Reserve == nil {
		return
	}
	usage, err := u.Driver.Usage(u.Root)
	if err == nil && usage.Data() >= reserve.Data && usage.Metadata() >= reserve.Metadata {
		return
	}
	LetGo(u.Reserve, u.Log)
}

// LetGo gives the space in reserve to whoever asks next, and reports whether
// there was any. The next transaction takes it again before it begins.
func LetGo(r *reserve.File, log *slog.Logger) bool {
	released, err := r.Release()
	if err != nil {
		log.Error("the file system is full", "error", err)
	} else if released {
		log.Warn("the file system is full: what was held in reserve is used")
	}
	return released
}

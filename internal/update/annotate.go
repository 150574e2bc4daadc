// Notes, tags and pins after the fact: events like all others.

package update

import (
	"errors"
	"fmt"
	"slices"

	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// MaxTags and mostNotes bound what a record grows to.
const (
	MaxTags   = 64
	mostNotes = 1000
)

// Annotation is what is added to a record, or taken from it.
type Annotation struct {
	Note              string
	AddTags, DropTags []string
	Pin               *bool
}

// Annotate changes the record of a transaction, whatever became of that. It
// waits for nobody: a transaction in progress does not touch another one's record.
func (u *Updater) Annotate(n snapshot.Number, a Annotation, actor record.Actor) error {
	if u.stopping() {
		return fmt.Errorf("%w: the daemon is stopping", fault.ErrBusy)
	}
	var rec record.Record
	err := u.Journal.Update(func(tx *journal.Tx) (err error) {
		rec, err = tx.Annotate(a.event(), &actor, uint64(n), func(now *record.Annotations) error { return u.annotate(a, actor, now) })
		if err == nil && a.Pin != nil && *a.Pin && (rec.Deleted != nil || rec.Phase != record.Committed && rec.Phase != record.Open) {
			err = fmt.Errorf("snapshot %d is no more, and needs no protection: %w", n, fault.ErrNotFound)
		}
		return err
	})
	if errors.Is(err, journal.ErrNotFound) {
		return fmt.Errorf("snapshot %d: %w", n, fault.ErrNotFound)
	}
	if err != nil {
		return err
	}
	u.spread(rec)
	u.notify(Event{Kind: SnapshotsChanged})
	return nil
}

// event is the kind that the chain knows it under.
func (a Annotation) event() string {
	switch {
	case a.Note != "":
		return "note"
	case a.Pin != nil && *a.Pin:
		return "pin"
	case a.Pin != nil:
		return "unpin"
	}
	return "tag"
}

func (u *Updater) annotate(a Annotation, actor record.Actor, now *record.Annotations) error {
	if a.Note != "" {
		if len(now.Notes) >= mostNotes {
			return fmt.Errorf("%w: it has %d notes already", fault.ErrInvalidArgument, len(now.Notes))
		}
		now.Notes = append(now.Notes, record.Note{Time: u.Now().UTC(), Actor: actor, Text: a.Note})
	}
	for _, tag := range a.DropTags {
		i := slices.Index(now.Tags, tag)
		if i < 0 {
			return fmt.Errorf("it has no tag %q: %w", tag, fault.ErrNotFound)
		}
		now.Tags = slices.Delete(slices.Clone(now.Tags), i, i+1)
	}
	for _, tag := range a.AddTags {
		if !slices.Contains(now.Tags, tag) {
			now.Tags = append(now.Tags, tag)
		}
	}
	if len(now.Tags) > MaxTags {
		return fmt.Errorf("%w: that makes %d tags, at most %d are accepted", fault.ErrInvalidArgument, len(now.Tags), MaxTags)
	}
	if a.Pin != nil {
		now.Pinned = *a.Pin
	}
	return nil
}

// spread brings what was annotated to where else it is kept: to a transaction
// in progress, and beside the snapshot for a journal that has to be rebuilt.
func (u *Updater) spread(rec record.Record) {
	if t, err := u.Transaction(snapshot.Number(rec.Number)); err == nil {
		t.mu.Lock()
		t.rec.Notes, t.rec.Tags, t.rec.Pinned = rec.Notes, rec.Tags, rec.Pinned
		finished := t.finished
		t.mu.Unlock()
		if !finished {
			return // its commit marks it
		}
	}
	if rec.Phase != record.Committed || rec.Deleted != nil || rec.Adopted {
		return
	}
	if err := u.mark(rec); err != nil {
		u.Log.Warn("an annotation is in the journal, but not beside its snapshot", "snapshot", rec.Number, "error", err)
	}
}

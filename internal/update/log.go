// Questions to the journal about many transactions.

package update

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
)

// LogRequest selects records; what is empty selects all.
type LogRequest struct {
	Limit   uint64    // 0 is no limit
	Package string    // only transactions that changed it
	Path    string    // only those that changed it or something below it; a pattern
	Since   time.Time // created then or later
	Until   time.Time // created before
	Actor   string    // a user's name or id, who logged in, or a unit
	State   string    // one of bus.States
	Tag     string
	Text    string // in the message or a note, in whatever case
	Brief   bool   // without commands, packages one by one, boots and decisions
}

// Records returns records without their file changes, newest first.
func (u *Updater) Records(q LogRequest) ([]record.Record, error) {
	if q.State != "" && !slices.Contains(bus.States, q.State) {
		return nil, fmt.Errorf("%w: state %q: one of %s is accepted", fault.ErrInvalidArgument, q.State, strings.Join(bus.States, ", "))
	}
	var path *journal.Pattern
	if q.Path != "" {
		p, err := journal.ParsePattern(q.Path)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", fault.ErrInvalidArgument, err)
		}
		path = &p
	}
	found := []record.Record{}
	err := u.Journal.View(func(tx *journal.Tx) error {
		for rec, err := range q.candidates(tx, path) {
			if err != nil {
				return err
			}
			if !q.selects(rec) {
				continue
			}
			if path != nil {
				files, err := tx.FilesMatching(rec.Number, *path)
				if err != nil {
					return err
				}
				if len(files) == 0 {
					continue
				}
			}
			if q.Brief {
				rec.Commands, rec.PackageChanges, rec.Boots, rec.EtcDecisions, rec.Shared = nil, nil, nil, nil, nil
			}
			found = append(found, complete(rec))
			if q.Limit > 0 && uint64(len(found)) >= q.Limit {
				break
			}
		}
		return nil
	})
	return found, err
}

// candidates goes through the records that an index says may be asked for, or all of them.
func (q LogRequest) candidates(tx *journal.Tx, path *journal.Pattern) iter.Seq2[record.Record, error] {
	switch {
	case q.Package != "":
		return recordsOf(tx, each(tx.ByPackage(q.Package)))
	case path != nil:
		return recordsOf(tx, tx.Candidates(path.Below()))
	case !q.Since.IsZero() || !q.Until.IsZero():
		return recordsOf(tx, each(tx.ByTime(q.Since, q.Until)))
	}
	return tx.Records(journal.Newest, true)
}

// each goes through what an index answered.
func each(numbers []uint64, err error) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		if err != nil {
			yield(0, err)
			return
		}
		for _, n := range numbers {
			if !yield(n, nil) {
				return
			}
		}
	}
}

// recordsOf are the records with these numbers.
func recordsOf(tx *journal.Tx, numbers iter.Seq2[uint64, error]) iter.Seq2[record.Record, error] {
	return func(yield func(record.Record, error) bool) {
		for n, err := range numbers {
			var rec record.Record
			if err == nil {
				rec, err = tx.Record(n)
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

// selects asks what can be told by the record alone.
func (q LogRequest) selects(rec record.Record) bool {
	switch {
	case !q.Since.IsZero() && rec.Created.Before(q.Since), !q.Until.IsZero() && !rec.Created.Before(q.Until):
		return false
	case q.Actor != "" && !isActor(rec.Actor, q.Actor):
		return false
	case q.State != "" && !inState(rec, q.State):
		return false
	case q.Tag != "" && !slices.Contains(rec.Tags, q.Tag):
		return false
	}
	return q.Text == "" || says(rec, q.Text)
}

func isActor(a record.Actor, who string) bool {
	return who == a.Name || who == a.Login || who == a.Unit || who == a.BusName || who == strconv.FormatUint(uint64(a.UID), 10)
}

// inState: what was deleted is in that state alone, a verdict is one of what is committed.
func inState(rec record.Record, state string) bool {
	switch {
	case rec.Deleted != nil:
		return state == bus.StateDeleted
	case state == string(rec.Phase):
		return true
	}
	return rec.Phase == record.Committed && state == string(rec.Verdict)
}

func says(rec record.Record, text string) bool {
	text = strings.ToLower(text)
	has := func(s string) bool { return strings.Contains(strings.ToLower(s), text) }
	return has(rec.Message) || slices.ContainsFunc(rec.Notes, func(n record.Note) bool { return has(n.Text) })
}

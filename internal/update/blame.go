// Which transactions changed a path or a package.

package update

import (
	"fmt"
	"strings"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
)

// Blame lists every recorded change of a path, of what is below it, of what
// matches a glob, or of the package of that name, newest first. limit is in
// transactions, 0 for none.
func (u *Updater) Blame(subject string, limit uint64) (bus.Blame, error) {
	doc := bus.Blame{Subject: subject, Changes: []bus.BlamedChange{}, Complete: true}
	if subject == "" {
		return doc, fmt.Errorf("%w: neither a path nor a package is named", fault.ErrInvalidArgument)
	}
	if !strings.Contains(subject, "/") && !strings.ContainsAny(subject, "*?[") {
		doc.IsPackage = true
		return doc, u.Journal.View(func(tx *journal.Tx) error { return blamePackage(tx, &doc, limit) })
	}
	p, err := journal.ParsePattern(subject)
	if err != nil {
		return doc, fmt.Errorf("%w: %w", fault.ErrInvalidArgument, err)
	}
	return doc, u.Journal.View(func(tx *journal.Tx) error {
		transactions := uint64(0)
		for n, err := range tx.Candidates(p.Below()) {
			if err != nil {
				return err
			}
			files, err := tx.FilesMatching(n, p)
			if err != nil {
				return err
			}
			if len(files) == 0 {
				continue
			}
			if transactions++; limit > 0 && transactions > limit {
				doc.Complete = false
				return nil
			}
			rec, err := tx.Record(n)
			if err != nil {
				return err
			}
			for _, f := range files {
				change := blamed(rec)
				change.Path, change.Change, change.Owner = f.Path, f.Change, f.Owner
				doc.Changes = append(doc.Changes, change)
			}
		}
		return nil
	})
}

func blamePackage(tx *journal.Tx, doc *bus.Blame, limit uint64) error {
	numbers, err := tx.ByPackage(doc.Subject)
	if err != nil {
		return err
	}
	if limit > 0 && uint64(len(numbers)) > limit {
		numbers, doc.Complete = numbers[:limit], false
	}
	for _, n := range numbers {
		rec, err := tx.Record(n)
		if err != nil {
			return err
		}
		for _, p := range rec.PackageChanges {
			if p.Name != doc.Subject {
				continue
			}
			change := blamed(rec)
			change.Package, change.Change = &p, p.Change
			doc.Changes = append(doc.Changes, change)
		}
	}
	return nil
}

// blamed is what is told of the transaction.
func blamed(rec record.Record) bus.BlamedChange {
	return bus.BlamedChange{
		Number: rec.Number, Created: rec.Created, Actor: rec.Actor, Kind: rec.Kind, Message: rec.Message,
		Phase: rec.Phase, Verdict: rec.Verdict, Deleted: rec.Deleted,
	}
}

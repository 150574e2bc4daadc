// What is different between two snapshots.

package update

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// DiffRequest says what is to be compared.
type DiffRequest struct {
	// From and To are numbers or words. "" is the booted one and the pending
	// one; where only From is given, To is what boots next. From may be
	// bus.WordBase: what To was made from.
	From, To string
	// Now compares roots as they are now, instead of as they were committed;
	// with twice the same one, it as it is now with it as it was committed.
	Now   bool
	Paths []string // patterns; none is everything
	// Patch adds the contents of files, with so many lines of Context.
	Patch   bool
	Context int
}

// Diff compares two snapshots. Where one was made from the other what was
// recorded then answers, without looking at any file.
func (u *Updater) Diff(ctx context.Context, q DiffRequest) (bus.Diff, error) {
	patterns := make([]journal.Pattern, len(q.Paths))
	for i, text := range q.Paths {
		var err error
		if patterns[i], err = journal.ParsePattern(text); err != nil {
			return bus.Diff{}, fmt.Errorf("%w: %w", fault.ErrInvalidArgument, err)
		}
	}
	d := &differ{u: u, ctx: ctx, q: q}
	if err := d.resolve(); err != nil {
		return bus.Diff{}, err
	}
	doc, err := d.run(patterns)
	if err != nil {
		return bus.Diff{}, fmt.Errorf("cannot compare snapshots %d and %d: %w", d.from.number, d.to.number, classify(err))
	}
	return doc, nil
}

// end is one of two snapshots that are compared.
type end struct {
	number snapshot.Number
	rec    record.Record // the zero one where there is none
	view   view
	// missing is why there is no such snapshot, nil where there is; its record may do.
	missing error
}

// side is where an end is read.
type side struct {
	snapshot.Tree
	state   string
	release func() error // nil where there is nothing to release
}

type differ struct {
	u        *Updater
	ctx      context.Context
	q        DiffRequest
	from, to end
}

// resolve finds both ends.
func (d *differ) resolve() error {
	r, err := d.u.roles()
	if err != nil {
		return err
	}
	from, to := d.q.From, d.q.To
	switch {
	case to == "" && from == "":
		if _, ok := r.pending(); !ok {
			return fmt.Errorf("no snapshot is pending, so name two: %w", fault.ErrNotFound)
		}
		to = bus.WordPending
	case to == "":
		to = bus.WordDefault
	}
	if d.to, err = d.end(r, to); err != nil {
		return err
	}
	if from == bus.WordBase {
		if d.to.rec.Parent == nil {
			return fmt.Errorf("snapshot %d was made from none: %w", d.to.number, fault.ErrNotFound)
		}
		d.from = end{number: snapshot.Number(*d.to.rec.Parent)}
		return nil
	}
	if from == "" {
		from = bus.WordBooted
	}
	d.from, err = d.end(r, from)
	return err
}

// end finds a snapshot, or the record of one that is gone.
func (d *differ) end(r *roles, word string) (end, error) {
	v, err := r.choose(word)
	if err == nil {
		return end{number: v.number, rec: v.rec, view: v}, nil
	}
	n, perr := strconv.ParseUint(word, 10, 64)
	if perr != nil || !errors.Is(err, fault.ErrNotFound) {
		return end{}, err
	}
	rec, rerr := d.u.recordOf(n)
	if rerr != nil || rec.Phase != record.Committed {
		return end{}, err
	}
	return end{number: snapshot.Number(n), rec: rec, missing: err}, nil
}

func (d *differ) run(patterns []journal.Pattern) (bus.Diff, error) {
	doc := bus.Diff{
		From: uint64(d.from.number), To: uint64(d.to.number), FromState: bus.SideForked, ToState: bus.SideCommitted,
		Packages: []record.PackageChange{}, Files: []record.FileChange{}, Warnings: []string{},
	}
	selected := func(files []record.FileChange) []record.FileChange {
		if len(patterns) == 0 {
			return files
		}
		return slices.DeleteFunc(files, func(f record.FileChange) bool {
			return !slices.ContainsFunc(patterns, func(p journal.Pattern) bool { return p.Match(f.Path) })
		})
	}
	recorded, reversed := d.direct()
	if recorded != nil {
		doc.Recorded = true
		files, err := d.u.filesOf(recorded.Number)
		if err != nil {
			return doc, err
		}
		doc.Files, doc.Packages = append(doc.Files, selected(files)...), append(doc.Packages, recorded.PackageChanges...)
		if reversed {
			doc.FromState, doc.ToState = bus.SideCommitted, bus.SideForked
			reverse(&doc)
		}
	}
	if recorded == nil || d.q.Patch {
		// Anybody may ask, and it takes forks and work: one at a time.
		d.u.comparing.Lock()
		defer d.u.comparing.Unlock()
		before, after, err := d.sides()
		if err != nil {
			return doc, err
		}
		defer d.release(before)
		defer d.release(after)
		doc.FromState, doc.ToState = before.state, after.state
		if recorded == nil {
			if err := d.compare(before, after, &doc); err != nil {
				return doc, err
			}
			doc.Files = selected(doc.Files)
		}
		if d.q.Patch {
			if err := d.patch(before, after, &doc); err != nil {
				return doc, err
			}
		}
	}
	doc.PackageCounts, doc.FileCounts = record.CountPackages(doc.Packages), record.CountFiles(doc.Files)
	return doc, nil
}

// direct returns the record of the end that was made from the other one, if
// that answers the question; reversed tells that it is the first one.
func (d *differ) direct() (rec *record.Record, reversed bool) {
	is := func(child, parent end) bool {
		return child.rec.Parent != nil && *child.rec.Parent == uint64(parent.number) && child.rec.Phase == record.Committed
	}
	switch {
	case d.q.Now && d.q.From != bus.WordBase:
		return nil, false
	case is(d.to, d.from):
		return &d.to.rec, false
	case is(d.from, d.to):
		return &d.from.rec, true
	}
	return nil, false
}

// reverse turns a difference around.
func reverse(doc *bus.Diff) {
	for i, f := range doc.Files {
		doc.Files[i].Change = record.Opposite(f.Change)
	}
	for i, p := range doc.Packages {
		doc.Packages[i].Old, doc.Packages[i].New, doc.Packages[i].Reason = p.New, p.Old, ""
		doc.Packages[i].Change = record.Opposite(p.Change)
	}
}

// sides finds where both are read.
func (d *differ) sides() (before, after side, err error) {
	if d.q.Now && d.q.From != bus.WordBase {
		return d.sidesNow()
	}
	// Of two where one goes back to the other, what the line began with counts:
	// what hands did to the elder one before that is in both.
	before, err = d.forked(d.to, d.from)
	if errors.Is(err, fs.ErrNotExist) {
		if d.q.From == bus.WordBase {
			return before, after, fmt.Errorf("what snapshot %d was made from is gone: %w", d.to.number, fault.ErrNotFound)
		}
		before, err = d.committed(d.from)
	}
	if err != nil {
		return before, after, err
	}
	after, err = d.forked(d.from, d.to)
	if errors.Is(err, fs.ErrNotExist) {
		after, err = d.committed(d.to)
	}
	if err != nil {
		d.release(before)
	}
	return before, after, err
}

func (d *differ) sidesNow() (before, after side, err error) {
	if d.from.number == d.to.number {
		if before, err = d.committedImage(d.from); err == nil {
			after, err = d.now(d.to)
		}
		return before, after, err
	}
	if before, err = d.now(d.from); err != nil {
		return before, after, err
	}
	if after, err = d.now(d.to); err != nil {
		d.release(before)
	}
	return before, after, err
}

// forked is the image of ancestor that the line which leads to heir began with; fs.ErrNotExist where there is none.
func (d *differ) forked(heir, ancestor end) (side, error) {
	child := heir.rec
	for child.Parent != nil && *child.Parent != uint64(ancestor.number) {
		if *child.Parent >= child.Number {
			return side{}, fs.ErrNotExist
		}
		var err error
		if child, err = d.u.recordOf(*child.Parent); err != nil {
			return side{}, fs.ErrNotExist
		}
	}
	if child.Parent == nil || heir.number == ancestor.number {
		return side{}, fs.ErrNotExist
	}
	return d.image(child, snapshot.RoleBase, bus.SideForked)
}

// image is one that was made with a transaction.
func (d *differ) image(rec record.Record, role snapshot.Role, state string) (side, error) {
	t, err := d.u.tree(snapshot.Number(rec.Number), role)
	if err != nil {
		return side{}, err
	}
	if want := rec.Subvolumes[string(role)]; want.UUID != t.Subvolume.UUID.String() {
		return side{}, fmt.Errorf("the image of snapshot %d: %w", rec.Number, snapshot.ErrForeign)
	}
	return side{Tree: t, state: state}, nil
}

func (d *differ) committedImage(e end) (side, error) {
	s, err := d.image(e.rec, snapshot.RoleAfter, bus.SideCommitted)
	if errors.Is(err, fs.ErrNotExist) {
		if e.missing != nil {
			return s, e.missing
		}
		err = fmt.Errorf("%w: snapshot %d has no image of its commit", fault.ErrNotSupported, e.number)
	}
	return s, err
}

// committed is the image of the commit; a root that txupd did not make has none, and is taken as it is.
func (d *differ) committed(e end) (side, error) {
	if e.missing == nil && (e.view.foreign || e.rec.Adopted) {
		return d.now(e)
	}
	return d.committedImage(e)
}

// now holds a root still as it is.
func (d *differ) now(e end) (side, error) {
	if e.missing != nil {
		return side{}, e.missing
	}
	t, release, err := d.u.Store.Still(e.view.subvolume.Identity(), uuid.NewString())
	if errors.Is(err, snapshot.ErrSwapFile) { // slower, and it moves, but it can be read
		dir, lerr := d.u.Store.Locate(e.view.subvolume.Identity())
		return side{Tree: snapshot.Tree{Dir: dir, Subvolume: e.view.subvolume}, state: bus.SideNow}, lerr
	}
	return side{Tree: t, state: bus.SideNow, release: release}, err
}

func (d *differ) release(s side) {
	if s.release == nil {
		return
	}
	if err := s.release(); err != nil {
		d.u.Log.Warn("an image that was compared could not be removed; the next start does", "error", err)
	}
}

// compare finds files, their owners, and packages.
func (d *differ) compare(before, after side, doc *bus.Diff) error {
	u := d.u
	found, err := snapshot.Compare(d.ctx, u.Search, before.Tree, after.Tree)
	if err != nil {
		return err
	}
	if found, err = u.withoutPopulated(found, after.Dir); err != nil {
		return err
	}
	hidden, err := u.hiddenTrees()
	if err != nil {
		return err
	}
	doc.Files = append(doc.Files, visible(found, hidden)...)
	m, err := u.manager()
	if err != nil {
		return nil // no package manager: every file is nobody's
	}
	ctx, cancel := context.WithTimeout(d.ctx, queryTimeout)
	defer cancel()
	old, now := u.rootOf(before.Dir, d.from.number), u.rootOf(after.Dir, d.to.number)
	if err := own(ctx, m, old, now, doc.Files); err != nil {
		doc.Warnings = append(doc.Warnings, fmt.Sprintf("the owners of files are not known: %v", err))
	}
	changes, err := packageChanges(ctx, m, old, now, doc.Files)
	if err != nil {
		doc.Warnings = append(doc.Warnings, fmt.Sprintf("the changes of packages are not known: %v", err))
	}
	doc.Packages = append(doc.Packages, changes...)
	return nil
}

// filesOf are the recorded files of a transaction.
func (u *Updater) filesOf(n uint64) (files []record.FileChange, err error) {
	err = u.Journal.View(func(tx *journal.Tx) error {
		files, err = tx.Files(n)
		return err
	})
	return files, err
}

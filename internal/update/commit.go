// The commit: what was done is sealed, compared and recorded, and then one
// atomic switch makes it what boots next.

package update

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/inroot"
	"github.com/txupd/txupd/internal/pkgmgr"
	"github.com/txupd/txupd/pkg/journal"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// errNoChange ends a transaction that changed nothing.
var errNoChange = errors.New("nothing changed")

// derivedError is a failure after the commit point: the new snapshot boots
// next, and the rest will be reconciled.
type derivedError struct{ err error }

func (e *derivedError) Error() string {
	return fmt.Sprintf("%v: %v", fault.ErrUnreconciled, e.err)
}
func (e *derivedError) Unwrap() []error { return []error{fault.ErrUnreconciled, e.err} }

// CommitOptions change a commit.
type CommitOptions struct {
	Message       string // "" leaves the one of the beginning
	KeepUnchanged bool
	// Strict: where the merge of /etc has conflicts, nothing is committed, and the transaction stays open.
	Strict bool
}

// Commit starts the commit of an open transaction; the event TransactionFinished tells its end.
func (t *Transaction) Commit(o CommitOptions) error {
	e, err := t.enter(context.Background())
	if err != nil {
		return err
	}
	if o.Strict {
		if err := t.foresee(e.ctx); err != nil {
			e.leave()
			return err
		}
	}
	t.mu.Lock()
	if o.Message != "" {
		t.rec.Message = o.Message
	}
	t.strict = t.strict || o.Strict
	t.keep = t.keep || o.KeepUnchanged
	t.mu.Unlock()
	go func() {
		defer e.leave()
		t.settle(t.commit(e.ctx))
	}()
	return nil
}

// commit does everything from the end of the last command to the record of the
// commit. The caller settles the transaction with what it returns.
func (t *Transaction) commit(ctx context.Context) error {
	u := t.u
	t.setCommitting(true)
	defer t.setCommitting(false)
	defer u.delayShutdown(fmt.Sprintf("transaction %d is being committed", t.number))()
	t.progress("commit", "ending what still runs")
	t.leave() // every process that could write is dead from here on
	t.output.finish()
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	t.plan.Did(stepCapture) // where no command ran nothing is to be captured
	if err := u.engine.Do(ctx, t.plan, stepSeal); err != nil {
		return fmt.Errorf("cannot seal snapshot %d: %w", t.number, err)
	}
	t.progress("commit", "looking at what changed")
	files, err := t.changes(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("cannot compare snapshot %d with what it started from: %w", t.number, err)
	}
	if len(files) == 0 && !t.worth && !t.keep {
		return errNoChange
	}
	if t.decide != nil {
		t.mu.Lock()
		packages := t.rec.PackageChanges
		t.mu.Unlock()
		if err := t.decide(packages); err != nil {
			return err
		}
	}
	t.progress("commit", "merging /etc")
	merged, err := t.mergeEtc(ctx, files)
	if err != nil {
		return fmt.Errorf("cannot merge the /etc that runs into snapshot %d: %w", t.number, err)
	}
	if merged {
		if err := u.seal(ctx, t.made()); err != nil {
			return fmt.Errorf("cannot seal snapshot %d: %w", t.number, err)
		}
		if files, err = t.changes(ctx); err != nil {
			return fmt.Errorf("cannot compare snapshot %d with what it started from: %w", t.number, err)
		}
	}
	if t.plan.Has(stepStage) {
		t.progress("commit", "preparing its boot")
		if err := u.engine.Do(ctx, t.plan, stepStage); err != nil {
			return classify(err)
		}
	}
	if err := t.output.save(fmt.Sprint(t.number)); err != nil {
		t.warn(fmt.Sprintf("the output of the commands could not be kept: %v", err))
	}
	if err := t.describeResult(files); err != nil {
		return err
	}
	t.files = files
	t.progress("commit", "making it the default")
	if err := u.engine.Do(ctx, t.plan, ""); err != nil {
		return t.afterSwitch(err)
	}
	return t.recordCommitted(files)
}

// delayShutdown holds back a shutdown until the function that it returns is
// called. Nobody waits for it to be granted: where a shutdown is faster, the
// daemon is told to stop, and ends a commit that it began all the same.
func (u *Updater) delayShutdown(why string) (release func()) {
	if u.Machine.Delay == nil {
		return func() {}
	}
	over := make(chan struct{})
	go func() {
		release, err := u.Machine.Delay(why)
		if err != nil {
			u.Log.Debug("a shutdown is not delayed", "error", err)
			return
		}
		<-over
		release()
	}()
	return func() { close(over) }
}

func (t *Transaction) setCommitting(now bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.committing = now
}

// describeResult writes what the snapshot holds beside it: it becomes durable
// with the switch, so that a switch is never without its record.
func (t *Transaction) describeResult(files []record.FileChange) error {
	if err := t.learnSubvolumes(); err != nil {
		return err
	}
	before := t.u.healthNow()
	now := t.u.Now().UTC()
	t.mu.Lock()
	t.rec.Files = record.CountFiles(files)
	t.rec.Packages = record.CountPackages(t.rec.PackageChanges)
	t.rec.Finished, t.rec.Expires = &now, nil
	t.forgetPlanned()
	t.rec.Kernel = kernelIn(t.u.Store.Path(t.number, snapshot.RoleSnapshot))
	t.rec.Before = before
	done := t.rec
	t.mu.Unlock()
	done.Phase = record.Committed // which it is when anybody reads it
	return t.u.mark(done)
}

// mark writes the record beside the snapshot.
func (u *Updater) mark(rec record.Record) error {
	raw, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	ids, err := identities(rec.Subvolumes)
	if err != nil {
		return err
	}
	m := snapshot.Marker{Number: snapshot.Number(rec.Number), UUID: rec.UUID, Subvolumes: ids, Record: raw}
	if err := u.Store.WriteMarker(m.Number, m); err != nil {
		return fmt.Errorf("cannot mark snapshot %d: %w", rec.Number, err)
	}
	return nil
}

// afterSwitch tells a failure before the commit point from one after it.
func (t *Transaction) afterSwitch(err error) error {
	if errors.Is(err, fault.ErrStale) || errors.Is(err, fault.ErrCancelled) {
		return err // it was not tried
	}
	happened, probe := t.u.engine.Committed(context.Background(), t.plan)
	if probe == nil && !happened {
		return err
	}
	// Not known counts as happened: nothing may be undone that may boot next.
	return &derivedError{errors.Join(err, probe)}
}

// recordCommitted closes the record; the snapshot boots next already.
func (t *Transaction) recordCommitted(files []record.FileChange) error {
	t.mu.Lock()
	t.rec.Phase = record.Committed
	rec := t.rec
	t.mu.Unlock()
	err := t.u.Journal.Update(func(tx *journal.Tx) error {
		if err := tx.Put("committed", &rec.Actor, rec); err != nil {
			return err
		}
		if len(files) > 0 {
			if err := tx.PutFiles(rec.Number, files); err != nil {
				return err
			}
		}
		return tx.DeleteSteps(rec.Number)
	})
	if err != nil {
		return &derivedError{fmt.Errorf("cannot record transaction %d: %w", t.number, err)}
	}
	return nil
}

// changes compares base and after, and says whose the files are and which packages changed.
func (t *Transaction) changes(ctx context.Context) ([]record.FileChange, error) {
	u := t.u
	before, err := u.tree(t.number, snapshot.RoleBase)
	if err != nil {
		return nil, err
	}
	after, err := u.tree(t.number, snapshot.RoleAfter)
	if err != nil {
		return nil, err
	}
	found, err := snapshot.Compare(ctx, u.Search, before, after)
	if err != nil {
		return nil, err
	}
	if t.hasBootEntry() {
		if found, err = u.withoutPopulated(found, after.Dir); err != nil {
			return nil, err
		}
	}
	found, deep := reachable(found)
	if deep > 0 {
		t.warn(fmt.Sprintf("files that lie too deep are not listed: %d, with paths of more than %d bytes", deep, journal.MaxPath))
	}
	files := visible(found, t.hidden)
	if lost := countBelow(found, t.unseen); lost > 0 {
		t.warn(fmt.Sprintf("what was changed where other trees are mounted (%s; paths: %d) is hidden below them after the reboot", strings.Join(t.unseen, ", "), lost))
	}
	if len(files) > 0 {
		t.attribute(ctx, before.Dir, after.Dir, files)
		t.measure(before.Dir, after.Dir, files)
	}
	return files, nil
}

// hasBootEntry reports whether the snapshot has an entry in the boot menu, or
// gets one: of others nothing about the boot has to be asked.
func (t *Transaction) hasBootEntry() bool {
	return t.rec.BootEntry != nil || t.plan != nil && t.plan.Has(stepStage)
}

// withoutPopulated leaves out the kernels that were put into the snapshot from
// the boot partition, so that the package manager could see them: nobody
// changed anything about them.
func (u *Updater) withoutPopulated(found []snapshot.Change, after string) ([]snapshot.Change, error) {
	f, err := u.facts()
	if err != nil || f.Boot == nil || f.Mode != boot.FollowsMenu {
		return found, err
	}
	running, err := inroot.Open(u.Root)
	if err != nil {
		return nil, err
	}
	defer running.Close()
	committed, err := inroot.Open(after)
	if err != nil {
		return nil, err
	}
	defer committed.Close()
	return slices.DeleteFunc(found, func(c snapshot.Change) bool {
		return c.Kind == snapshot.Added && below(c.Path, "/boot") && sameFile(running, committed, c.Path)
	}), nil
}

// sameFile reports whether two roots have the same file under a name, byte for byte.
func sameFile(a, b *inroot.Root, name string) bool {
	left, info, err := a.File(name)
	if err != nil {
		return false
	}
	defer left.Close()
	if is, err := b.Lstat(name); err != nil || !is.Mode().IsRegular() {
		return false
	}
	right, now, err := b.File(name)
	if err != nil {
		return false
	}
	defer right.Close()
	return info.Size() == now.Size() && sameContent(left, right)
}

// sameContent compares without having either as a whole: what lies in a snapshot may be of any size.
func sameContent(a, b io.Reader) bool {
	var left, right [64 << 10]byte
	for {
		n, errA := io.ReadFull(a, left[:])
		m, errB := io.ReadFull(b, right[:])
		if !bytes.Equal(left[:n], right[:m]) {
			return false
		}
		if errA != nil || errB != nil {
			ended := func(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
			return ended(errA) && ended(errB)
		}
	}
}

// visible leaves out what lies below a shared tree: it never shows up in the
// booted system, so it makes no snapshot worth booting.
func visible(found []snapshot.Change, hidden []string) (files []record.FileChange) {
	for _, c := range found {
		if !belowAny(c.Path, hidden) {
			files = append(files, record.FileChange{Path: c.Path, Change: string(c.Kind)})
		}
	}
	return files
}

// countBelow counts the changes in or below one of the directories.
func countBelow(found []snapshot.Change, dirs []string) (n int) {
	for _, c := range found {
		if belowAny(c.Path, dirs) {
			n++
		}
	}
	return n
}

func belowAny(path string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return below(path, dir) })
}

// reachable leaves out what the journal does not take, and counts it: after the
// switch nothing may keep a commit from being recorded.
func reachable(found []snapshot.Change) (kept []snapshot.Change, deep int) {
	all := len(found)
	kept = slices.DeleteFunc(found, func(c snapshot.Change) bool { return len(c.Path) > journal.MaxPath })
	return kept, all - len(kept)
}

// tree is one side of a comparison.
func (u *Updater) tree(n snapshot.Number, role snapshot.Role) (snapshot.Tree, error) {
	dir := u.Store.Path(n, role)
	s, err := u.Driver.Info(dir)
	return snapshot.Tree{Dir: dir, Subvolume: s}, err
}

// attribute fills in owners and package changes. A package database that cannot
// be read spoils no commit: the record says so instead.
func (t *Transaction) attribute(ctx context.Context, before, after string, files []record.FileChange) {
	m, err := t.u.manager()
	if err != nil {
		return // no package manager: every file is nobody's
	}
	t.progress("commit", "asking the package database")
	base, made := t.u.rootOf(before, t.number), t.u.rootOf(after, t.number)
	if err := own(ctx, m, base, made, files); err != nil {
		t.warn(fmt.Sprintf("the owners of changed files are not known: %v", err))
	}
	changes, err := packageChanges(ctx, m, base, made, files)
	if err != nil {
		t.warn(fmt.Sprintf("the changes of packages are not known: %v", err))
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rec.PackageChanges = changes
}

// packageChanges compares the packages of two roots, if a file of the package
// database is among those that differ.
func packageChanges(ctx context.Context, m pkgmgr.Manager, before, after pkgmgr.Root, files []record.FileChange) ([]record.PackageChange, error) {
	if !touches(m.Database(), files) {
		return nil, nil
	}
	old, err := m.Installed(ctx, before)
	if err != nil {
		return nil, err
	}
	now, err := m.Installed(ctx, after)
	if err != nil {
		return nil, err
	}
	return pkgmgr.Diff(m, old, now), nil
}

// own asks the side that has the file: a removed one has its owner in the base.
func own(ctx context.Context, m pkgmgr.Manager, before, after pkgmgr.Root, files []record.FileChange) error {
	for _, side := range []struct {
		root pkgmgr.Root
		gone bool
	}{{before, true}, {after, false}} {
		var paths []string
		for _, f := range files {
			if (f.Change == record.Removed) == side.gone {
				paths = append(paths, f.Path)
			}
		}
		if len(paths) == 0 {
			continue
		}
		owners, err := m.Owners(ctx, side.root, paths)
		if err != nil {
			return err
		}
		for i := range files {
			if (files[i].Change == record.Removed) == side.gone {
				files[i].Owner = owners[files[i].Path]
			}
		}
	}
	return nil
}

// touches reports whether a change lies in or below one of the directories (relative to the root).
func touches(dirs []string, files []record.FileChange) bool {
	return slices.ContainsFunc(files, func(f record.FileChange) bool {
		return slices.ContainsFunc(dirs, func(d string) bool {
			rest, ok := strings.CutPrefix(f.Path, "/"+strings.Trim(d, "/"))
			return ok && (rest == "" || rest[0] == '/')
		})
	})
}

// warn adds a warning to the record.
func (t *Transaction) warn(words string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Contains(t.rec.Warnings, words) {
		t.rec.Warnings = append(t.rec.Warnings, words)
	}
}

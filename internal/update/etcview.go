// What the running /etc and that of a snapshot have to do with each other, for
// those who ask. Nothing is forked and nothing waits: the directories are read as
// they are, also what was written a moment ago.

package update

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/etcmerge"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// maxLooks is how often something that changes while it is read is read anew.
const maxLooks = 5

// etcLook is the /etc of a snapshot beside the running one.
type etcLook struct {
	u      *Updater
	roles  *roles
	of     view
	dir    string // the snapshot's root
	runs   bool   // it is what runs: there is one /etc only
	merged bool   // a reboot merges the two
	why    string // why it does not
}

// etcLook finds the snapshot that a word or number names; "" is the pending
// one, else what runs.
func (u *Updater) etcLook(word string) (*etcLook, error) {
	r, err := u.roles()
	if err != nil {
		return nil, err
	}
	l := &etcLook{u: u, roles: r}
	if l.of, err = r.choose(word); err != nil {
		return nil, err
	}
	if l.runs = l.of.same(r.booted); l.runs {
		l.dir = u.Root
		return l, nil
	}
	if l.dir, err = u.Store.Locate(l.of.subvolume.Identity()); err != nil {
		return nil, fmt.Errorf("%w: the /etc of snapshot %d cannot be looked at from what runs: %w", fault.ErrNotSupported, l.of.number, err)
	}
	switch {
	case !l.of.same(r.standby):
		l.why = fmt.Sprintf("snapshot %d does not boot next: \"txctl rollback %d\" boots it with its /etc as it is, with --etc=keep what was edited since comes along", l.of.number, l.of.number)
	case l.of.foreign:
		l.why = "txupd did not make it"
	case !u.first(l.of) || l.of.rec.EtcOf != r.booted.subvolume.UUID.String():
		l.why = fmt.Sprintf("snapshot %d was not made from what runs, or has booted before: its /etc is as it was then; \"txctl rollback %d --etc=keep\" takes along what was edited since", l.of.number, l.of.number)
	default:
		l.merged = true
	}
	return l, nil
}

// imageSeen is ancestorRole for those who only look.
func (u *Updater) imageSeen(rec record.Record) snapshot.Role {
	n := snapshot.Number(rec.Number)
	if _, err := os.Lstat(u.Store.Path(n, snapshot.RoleLive)); err == nil {
		return snapshot.RoleLive
	}
	if rec.ParentUUID == rec.EtcOf {
		return snapshot.RoleBase
	}
	return snapshot.RoleLiveNext
}

// planEtc plans the merge of the running /etc into that of a snapshot, which
// lies in dir, without anything that writes.
func (u *Updater) planEtc(ctx context.Context, rec record.Record, dir string, use func(*etcmerge.Plan) error) error {
	return steady(func() error {
		ancestor := u.Store.Path(snapshot.Number(rec.Number), u.imageSeen(rec))
		trees, release, err := openEtc(ancestor, dir, u.Root)
		if err != nil {
			return err
		}
		defer release()
		plan, err := etcmerge.New(ctx, trees, etcmerge.Options{Rules: etcRules(u.Config.Etc), Number: rec.Number, InSnapshot: inside(dir)})
		if err != nil {
			return err
		}
		return use(plan)
	})
}

// differences are between the running /etc and another root's.
func (u *Updater) differences(ctx context.Context, dir string) (found []etcmerge.Change, err error) {
	err = steady(func() error {
		running, err := etcmerge.Open(u.Root, "etc")
		if err != nil {
			return err
		}
		defer running.Close()
		other, err := etcmerge.Open(dir, "etc")
		if err != nil {
			return err
		}
		defer other.Close()
		found, err = etcmerge.Differences(ctx, running, other)
		return err
	})
	return found, err
}

// steady reads again what changed while it was read.
func steady(read func() error) (err error) {
	for range maxLooks {
		err = read()
		if !errors.Is(err, etcmerge.ErrChanged) && !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return err
}

// Etc tells how the running /etc and that of a snapshot differ, and what a
// reboot will make of them. word is a snapshot, "" the pending one.
func (u *Updater) Etc(ctx context.Context, word string) (bus.Etc, error) {
	l, err := u.etcLook(word)
	if err != nil {
		return bus.Etc{}, err
	}
	doc := bus.Etc{
		Booted: uint64(l.roles.booted.number), BootsNext: l.of.same(l.roles.standby), Merged: l.merged, Why: l.why,
		Differences: []bus.EtcChange{}, Plan: []record.EtcDecision{}, Reboot: []bus.EtcChange{},
		Conflicts: []bus.EtcConflict{}, RunningConflicts: []bus.EtcConflict{},
		Decisions: append([]record.EtcDecision{}, l.of.rec.EtcDecisions...), Warnings: []string{},
	}
	// Anybody may ask, and it takes work: one at a time.
	u.comparing.Lock()
	defer u.comparing.Unlock()
	if doc.Conflicts, err = u.conflictsIn(ctx, l.dir, l.of.number); err != nil {
		return doc, unreadable(err)
	}
	if l.runs {
		return doc, nil
	}
	n := uint64(l.of.number)
	doc.Snapshot = &n
	if doc.RunningConflicts, err = u.conflictsIn(ctx, u.Root, l.roles.booted.number); err != nil {
		return doc, unreadable(err)
	}
	differences, err := u.differences(ctx, l.dir)
	if err != nil {
		return doc, unreadable(err)
	}
	doc.Differences = etcChanges(differences)
	doc.Reboot = doc.Differences
	if !l.merged {
		if !doc.BootsNext {
			doc.Reboot = []bus.EtcChange{}
		}
		return doc, nil
	}
	err = u.planEtc(ctx, l.of.rec, l.dir, func(plan *etcmerge.Plan) error {
		doc.Plan, doc.Reboot = append([]record.EtcDecision{}, decisions(plan)...), etcChanges(plan.Changes)
		return nil
	})
	if errors.Is(err, etcmerge.ErrUnfinished) {
		doc.Warnings = append(doc.Warnings, fmt.Sprintf("a merge into snapshot %d was interrupted; the next one undoes it first, and what it will decide is not known before that", n))
		return doc, nil
	}
	return doc, unreadable(err)
}

func unreadable(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("cannot look at /etc: %w", err)
}

// etcChanges have absolute paths.
func etcChanges(all []etcmerge.Change) []bus.EtcChange {
	rows := make([]bus.EtcChange, len(all))
	for i, c := range all {
		rows[i] = bus.EtcChange{Path: path.Join("/etc", c.Path), Change: c.Change}
		for _, w := range c.What {
			rows[i].What = append(rows[i].What, string(w))
		}
	}
	return rows
}

// conflictsIn looks through the /etc of a root for what waits for a decision.
func (u *Updater) conflictsIn(ctx context.Context, root string, n snapshot.Number) ([]bus.EtcConflict, error) {
	var found []etcmerge.Aside
	err := steady(func() error {
		dir, err := etcmerge.Open(root, "etc")
		if err != nil {
			return err
		}
		defer dir.Close()
		found, err = etcmerge.Asides(ctx, dir)
		return err
	})
	all := make([]bus.EtcConflict, len(found))
	for i, a := range found {
		all[i] = bus.EtcConflict{Path: path.Join("/etc", a.Path), Kept: path.Join("/etc", a.Aside), Version: a.Number, Snapshot: uint64(n)}
	}
	return all, err
}

// etcPath checks a path that somebody names.
func etcPath(name string) (rel string, err error) {
	if path.Clean(name) != name || !below(name, "/etc") || name == "/etc" {
		return "", fmt.Errorf("%w: path %q: the absolute path of something in /etc is expected", fault.ErrInvalidArgument, name)
	}
	return inEtc(name), nil
}

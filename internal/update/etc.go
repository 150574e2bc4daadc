// The merge of /etc: what is edited on the running system after a snapshot was
// forked goes into it. See DESIGN §7 for which tree is the ancestor.

package update

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/txupd/txupd/internal/config"
	"github.com/txupd/txupd/internal/etcmerge"
	"github.com/txupd/txupd/internal/inroot"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// liveData is where an image of the running root lies.
type liveData struct {
	Number snapshot.Number `json:"number"`
	Role   snapshot.Role   `json:"role"`
}

// etcLine is where the /etc of a snapshot comes from.
type etcLine struct {
	of    string // uuid of the running root that it is merged with, "" for none
	since uint64 // the generation of its /etc that the image shows, 0 where the image itself tells
	live  *liveData
}

// etcLine says with which running root the /etc of a snapshot that is forked
// from parent is merged, and where the image of it is that a stacked one takes
// over. The booted root itself is imaged by the base. The zero value is for a
// parent that has nothing to do with what runs: then its /etc stays as it is.
func (u *Updater) etcLine(parent view) (etcLine, error) {
	booted, err := u.Store.Booted()
	if err != nil {
		return etcLine{}, err
	}
	if parent.subvolume.Identity() == booted.Identity() {
		return etcLine{of: booted.UUID.String()}, nil
	}
	if parent.foreign || parent.rec.EtcOf != booted.UUID.String() {
		return etcLine{}, nil
	}
	role, err := u.ancestorRole(parent.rec)
	if err != nil {
		return etcLine{}, err
	}
	image, err := u.tree(parent.number, role)
	if err != nil {
		return etcLine{}, err
	}
	since, err := u.imagedAt(image, parent.rec, u.Root)
	return etcLine{parent.rec.EtcOf, since, &liveData{parent.number, role}}, err
}

// ancestorRole is which image of a snapshot shows the running root at the last
// merge. A crash may have come between a merge and the new image's name: the
// old one is gone then, and the new one is it.
func (u *Updater) ancestorRole(rec record.Record) (snapshot.Role, error) {
	n := snapshot.Number(rec.Number)
	switch _, err := os.Lstat(u.Store.Path(n, snapshot.RoleLive)); {
	case err == nil:
		return snapshot.RoleLive, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	case rec.ParentUUID == rec.EtcOf:
		return snapshot.RoleBase, nil
	}
	if err := u.Store.AdoptLive(n); err != nil {
		return "", err
	}
	return snapshot.RoleLive, nil
}

// mergeEtc merges what was edited in the running /etc since the last merge, and
// reports whether anything of it was new to the snapshot, in which files changed.
func (t *Transaction) mergeEtc(ctx context.Context, files []record.FileChange) (merged bool, err error) {
	u := t.u
	booted, err := u.Store.Booted()
	if err != nil || t.rec.EtcOf == "" {
		return false, err
	}
	if booted.UUID.String() != t.rec.EtcOf {
		t.warn("the /etc of the running system was not merged: another root runs than when the transaction began")
		return false, nil
	}
	m := etcMerge{u: u, number: t.number, rec: t.rec, from: booted.Identity(), decided: t.accepts, disposable: t.rec.Kind != KindBegin}
	var ours []string
	for _, f := range files {
		if below(f.Path, "/etc") {
			ours = append(ours, inEtc(f.Path))
		}
	}
	if m.reverts, err = etcmerge.Reverts(etcRules(u.Config.Etc), ours); err != nil {
		return false, err
	}
	merged, err = m.do(ctx, u.Root)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rec.EtcDecisions, t.rec.EtcGeneration = m.rec.EtcDecisions, m.rec.EtcGeneration
	return merged, err
}

// etcMerge is one merge of another root's /etc into that of a snapshot.
type etcMerge struct {
	u      *Updater
	number snapshot.Number
	// rec is the snapshot's record; it is given the decisions.
	rec  record.Record
	from snapshot.Identity // the root that was edited
	// decided is told what will be done before it is.
	decided func(rows []record.EtcDecision) error
	// disposable: nothing is left of the snapshot if the power is cut now.
	disposable bool
	// reverts: the snapshot changed what is always as on the running side.
	reverts bool
	// imaged: an image was made, and has become live or is gone again.
	imaged bool
}

// do merges, if anything was edited; dir is where the root that was edited is.
func (m *etcMerge) do(ctx context.Context, dir string) (merged bool, err error) {
	role, err := m.u.ancestorRole(m.rec)
	if err != nil {
		return false, err
	}
	ancestor, err := m.u.tree(m.number, role)
	if err != nil {
		return false, err
	}
	if same, err := m.u.untouchedSince(ancestor, m.rec, dir); err != nil || same && !m.reverts {
		return false, err
	} else if same {
		return m.apply(ctx, ancestor, ancestor)
	}
	running, err := m.u.Store.NextLive(m.number, m.from)
	if err != nil {
		return false, err
	}
	m.imaged = true
	merged, err = m.apply(ctx, ancestor, running)
	if err != nil || !merged {
		return false, errors.Join(err, m.u.Store.DropNextLive(m.number))
	}
	m.rec.EtcGeneration = 0 // the new image is a fork of what runs
	return true, m.u.Store.AdoptLive(m.number)
}

// untouchedSince reports whether nothing at all was written to the subvolume of
// a root's /etc since an image was made of it. The file system was committed
// a moment ago: what was written since then is for the next merge.
func (u *Updater) untouchedSince(image snapshot.Tree, rec record.Record, dir string) (bool, error) {
	since, err := u.imagedAt(image, rec, dir)
	if err != nil || since == 0 {
		return false, err
	}
	now, err := u.etcSubvolume(dir)
	return err == nil && now.Generation <= since, err
}

// imagedAt is the generation of a root's /etc that an image shows: that of
// the fork, or, where it is a copy of an earlier image, what is recorded. 0 is not known.
func (u *Updater) imagedAt(image snapshot.Tree, rec record.Record, dir string) (uint64, error) {
	made, err := u.etcSubvolume(image.Dir)
	if err != nil {
		return 0, err
	}
	runs, err := u.etcSubvolume(dir)
	if err != nil || made.ParentUUID == runs.UUID {
		return made.Origin, err
	}
	return rec.EtcGeneration, nil
}

// etcSubvolume is the subvolume that holds a root's /etc: one of its own, or the root.
func (u *Updater) etcSubvolume(root string) (snapshot.Subvolume, error) {
	s, err := u.Driver.Info(path.Join(root, "etc"))
	if errors.Is(err, snapshot.ErrNotSubvolume) || errors.Is(err, fs.ErrNotExist) {
		return u.Driver.Info(root)
	}
	return s, err
}

// apply merges what differs between two images of the root that was edited.
func (m *etcMerge) apply(ctx context.Context, ancestor, running snapshot.Tree) (merged bool, err error) {
	u := m.u
	changed, err := snapshot.Compare(ctx, u.Search, ancestor, running)
	if err != nil {
		return false, err
	}
	suspects := []string{}
	for _, c := range changed {
		if below(c.Path, "/etc") {
			suspects = append(suspects, inEtc(c.Path))
		}
	}
	if len(suspects) == 0 && !m.reverts {
		return false, nil
	}
	root := u.Store.Path(m.number, snapshot.RoleSnapshot)
	if err := u.Driver.SetReadOnly(root, false); err != nil {
		return false, err
	}
	trees, release, err := openEtc(ancestor.Dir, root, running.Dir)
	if err != nil {
		return false, err
	}
	defer release()
	if _, err := etcmerge.Recover(ctx, trees.Ours); err != nil {
		return false, err
	}
	plan, err := etcmerge.New(ctx, trees, etcmerge.Options{Rules: etcRules(u.Config.Etc), Number: uint64(m.number), InSnapshot: inside(root), Suspects: suspects, Disposable: m.disposable})
	if err != nil {
		return false, err
	}
	rows := unknown(decisions(plan), m.rec.EtcDecisions)
	if err := m.decided(rows); err != nil {
		return false, err
	}
	// Files change hands before the users have their new ids: where that is cut
	// short, the merge finds the same users to renumber, and does it again.
	if err := u.reown(ctx, root, m.number, plan.Renumbered); err != nil {
		return false, err
	}
	if err := plan.Apply(ctx); err != nil {
		return false, err
	}
	m.rec.EtcDecisions = append(m.rec.EtcDecisions, rows...)
	return true, nil
}

// inEtc is a path of a root below its /etc.
func inEtc(name string) string { return strings.TrimPrefix(strings.TrimPrefix(name, "/etc"), "/") }

// etcRules are the configured ones.
func etcRules(c config.Etc) (rules []etcmerge.Rule) {
	for _, r := range []struct {
		action   etcmerge.Action
		patterns []string
	}{
		{etcmerge.Lines, c.Lines}, {etcmerge.Whole, c.Whole}, {etcmerge.Set, c.Set}, {etcmerge.State, c.State},
		{etcmerge.Live, c.Live}, {etcmerge.Derived, c.Derived}, {etcmerge.Never, c.Never},
	} {
		for _, p := range r.patterns {
			rules = append(rules, etcmerge.Rule{Pattern: p, Action: r.action})
		}
	}
	return rules
}

// unknown leaves out the rows that are recorded: those of a merge that was cut
// after they were, and is made again.
func unknown(rows, recorded []record.EtcDecision) []record.EtcDecision {
	return slices.DeleteFunc(rows, func(row record.EtcDecision) bool {
		return slices.ContainsFunc(recorded, func(r record.EtcDecision) bool { return reflect.DeepEqual(r, row) })
	})
}

// openEtc opens the three directories.
func openEtc(ancestor, ours, theirs string) (trees etcmerge.Trees, release func(), err error) {
	var files []*os.File
	release = func() {
		for _, f := range files {
			f.Close()
		}
	}
	for _, one := range []struct {
		root string
		at   **os.File
	}{{ancestor, &trees.Ancestor}, {ours, &trees.Ours}, {theirs, &trees.Theirs}} {
		if *one.at, err = etcmerge.Open(one.root, "etc"); err != nil {
			release()
			return trees, nil, err
		}
		files = append(files, *one.at)
	}
	return trees, release, nil
}

// inside reports whether a path leads to something in a root.
func inside(root string) func(string) bool {
	return func(name string) bool {
		r, err := inroot.Open(root)
		if err != nil {
			return false
		}
		defer r.Close()
		_, err = r.Lstat(name)
		return err == nil
	}
}

// reown gives what renumbered users own outside of /etc to their new ids.
func (u *Updater) reown(ctx context.Context, dir string, n snapshot.Number, renumbered []etcmerge.Renumber) error {
	if len(renumbered) == 0 {
		return nil
	}
	root, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	base, err := os.Open(u.Store.Path(n, snapshot.RoleBase))
	if err != nil {
		return err
	}
	defer base.Close()
	if _, err = etcmerge.Reown(ctx, root, base, renumbered, func(p string) bool { return below("/"+strings.TrimPrefix(p, "/"), "/etc") }); err != nil {
		return err
	}
	if err := u.reownCaptures(ctx, n, renumbered); err != nil {
		return err
	}
	return u.Store.Sync()
}

// decisions are the rows of a merge as they are recorded.
func decisions(plan *etcmerge.Plan) []record.EtcDecision {
	var rows []record.EtcDecision
	for _, d := range plan.Decisions {
		row := record.EtcDecision{Path: path.Join("/etc", d.Path), Decision: string(d.Decision), Rule: d.Rule, Detail: d.Detail}
		for _, w := range d.What {
			row.What = append(row.What, string(w))
		}
		if d.Aside != "" {
			row.Kept = path.Join("/etc", d.Aside)
		}
		rows = append(rows, row)
	}
	return rows
}

// Package etcmerge merges three directories: an ancestor, "ours" (the /etc of a
// new snapshot) and "theirs" (the /etc that runs), into ours.
//
// Planning only reads. A Plan says for every path what the merge takes, what
// it keeps and what it cannot have both of; Apply does it, or leaves the
// target as it was. What each side changed is in the result, or beside it
// under a name of its own (NAME.txupd-N); where the two cannot both be, the
// running side is in place. Compared are type, content, mode, owner, extended
// attributes, flags and links, never times.
//
// The trees are not trusted: everything is reached by descriptors beneath
// their tops, no symbolic link is followed, nothing but regular files and
// directories is ever opened, and access times stay as they are.
//
// Give theirs as something that stands still (a read-only fork): the result is
// right for a tree that changes meanwhile too, or Apply says ErrChanged, but
// only a still one can be the ancestor of the next merge.
package etcmerge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
)

var (
	// ErrChanged: a tree is not any more what it was when the merge was planned.
	ErrChanged = errors.New("changed since the merge was planned")
	// ErrUnfinished: an earlier merge into the target was interrupted; Recover undoes it.
	ErrUnfinished = errors.New("an earlier merge was interrupted")
)

// Trees are the three directories, open for reading. They stay the caller's.
type Trees struct {
	Ancestor *os.File // what both sides started from
	Ours     *os.File // the target: the new snapshot's
	Theirs   *os.File // the running one
}

// Options say how to merge. The zero value is usable.
type Options struct {
	// Rules are looked at before DefaultRules.
	Rules []Rule
	// Number is that of the snapshot that is merged into; it is in the names of what is kept aside.
	Number uint64
	// InSnapshot reports whether an absolute path leads to something in the
	// snapshot. With it, a link of the alternatives that leads nowhere there is
	// not taken over. nil: every path does.
	InSnapshot func(path string) bool
	// Suspects, if not nil, are all paths, relative to the trees, at which theirs
	// differs from the ancestor: a compare of two forks knows them. Directories in
	// which something differs need not be among them. Then the merge costs what
	// changed; nothing else of it changes, but Changes is complete only with the
	// paths at which ours differs from the ancestor too. No suspects at all are not
	// nil, and not a reason not to merge: some rules look at what ours did.
	// nil: everything is looked at.
	Suspects []string
	// Disposable: the target need not survive a power cut half-way, because the
	// caller works on a fork or throws the target away then. Nothing is synced.
	Disposable bool
}

// Plan is what a merge will do.
type Plan struct {
	// Decisions are what the running side has part in, sorted by path. What only
	// the snapshot changed, and what neither did, is not in it.
	Decisions []Decision
	// Changes are what will differ between the running tree and the result.
	Changes []Change
	// Renumbered are users and groups of the snapshot that get another id, because
	// a name on the running side has theirs. Below the target Apply gives the
	// files their new owners; in the rest of the snapshot Reown does.
	Renumbered []Renumber

	trees   Trees
	opts    Options
	top     *entry
	actions []action
	applied bool
	hook    func(moment string) error // for tests
}

// New plans a merge. It writes nothing.
func New(ctx context.Context, trees Trees, opts Options) (*Plan, error) {
	for _, t := range []struct {
		dir  *os.File
		what string
	}{{trees.Ancestor, "an ancestor"}, {trees.Ours, "a target"}, {trees.Theirs, "a running side"}} {
		if t.dir == nil {
			return nil, fmt.Errorf("cannot merge without %s", t.what)
		}
	}
	rules, err := compile(opts.Rules)
	if err != nil {
		return nil, err
	}
	switch _, state, err := findStage(trees.Ours); {
	case err != nil:
		return nil, err
	case state != stageNone:
		return nil, fmt.Errorf("cannot merge into %s: %w", trees.Ours.Name(), ErrUnfinished)
	}
	p := &planner{rules: rules, opts: opts}
	for i, dir := range trees.all() {
		if p.views[i], err = viewOf(dir); err != nil {
			return nil, err
		}
		defer p.views[i].close()
	}
	top, err := p.scan(ctx)
	if err != nil {
		return nil, err
	}
	top.settleDifferences()
	if err := p.resolve(top, nil, ""); err != nil {
		return nil, err
	}
	p.resolveLinks(top)
	plan := &Plan{Decisions: p.rows, Renumbered: p.accounts.renumbered, trees: trees, opts: opts, top: top}
	plan.actions = actionsFor(top)
	plan.Changes = changes(top, "")
	slices.SortStableFunc(plan.Decisions, func(a, b Decision) int { return cmp.Compare(a.Path, b.Path) })
	return plan, nil
}

// scan looks at the suspects, or at everything, and settles the accounts.
func (p *planner) scan(ctx context.Context) (*entry, error) {
	if suspected := p.suspects(); suspected != nil {
		top, err := scan(ctx, p.views, suspected)
		if err == nil {
			err = p.mergeAccounts(top)
		}
		// Links and owners of which we have not seen all need a look at everything.
		if !errors.Is(err, errLinked) && (err != nil || len(p.accounts.renumbered) == 0) {
			return top, err
		}
	}
	top, err := scan(ctx, p.views, nil)
	if err != nil {
		return nil, err
	}
	return top, p.mergeAccounts(top)
}

func (t Trees) all() [3]*os.File {
	return [3]*os.File{ancestor: t.Ancestor, ours: t.Ours, theirs: t.Theirs}
}

// Conflicts are the decisions that a person should look at.
func (p *Plan) Conflicts() []Decision {
	var found []Decision
	for _, d := range p.Decisions {
		if d.Decision == Conflict {
			found = append(found, d)
		}
	}
	return found
}

// Empty reports whether the target already is what the merge makes of it.
func (p *Plan) Empty() bool { return len(p.actions) == 0 }

// Comparing two trees by walking both: the way for trees without a common
// ancestor, and what a comparison by generation is tested against.

package snapshot

import (
	"context"
	"slices"
	"strings"
)

// Walk compares the directories before and after and everything below them, and
// returns the changes sorted by path; it means the same by a change as Compare.
// It needs neither btrfs nor rights beyond reading, costs what exists rather
// than what changed, and reads through nested subvolumes. With CAP_SYS_ADMIN it
// changes no access times and does not see what is mounted inside; without, a
// link's may change, and a mount inside is an error.
func Walk(ctx context.Context, before, after string) ([]Change, error) {
	b, err := openTop(before)
	if err != nil {
		return nil, err
	}
	defer b.close()
	a, err := openTop(after)
	if err != nil {
		return nil, err
	}
	defer a.close()
	var changes []Change
	w := newWalker(ctx, collect(&changes))
	if err := w.top("", b, a); err != nil {
		return nil, err
	}
	sortChanges(changes)
	return changes, nil
}

// collect returns a function that appends to changes.
func collect(changes *[]Change) func(Change) error {
	return func(c Change) error {
		*changes = append(*changes, c)
		return nil
	}
}

func sortChanges(changes []Change) {
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
}

// walker compares directories of two trees, name by name.
type walker struct {
	ctx     context.Context
	emit    func(Change) error
	objects *objectComparer
	buffer  []byte // for lists of names
}

func newWalker(ctx context.Context, emit func(Change) error) *walker {
	return &walker{ctx: ctx, emit: emit, objects: newObjectComparer(ctx), buffer: make([]byte, 64<<10)}
}

// top compares two directories themselves, which both have the path path ("" is
// the root), and what they contain.
func (w *walker) top(path string, before, after *directory) error {
	if err := w.self(path, before, after); err != nil {
		return err
	}
	return w.contents(path, before, after)
}

// self compares two directories without what they contain.
func (w *walker) self(path string, before, after *directory) error {
	b, err := before.entry(".")
	if err != nil {
		return err
	}
	a, err := after.entry(".")
	if err != nil {
		return err
	}
	kind, err := w.objects.compare(&b, &a, nil)
	if err != nil || kind == "" {
		return err
	}
	if path == "" {
		path = "/"
	}
	return w.emit(Change{Path: path, Kind: kind})
}

// contents compares what two directories contain.
func (w *walker) contents(path string, before, after *directory) error {
	left, err := before.list(w.buffer)
	if err != nil {
		return err
	}
	right, err := after.list(w.buffer)
	if err != nil {
		return err
	}
	for len(left) > 0 || len(right) > 0 {
		switch {
		case len(right) == 0 || len(left) > 0 && left[0] < right[0]:
			err = w.only(Removed, path+"/"+left[0], before, left[0])
			left = left[1:]
		case len(left) == 0 || right[0] < left[0]:
			err = w.only(Added, path+"/"+right[0], after, right[0])
			right = right[1:]
		default:
			err = w.both(path+"/"+left[0], before, after, left[0])
			left, right = left[1:], right[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// both compares what has the same name on both sides.
func (w *walker) both(path string, before, after *directory, name string) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	b, err := before.entry(name)
	if err != nil {
		return err
	}
	a, err := after.entry(name)
	if err != nil {
		return err
	}
	kind, err := w.objects.compare(&b, &a, nil)
	if err != nil {
		return err
	}
	if kind != "" {
		if err := w.emit(Change{Path: path, Kind: kind}); err != nil {
			return err
		}
	}
	switch {
	case b.isDir() && a.isDir():
		inB, inA := before.child(name), after.child(name)
		defer inB.close()
		defer inA.close()
		return w.contents(path, inB, inA)
	case b.isDir():
		return w.below(Removed, path, before, name)
	case a.isDir():
		return w.below(Added, path, after, name)
	}
	return nil
}

// only reports what is on one side alone, with everything below it.
func (w *walker) only(kind ChangeKind, path string, dir *directory, name string) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	found, err := dir.entry(name)
	if err != nil {
		return err
	}
	if err := w.emit(Change{Path: path, Kind: kind}); err != nil {
		return err
	}
	if !found.isDir() {
		return nil
	}
	return w.below(kind, path, dir, name)
}

// below reports everything that a directory of one side contains.
func (w *walker) below(kind ChangeKind, path string, dir *directory, name string) error {
	child := dir.child(name)
	defer child.close()
	names, err := child.list(w.buffer)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := w.only(kind, path+"/"+name, child, name); err != nil {
			return err
		}
	}
	return nil
}

// The descent through two related trees, to where they may differ and nowhere
// else.

package snapshot

import (
	"context"
	"fmt"
)

// pair is two trees with a common ancestor.
//
// An inode that neither side wrote since they parted is the same object on
// both, with the same content, attributes and entries: it need not be looked
// at, and of a directory only those entries that lead to something that was
// written. All else is compared by what is found under the same path,
// because the same inode number may be two objects by now.
type pair struct {
	*comparison
	before, after *treeSide
	settled       bool
}

// load finds what either side wrote in generation since or later.
func (p *pair) load(since uint64) error {
	for _, side := range [2]*treeSide{p.before, p.after} {
		if err := side.loadChanged(p.ctx, since, p.seed); err != nil {
			return fmt.Errorf("cannot find what changed in subvolume %d: %w", side.root.ID, err)
		}
	}
	dropShared(p.before, p.after)
	for _, side := range [2]*treeSide{p.before, p.after} {
		if err := side.resolveNames(); err != nil {
			return err
		}
	}
	return nil
}

// unchanged reports whether two inodes are the same object, written by neither side.
func (p *pair) unchanged(before, after uint64) bool {
	return before == after && !p.before.isChanged(before) && !p.after.isChanged(after)
}

// found is what one side has under a name.
type found struct {
	side  *treeSide
	inode uint64
	// nested is the subvolume that lies there; a stub of one has none.
	nested SubvolumeID
	kind   uint8
}

// contents compares the entries of two directories.
func (p *pair) contents(path string, before, after uint64, b, a *directory) error {
	if p.unchanged(before, after) {
		return merge(p.before.leading(before), p.after.leading(after), func(name string, l, r *ref) error {
			// Both directories say the same, even where only one leads to changes.
			if l == nil {
				l = r
			}
			if r == nil {
				r = l
			}
			return p.both(path+"/"+name, name, p.before.found(name, l), p.after.found(name, r), b, a)
		})
	}
	left, err := p.before.entries(before)
	if err != nil {
		return err
	}
	right, err := p.after.entries(after)
	if err != nil {
		return err
	}
	return merge(left, right, func(name string, l, r *ref) error {
		switch {
		case r == nil:
			return p.only(Removed, path+"/"+name, p.before.found(name, l))
		case l == nil:
			return p.only(Added, path+"/"+name, p.after.found(name, r))
		default:
			return p.both(path+"/"+name, name, p.before.found(name, l), p.after.found(name, r), b, a)
		}
	})
}

// both compares what has the same name on both sides.
func (p *pair) both(path, name string, before, after found, b, a *directory) error {
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	if before.kind == entrySubvolume || after.kind == entrySubvolume {
		return p.nested(path, name, before, after, b, a)
	}
	if !p.unchanged(before.inode, after.inode) {
		return p.different(path, name, before, after, b, a)
	}
	if len(p.before.leading(before.inode).refs) == 0 && len(p.after.leading(after.inode).refs) == 0 {
		return nil
	}
	return p.inside(path, name, before.inode, after.inode, b, a)
}

// inside goes on with the entries of a directory of both sides.
func (p *pair) inside(path, name string, before, after uint64, b, a *directory) error {
	inB, inA := b.child(name), a.child(name)
	defer inB.close()
	defer inA.close()
	return p.contents(path, before, after, inB, inA)
}

// different compares what may be two objects, or one that changed.
func (p *pair) different(path, name string, before, after found, b, a *directory) error {
	left, err := b.entry(name)
	if err != nil {
		return err
	}
	right, err := a.entry(name)
	if err != nil {
		return err
	}
	kind, err := p.objects.compare(&left, &right, func() (bool, error) {
		return p.sameExtents(before.inode, after.inode)
	})
	if err != nil {
		return err
	}
	if kind != "" {
		if err := p.emit(Change{Path: path, Kind: kind}); err != nil {
			return err
		}
	}
	switch {
	case left.isDir() && right.isDir():
		return p.inside(path, name, before.inode, after.inode, b, a)
	case left.isDir():
		return p.below(Removed, path, before)
	case right.isDir():
		return p.below(Added, path, after)
	}
	return nil
}

// sameExtents reports whether two files are known to have the same content
// without reading it: where they share all of it.
func (p *pair) sameExtents(before, after uint64) (bool, error) {
	if !p.settled {
		return false, nil
	}
	left, err := p.before.dataHash(before, p.seed)
	if err != nil {
		return false, err
	}
	right, err := p.after.dataHash(after, p.seed)
	return left == right, err
}

// nested compares what has the same name where one side at least has a nested
// subvolume, or the stub of one.
func (p *pair) nested(path, name string, before, after found, b, a *directory) error {
	if before.nested != 0 && after.nested != 0 {
		inB, inA := b.child(name), a.child(name)
		defer inB.close()
		defer inA.close()
		return p.subvolumes(path, p.roots.byID[before.nested], p.roots.byID[after.nested], inB, inA)
	}
	if before.kind == after.kind && before.nested == 0 && after.nested == 0 {
		return nil // two stubs
	}
	return p.walker.both(path, b, a, name)
}

// only reports what is on one side alone, with everything below it.
func (p *pair) only(kind ChangeKind, path string, f found) error {
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	if err := p.emit(Change{Path: path, Kind: kind}); err != nil {
		return err
	}
	if f.kind == entryOther || f.kind == entrySubvolume && f.nested == 0 {
		return nil
	}
	return p.below(kind, path, f)
}

// below reports everything that a directory of one side contains.
func (p *pair) below(kind ChangeKind, path string, f found) error {
	side, directory := f.side, f.inode
	if f.nested != 0 {
		side, directory = p.side(p.roots.byID[f.nested]), firstFreeObject
	}
	entries, err := side.entries(directory)
	if err != nil {
		return err
	}
	return merge(entries, listing{}, func(name string, l, _ *ref) error {
		return p.only(kind, path+"/"+name, side.found(name, l))
	})
}

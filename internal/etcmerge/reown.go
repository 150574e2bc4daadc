package etcmerge

import (
	"context"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Reown gives what renumbered users and groups own in a tree to their new ids,
// access control lists included, and returns how many files that were. base is
// the tree from before, nil for none: what had the old id there did not belong
// to the new name. skip leaves paths out, with all beneath: the /etc that Apply
// has merged. Subvolumes and mounts inside are not entered.
//
// It is not one step. If it is interrupted, start again with the tree as it
// was: where a new id is the old one of another name, the same files would
// change hands twice.
func Reown(ctx context.Context, root, base *os.File, renumbered []Renumber, skip func(path string) bool) (int, error) {
	return reownTree(ctx, root, base, renumbered, skip, false)
}

// ReownUpper is Reown for what an overlay wrote over another tree: what was copied
// up from there is another object under the same path.
func ReownUpper(ctx context.Context, upper, below *os.File, renumbered []Renumber) (int, error) {
	return reownTree(ctx, upper, below, renumbered, nil, true)
}

func reownTree(ctx context.Context, root, base *os.File, renumbered []Renumber, skip func(path string) bool, byPath bool) (int, error) {
	m := idsOf(renumbered)
	if len(m.users)+len(m.groups) == 0 {
		return 0, nil
	}
	t, err := targetOf(root)
	if err != nil {
		return 0, err
	}
	defer t.close()
	r := &reowner{ids: m, target: t, byPath: byPath, done: map[uint64]bool{}}
	if r.view, err = viewOf(root); err != nil {
		return 0, err
	}
	defer r.view.close()
	if base != nil {
		if r.base, err = viewOf(base); err != nil {
			return 0, err
		}
		defer r.base.close()
	}
	if _, err := r.entry(t.fd, ".", "."); err != nil { // the tree's own directory
		return 0, err
	}
	for queue := []string{""}; len(queue) > 0; {
		if err := ctx.Err(); err != nil {
			return len(r.done), err
		}
		name := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		inside, err := r.directory(name, skip)
		if err != nil {
			return len(r.done), err
		}
		queue = append(queue, inside...)
	}
	return len(r.done), nil
}

// reowner walks one tree.
type reowner struct {
	ids
	target     *target
	view, base *view
	byPath     bool            // what the base has under a path is the same object
	done       map[uint64]bool // by inode: one with several names changes hands once
}

// directory looks at what is in a directory, and returns the directories among it.
func (r *reowner) directory(at string, skip func(string) bool) ([]string, error) {
	entries, err := r.view.readDir(at)
	if err != nil {
		return nil, err
	}
	dir, err := r.view.openDir(at)
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	var inside []string
	for _, e := range entries {
		name := join(at, e.Name())
		if skip != nil && skip(name) {
			continue
		}
		n, err := r.entry(dir, e.Name(), name)
		if err != nil {
			return nil, err
		}
		if n != nil && n.isDir() {
			inside = append(inside, name)
		}
	}
	return inside, nil
}

// entry looks at what has a name in a directory, and returns it; nil is for what is gone or no part of the tree.
func (r *reowner) entry(dir int, base, name string) (*node, error) {
	n, err := r.view.examine(dir, base)
	if err != nil {
		return nil, r.view.failed("examine", name, err)
	}
	if n == nil || n.isDir() && isApart(n, r.view) {
		return nil, nil
	}
	if n.xattrs, err = xattrsAt(dir, base).read(make([]byte, 512)); err != nil {
		return nil, r.view.failed("read attributes of", name, err)
	}
	return n, r.reown(name, n)
}

func (r *reowner) reown(name string, n *node) error {
	if r.done[n.ino] {
		return nil
	}
	nobody := attrs{uid: unixNobody, gid: unixNobody}
	owned := r.apply(n.attrs, &nobody)
	if attrFacets(&owned, &n.attrs) == 0 {
		return nil
	}
	was, err := r.before(name, n)
	if err != nil {
		return err
	}
	if was != nil {
		owned = r.apply(n.attrs, was)
	}
	if attrFacets(&owned, &n.attrs) == 0 {
		return nil
	}
	r.done[n.ino] = true
	return r.target.with("give a new owner to", name, func(dir int, base string) error {
		return dress(dir, base, n.kind, n.attrs, owned)
	})
}

// before are the attributes that the same object had in the base, nil if it was not there.
func (r *reowner) before(name string, n *node) (*attrs, error) {
	if r.base == nil {
		return nil, nil
	}
	dir, err := openDirAt(r.base.fd, parent(name))
	if err != nil {
		return nil, nil // its directory is new
	}
	defer unix.Close(dir)
	was, err := r.base.examine(dir, path.Base(name))
	if err != nil || was == nil || was.ino != n.ino && !r.byPath {
		return nil, err
	}
	was.xattrs, err = xattrsAt(dir, path.Base(name)).read(make([]byte, 512))
	return &was.attrs, err
}

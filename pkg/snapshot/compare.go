// Comparing two snapshots: what was added, removed or changed between them.
//
// Snapshots with a common ancestor share the tree blocks that neither changed
// since, so a search of both trees for newer blocks finds every inode that may
// differ, whatever else there is. Their names lead to the paths on which the
// two sides are compared for real.

package snapshot

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"

	"golang.org/x/sys/unix"
)

// ChangeKind is what became of a path.
type ChangeKind string

// The kinds of changes. The words are those of the journal's records.
const (
	Added    ChangeKind = "added"
	Removed  ChangeKind = "removed"
	Modified ChangeKind = "modified"
	// TypeChanged: a file became a link, a directory a file, and so on.
	TypeChanged ChangeKind = "type"
)

// Change is one path that differs.
type Change struct {
	// Path begins with "/", which is the root of the snapshot. It is any
	// bytes but NUL, as the file system has it.
	Path string
	Kind ChangeKind
}

// Tree is one side of a comparison.
type Tree struct {
	// Dir is the absolute path at which the subvolume's root directory, with
	// the subvolumes nested in it, can be opened.
	Dir       string
	Subvolume Subvolume
}

// Compare returns the paths that differ between two snapshots, sorted.
//
// It compares type, content, mode, owner, extended attributes, link targets
// and device numbers, never time stamps. What moved is removed at one path and
// added at the other; what is added or removed is listed with everything below
// it; every hard link counts. A directory is modified where itself is, not
// where its entries are. Subvolumes nested in both sides under the same path
// are compared likewise, one that only one side has is a directory with what it
// contains, and the stub that a fork leaves in its place an empty one.
//
// Both sides are expected to be read-only forks. What is not read-only (where a
// search may miss what was not committed yet) or without a common ancestor is
// walked instead, which is slow but right. Sealing a snapshot does not write
// out the data that is in memory, a fork does: compare the fork.
func Compare(ctx context.Context, s Searcher, before, after Tree) ([]Change, error) {
	var changes []Change
	if err := compareTrees(ctx, s, before, after, collect(&changes)); err != nil {
		return nil, err
	}
	sortChanges(changes)
	return changes, nil
}

// Changed reports whether Compare would return anything. It stops at the first
// difference.
func Changed(ctx context.Context, s Searcher, before, after Tree) (bool, error) {
	found := errors.New("found")
	err := compareTrees(ctx, s, before, after, func(Change) error { return found })
	if err == found {
		return true, nil
	}
	return false, err
}

// compareTrees hands every change to emit, in no order that matters.
func compareTrees(ctx context.Context, s Searcher, before, after Tree, emit func(Change) error) error {
	b, err := openRoot(before)
	if err != nil {
		return err
	}
	defer b.close()
	a, err := openRoot(after)
	if err != nil {
		return err
	}
	defer a.close()
	roots, err := readRoots(s, b.fd)
	if err != nil {
		return err
	}
	left, err := roots.find(before.Subvolume)
	if err != nil {
		return err
	}
	right, err := roots.find(after.Subvolume)
	if err != nil {
		return err
	}
	c := &comparison{
		walker: newWalker(ctx, emit),
		search: s,
		dir:    b.fd,
		roots:  roots,
		seed:   maphash.MakeSeed(),
	}
	return c.subvolumes("", left, right, b, a)
}

// openRoot opens the root directory of a side.
func openRoot(t Tree) (*directory, error) {
	d, err := openTop(t.Dir)
	if err != nil {
		return nil, err
	}
	var stat unix.Statx_t
	if err := unix.Statx(d.fd, "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_SUBVOL, &stat); err != nil {
		d.close()
		return nil, fmt.Errorf("cannot examine %s: %w", t.Dir, err)
	}
	// Kernels before 6.10 do not tell the subvolume.
	other := stat.Mask&unix.STATX_SUBVOL != 0 && stat.Subvol != uint64(t.Subvolume.ID)
	if stat.Ino != firstFreeObject || other {
		d.close()
		return nil, fmt.Errorf("cannot compare %s: %w: it is not the root of subvolume %d", t.Dir, ErrNotSubvolume, t.Subvolume.ID)
	}
	return d, nil
}

// comparison is one run over two trees and what is nested in them.
type comparison struct {
	*walker
	search Searcher
	dir    int
	roots  *roots
	seed   maphash.Seed
}

// subvolumes compares two whole subvolumes, of which the root directories are
// open and have the path path ("" is the root).
func (c *comparison) subvolumes(path string, before, after Subvolume, b, a *directory) error {
	since, related := Related(before, after, c.roots.all)
	if !related || !before.ReadOnly || !after.ReadOnly {
		return c.top(path, b, a)
	}
	p := &pair{
		comparison: c,
		before:     c.side(before),
		after:      c.side(after),
		// Nothing of a fork that was never written to can be in memory alone.
		settled: before.Generation == before.Origin && after.Generation == after.Origin,
	}
	if err := p.load(since); err != nil {
		return err
	}
	if !p.unchanged(firstFreeObject, firstFreeObject) {
		if err := c.self(path, b, a); err != nil {
			return err
		}
	}
	return p.contents(path, firstFreeObject, firstFreeObject, b, a)
}

func (c *comparison) side(root Subvolume) *treeSide {
	return &treeSide{search: c.search, dir: c.dir, root: root, nested: c.roots.nested[root.ID]}
}

// One side of a comparison by generation: which inodes of a tree may have
// changed, and on which paths they are found.

package snapshot

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
)

// ref is one entry of a directory: a name and what it refers to.
type ref struct {
	parent, inode uint64
	place         place
}

// place tells where in an arena a name is, and carries the kind of the entry:
// 2^24 times the beginning, 2^16 times the kind, and the length.
type place uint64

func (p place) kind() uint8 { return uint8(p >> 16) }

// arena keeps many short names without a header and an allocation for each.
type arena []byte

func (a *arena) put(name []byte, kind uint8) place {
	p := place(len(*a))<<24 | place(kind)<<16 | place(len(name))
	*a = append(*a, name...)
	return p
}

func (a arena) get(p place) []byte {
	start := p >> 24
	return a[start : start+p&0xffff]
}

// listing is entries of one directory, by name.
type listing struct {
	refs  []ref
	names arena
}

func (l listing) name(i int) []byte { return l.names.get(l.refs[i].place) }

// merge calls fn for every name of two listings, in order. Where one does not
// have it, that is nil.
func merge(left, right listing, fn func(name string, l, r *ref) error) error {
	for i, j := 0, 0; i < len(left.refs) || j < len(right.refs); {
		var l, r *ref
		var name []byte
		order := 0
		switch {
		case j == len(right.refs):
			order = -1
		case i == len(left.refs):
			order = 1
		default:
			order = bytes.Compare(left.name(i), right.name(j))
		}
		if order >= 0 {
			r, name = &right.refs[j], right.name(j)
			j++
		}
		if order <= 0 {
			l, name = &left.refs[i], left.name(i)
			i++
		}
		if err := fn(string(name), l, r); err != nil {
			return err
		}
	}
	return nil
}

// treeSide is one of the two trees.
type treeSide struct {
	search Searcher
	dir    int // any directory of the file system
	root   Subvolume
	nested map[nestedAt]SubvolumeID

	// changed holds the inodes that were written in or after the generation of
	// the divergence, sorted.
	changed []uint64
	// shared holds, for each of them, a hash of its item where it was written in
	// that very generation, else 0. Only until dropShared.
	shared []uint64
	// partly holds those of which some name is not in refs yet, sorted.
	partly []uint64
	// refs holds the names that lead from the root to each changed inode and
	// to each nested subvolume, by directory and name. Those of inodes have
	// entryOther for a kind, whatever they are.
	refs  []ref
	names arena
}

// loadChanged finds the inodes of the tree that were written in generation
// since or later, and those of their names that are stored next to them.
func (t *treeSide) loadChanged(ctx context.Context, since uint64, seed maphash.Seed) error {
	key := SearchKey{
		Tree:      uint64(t.root.ID),
		MinObject: firstFreeObject, MaxObject: lastFreeObject,
		MaxType: math.MaxUint8, MaxOffset: math.MaxUint64,
		MinTransid: since,
	}
	var current uint64
	var links, named uint32
	// An inode without links is deleted and was open still: it has no name.
	settle := func() {
		if named < links && current != firstFreeObject {
			t.partly = append(t.partly, current)
		}
		current, links, named = 0, 0, 0
	}
	items := 0
	err := t.search.Search(t.dir, key, func(item SearchItem) error {
		if items++; items%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		switch item.Type {
		case inodeItemKey:
			settle()
			transid, count, err := parseInode(item)
			// The block is new, but that does not make everything in it new.
			if err != nil || transid < since {
				return err
			}
			current, links = item.Object, count
			t.changed = append(t.changed, item.Object)
			hash := uint64(0)
			if transid == since {
				hash = max(1, maphash.Bytes(seed, item.Data))
			}
			t.shared = append(t.shared, hash)
		case inodeRefKey, inodeExtrefKey:
			if current == item.Object {
				return t.addNames(item, &named)
			}
		}
		return nil
	})
	settle()
	return err
}

// dropShared takes from both sides the inodes that were written in the
// generation of the divergence and are the same on both sides: they were
// written before it. (A change that comes after is of a later transaction,
// save for a subvolume's entry in a directory, which changes the directory's size.)
func dropShared(before, after *treeSide) {
	left, right := before.notShared(after), after.notShared(before)
	before.changed, after.changed = left, right
	before.shared, after.shared = nil, nil
}

func (t *treeSide) notShared(other *treeSide) []uint64 {
	kept := make([]uint64, 0, len(t.changed))
	for i, inode := range t.changed {
		at, found := slices.BinarySearch(other.changed, inode)
		if !found || t.shared[i] == 0 || t.shared[i] != other.shared[at] {
			kept = append(kept, inode)
		}
	}
	return kept
}

// isChanged reports whether the inode may differ from the one of that number on the other side.
func (t *treeSide) isChanged(inode uint64) bool {
	_, found := slices.BinarySearch(t.changed, inode)
	return found
}

// resolveNames completes the names of the changed inodes and adds those of all
// directories above them, and of the nested subvolumes.
func (t *treeSide) resolveNames() error {
	t.partly = slices.DeleteFunc(t.partly, func(inode uint64) bool { return !t.isChanged(inode) })
	t.refs = slices.DeleteFunc(t.refs, func(r ref) bool {
		_, again := slices.BinarySearch(t.partly, r.inode)
		return again || !t.isChanged(r.inode)
	})
	for _, inode := range t.partly {
		if _, err := t.readNames(inode); err != nil {
			return err
		}
	}
	for at := range t.nested {
		t.refs = append(t.refs, ref{parent: at.directory, place: t.names.put([]byte(at.name), entrySubvolume)})
	}
	if err := t.resolveParents(); err != nil {
		return err
	}
	slices.SortFunc(t.refs, func(a, b ref) int {
		if c := cmp.Compare(a.parent, b.parent); c != 0 {
			return c
		}
		return bytes.Compare(t.names.get(a.place), t.names.get(b.place))
	})
	return nil
}

// resolveParents adds the name of every directory above one that is in refs.
// The names of changed directories are there already.
func (t *treeSide) resolveParents() error {
	done := map[uint64]struct{}{firstFreeObject: {}}
	for i := 0; i < len(t.refs); i++ {
		parent := t.refs[i].parent
		if _, ok := done[parent]; ok {
			continue
		}
		done[parent] = struct{}{}
		if t.isChanged(parent) {
			continue
		}
		names, err := t.readNames(parent)
		if err != nil {
			return err
		}
		if names == 0 {
			return fmt.Errorf("cannot find the path of directory inode %d in subvolume %d: it has no name", parent, t.root.ID)
		}
	}
	return nil
}

// readNames adds all names of one inode to refs and returns how many.
func (t *treeSide) readNames(inode uint64) (count uint32, err error) {
	err = t.search.Search(t.dir, itemsOf(t.root.ID, inode, inodeRefKey, inodeExtrefKey), func(item SearchItem) error {
		if item.Type != inodeRefKey && item.Type != inodeExtrefKey {
			return nil
		}
		return t.addNames(item, &count)
	})
	return count, err
}

func (t *treeSide) addNames(item SearchItem, count *uint32) error {
	return EachName(item, func(parent uint64, name []byte) error {
		t.refs = append(t.refs, ref{parent: parent, inode: item.Object, place: t.names.put(name, entryOther)})
		*count++
		return nil
	})
}

// leading lists the entries of one directory that lead to changes.
func (t *treeSide) leading(directory uint64) listing {
	by := func(r ref, directory uint64) int { return cmp.Compare(r.parent, directory) }
	first, _ := slices.BinarySearchFunc(t.refs, directory, by)
	count, _ := slices.BinarySearchFunc(t.refs[first:], directory+1, by)
	return listing{t.refs[first : first+count], t.names}
}

// entries reads a directory's entries from the tree.
func (t *treeSide) entries(directory uint64) (listing, error) {
	var l listing
	err := t.search.Search(t.dir, itemsOf(t.root.ID, directory, dirIndexKey, dirIndexKey), func(item SearchItem) error {
		inode, kind, name, err := parseDirEntry(item)
		if err != nil {
			return err
		}
		l.refs = append(l.refs, ref{parent: directory, inode: inode, place: l.names.put(name, kind)})
		return nil
	})
	if err != nil {
		return listing{}, fmt.Errorf("cannot read directory inode %d of subvolume %d: %w", directory, t.root.ID, err)
	}
	slices.SortFunc(l.refs, func(a, b ref) int {
		return bytes.Compare(l.names.get(a.place), l.names.get(b.place))
	})
	return l, nil
}

// found says what an entry of a directory of this side is.
func (t *treeSide) found(name string, r *ref) found {
	f := found{side: t, inode: r.inode, kind: r.place.kind()}
	if f.kind == entrySubvolume {
		f.nested = t.nested[nestedAt{r.parent, name}]
	}
	return f
}

// dataHash is the same for two files only where both have the same extents,
// and so the same content, whatever the size. The reverse does not hold.
func (t *treeSide) dataHash(inode uint64, seed maphash.Seed) (uint64, error) {
	var hash maphash.Hash
	hash.SetSeed(seed)
	var header [10]byte
	err := t.search.Search(t.dir, itemsOf(t.root.ID, inode, extentDataKey, extentDataKey), func(item SearchItem) error {
		if len(item.Data) < extentGenSize {
			return itemError("extent", item, errShortItem)
		}
		binary.LittleEndian.PutUint64(header[:], item.Offset)
		binary.LittleEndian.PutUint16(header[8:], uint16(len(item.Data)))
		hash.Write(header[:])
		// The generation of an extent that another file shares by reflink differs.
		hash.Write(item.Data[extentGenSize:])
		return nil
	})
	return hash.Sum64(), err
}

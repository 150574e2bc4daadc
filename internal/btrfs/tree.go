// Reading the root tree, where btrfs keeps its subvolumes: which there are,
// what contains them, which is the default one.

package btrfs

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/pkg/snapshot"
)

// Constants of linux/btrfs_tree.h.
const (
	rootTree       = 1 // BTRFS_ROOT_TREE_OBJECTID
	rootTreeDir    = 6 // BTRFS_ROOT_TREE_DIR_OBJECTID
	lastFree       = ^uint64(255)
	inodeRefKey    = 12
	dirItemKey     = 84
	rootItemKey    = 132
	rootBackrefKey = 144
	rootRefKey     = 156

	rootItemFlagsRO = 1 // BTRFS_ROOT_SUBVOL_RDONLY
)

// treeReader searches the trees of h's file system with one buffer, which it
// uses again and again.
type treeReader struct {
	h      handle
	buffer *searchBuffer
}

func (h handle) reader(bytes int) *treeReader {
	return &treeReader{h: h, buffer: newSearchBuffer(bytes)}
}

// maxItem is more than any item that is read here takes, with its header: root
// items have 439 bytes, names at most 255.
const maxItem = 1 << 10

// object selects the items of one object from one type to another.
func object(tree, id uint64, from, to uint8) snapshot.SearchKey {
	return snapshot.SearchKey{
		Tree: tree, MinObject: id, MaxObject: id, MinType: from, MaxType: to,
		MaxOffset: math.MaxUint64, MaxTransid: math.MaxUint64,
	}
}

// each calls fn with the items that key selects, in order. Their data is valid
// during the call.
func (r *treeReader) each(key snapshot.SearchKey, fn func(snapshot.SearchItem) error) error {
	for {
		count, _, err := treeSearch(r.h.fd, key, r.buffer)
		if errors.Is(err, unix.ENOTTY) {
			return fmt.Errorf("%w (%w)", snapshot.ErrNotBtrfs, err)
		}
		if err != nil || count == 0 {
			return err
		}
		results := r.buffer.bytes()[searchArgsSize:]
		last, used, err := eachItem(results, count, fn)
		if err != nil {
			return err
		}
		// The kernel stops where the range ends or where the next item does not fit.
		if used+maxItem <= len(results) || !continueAfter(&key, last) {
			return nil
		}
	}
}

// rootItem reads a ROOT_ITEM. One that is being deleted has no references any
// more, and one that cannot be read is no subvolume.
func rootItem(item snapshot.SearchItem) (sv snapshot.Subvolume, live bool) {
	const refs = 216 // of struct btrfs_root_item, linux/btrfs_tree.h
	sv, err := snapshot.ParseRoot(item)
	return sv, err == nil && binary.LittleEndian.Uint32(item.Data[refs:]) != 0
}

// place is where a subvolume hangs: name in directory dir of subvolume parent.
type place struct {
	parent, dir uint64
	name        string
}

// rootRef reads a ROOT_REF or ROOT_BACKREF, which are alike.
func rootRef(item snapshot.SearchItem, parent uint64) (place, error) {
	dir, name, err := snapshot.ParseRootRef(item)
	return place{parent: parent, dir: dir, name: name}, err
}

// info describes the subvolume whose root directory h is.
func (h handle) info() (snapshot.Subvolume, error) {
	raw, err := h.raw()
	if err != nil {
		return snapshot.Subvolume{}, err
	}
	sv := snapshot.Subvolume{
		ID: snapshot.SubvolumeID(raw.ID), Parent: snapshot.SubvolumeID(raw.ParentID),
		UUID: raw.UUID, ParentUUID: raw.ParentUUID, ReceivedUUID: raw.ReceivedUUID,
		Generation: raw.Generation, Origin: raw.OTransid,
		ReadOnly: raw.Flags&rootItemFlagsRO != 0, Created: raw.OTime.time(),
	}
	if raw.ParentID != 0 {
		name := raw.Name[:]
		if end := slices.Index(name, 0); end >= 0 {
			name = name[:end]
		}
		names := h.newResolver()
		sv.Path, err = names.path(place{raw.ParentID, raw.DirID, string(name)})
	}
	return sv, err
}

func (h handle) byID(id snapshot.SubvolumeID) (snapshot.Subvolume, error) {
	sv, at, err := h.newResolver().root(uint64(id))
	if err != nil || id == snapshot.TopLevel {
		return sv, err
	}
	sv.Path, err = h.newResolver().path(at)
	return sv, err
}

func (h handle) list() ([]snapshot.Subvolume, error) { return h.newResolver().list(h.reader(64 << 10)) }

func (h handle) nested(id snapshot.SubvolumeID) ([]snapshot.Subvolume, error) {
	return h.newResolver().nested(id)
}

func (h handle) defaultID() (snapshot.SubvolumeID, error) { return defaultID(h.reader(4 << 10)) }

// defaultID reads the entry "default" of the root tree's directory.
// Layout: linux/btrfs_tree.h, struct btrfs_dir_item: location (disk key, 17
// bytes), transid, data_len, name_len, type, then name and data.
func defaultID(r itemReader) (snapshot.SubvolumeID, error) {
	id := snapshot.TopLevel
	entries := object(rootTree, rootTreeDir, dirItemKey, dirItemKey)
	err := r.each(entries, func(item snapshot.SearchItem) error {
		const head = 30
		for data := item.Data; len(data) > 0; {
			if len(data) < head {
				return errors.New("damaged directory item in the root tree")
			}
			dataLen := int(binary.LittleEndian.Uint16(data[25:]))
			nameLen := int(binary.LittleEndian.Uint16(data[27:]))
			if len(data) < head+nameLen+dataLen {
				return errors.New("damaged directory item in the root tree")
			}
			if string(data[head:head+nameLen]) == "default" {
				id = snapshot.SubvolumeID(binary.LittleEndian.Uint64(data))
			}
			data = data[head+nameLen+dataLen:]
		}
		return nil
	})
	return id, err
}

// itemReader finds items of trees, in order.
type itemReader interface {
	each(key snapshot.SearchKey, fn func(snapshot.SearchItem) error) error
}

var _ itemReader = (*treeReader)(nil)

// resolver turns places into paths from the top level, and remembers.
type resolver struct {
	reader itemReader
	sync   func() error
	places map[uint64]place
	// dirs are the directories of subvolumes: {subvolume, inode} → path in it, with a final slash.
	dirs map[[2]uint64]string
}

func (h handle) newResolver() *resolver {
	return &resolver{reader: h.reader(4 << 10), sync: h.sync, places: map[uint64]place{}, dirs: map[[2]uint64]string{}}
}

// list reads all of the root tree by a reader with room for many items.
func (r *resolver) list(all itemReader) ([]snapshot.Subvolume, error) {
	var list []snapshot.Subvolume
	sv, live := snapshot.Subvolume{}, false
	roots := object(rootTree, firstFreeObjectID, rootItemKey, rootBackrefKey)
	roots.MaxObject = lastFree
	err := all.each(roots, func(item snapshot.SearchItem) error {
		switch item.Type {
		case rootItemKey:
			sv, live = rootItem(item)
		case rootBackrefKey:
			// One that was deleted keeps its item until the cleaner comes to it, but not this.
			if live && sv.ID == snapshot.SubvolumeID(item.Object) {
				at, err := rootRef(item, item.Offset)
				if err != nil {
					return err
				}
				sv.Parent = snapshot.SubvolumeID(item.Offset)
				r.places[item.Object] = at
				list = append(list, sv)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r.resolve(list)
}

func (r *resolver) nested(id snapshot.SubvolumeID) ([]snapshot.Subvolume, error) {
	if _, _, err := r.root(uint64(id)); err != nil {
		return nil, err
	}
	refs := object(rootTree, uint64(id), rootRefKey, rootRefKey)
	err := r.reader.each(refs, func(item snapshot.SearchItem) (err error) {
		r.places[item.Offset], err = rootRef(item, uint64(id))
		return err
	})
	if err != nil {
		return nil, err
	}
	var list []snapshot.Subvolume
	for child, at := range r.places {
		if at.parent != uint64(id) {
			continue
		}
		sv, _, err := r.root(child)
		if errors.Is(err, snapshot.ErrNoSubvolume) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, sv)
	}
	slices.SortFunc(list, func(a, b snapshot.Subvolume) int { return cmp.Compare(a.ID, b.ID) })
	return r.resolve(list)
}

// errRenamed: a directory has its old name and its new one until the next commit.
var errRenamed = errors.New("renamed, and not committed yet")

// resolve fills in the paths, and leaves out what was deleted meanwhile.
func (r *resolver) resolve(list []snapshot.Subvolume) ([]snapshot.Subvolume, error) {
	kept := list[:0]
	for _, sv := range list {
		p, err := r.path(r.places[uint64(sv.ID)])
		if errors.Is(err, snapshot.ErrNoSubvolume) || errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot find the path of subvolume %d: %w", sv.ID, err)
		}
		sv.Path = p
		kept = append(kept, sv)
	}
	return kept, nil
}

// path is where a subvolume lies from the top level.
func (r *resolver) path(at place) (string, error) {
	p, err := r.tryPath(at, 0)
	if !errors.Is(err, errRenamed) {
		return p, err
	}
	// btrfs adds the new name at once and takes the old one away with the commit.
	if err := r.sync(); err != nil {
		return "", err
	}
	return r.tryPath(at, 0)
}

// deepest is far above any tree of directories or of subvolumes. What lies
// deeper lies in itself: the tree is damaged.
const deepest = 4096

var errDeep = fmt.Errorf("damaged tree: it lies more than %d levels deep", deepest)

func (r *resolver) tryPath(at place, depth int) (string, error) {
	if depth > deepest {
		return "", errDeep
	}
	dir, err := r.dir(at.parent, at.dir, 0)
	if err != nil {
		return "", err
	}
	p := dir + at.name
	if at.parent == uint64(snapshot.TopLevel) {
		return p, nil
	}
	up, ok := r.places[at.parent]
	if !ok {
		if _, up, err = r.root(at.parent); err != nil {
			return "", err
		}
		r.places[at.parent] = up
	}
	above, err := r.tryPath(up, depth+1)
	if err != nil {
		return "", err
	}
	return path.Join(above, p), nil
}

// dir is the path of a directory inside its subvolume, by the INODE_REF items
// up to the subvolume's root.
func (r *resolver) dir(tree, inode uint64, depth int) (string, error) {
	if inode == firstFreeObjectID {
		return "", nil
	}
	if known, ok := r.dirs[[2]uint64{tree, inode}]; ok {
		return known, nil
	}
	if depth > deepest {
		return "", errDeep
	}
	var up uint64
	var name string
	names := 0
	refs := object(tree, inode, inodeRefKey, inodeRefKey)
	err := r.reader.each(refs, func(item snapshot.SearchItem) error {
		return snapshot.EachName(item, func(parent uint64, found []byte) error {
			up, name = parent, string(found)
			names++
			return nil
		})
	})
	switch {
	case err != nil:
		return "", err
	case names == 0:
		return "", unix.ENOENT
	case names > 1: // a directory has one name only
		return "", errRenamed
	}
	above, err := r.dir(tree, up, depth+1)
	if err != nil {
		return "", err
	}
	r.dirs[[2]uint64{tree, inode}] = above + name + "/"
	return r.dirs[[2]uint64{tree, inode}], nil
}

// root reads the items of one subvolume: all but its path, and its place.
func (r *resolver) root(id uint64) (snapshot.Subvolume, place, error) {
	sv := snapshot.Subvolume{ID: snapshot.SubvolumeID(id)}
	var at place
	live := false
	items := object(rootTree, id, rootItemKey, rootBackrefKey)
	err := r.reader.each(items, func(item snapshot.SearchItem) error {
		switch item.Type {
		case rootItemKey:
			sv, live = rootItem(item)
		case rootBackrefKey:
			var err error
			at, err = rootRef(item, item.Offset)
			return err
		}
		return nil
	})
	if err != nil {
		return snapshot.Subvolume{}, place{}, err
	}
	// Trees that are no subvolumes have root items too.
	isSubvolume := id == uint64(snapshot.TopLevel) || (id >= firstFreeObjectID && id <= lastFree && at.parent != 0)
	if !live || !isSubvolume {
		return snapshot.Subvolume{}, place{}, fmt.Errorf("%w: %d", snapshot.ErrNoSubvolume, id)
	}
	sv.Parent = snapshot.SubvolumeID(at.parent)
	return sv, at, nil
}

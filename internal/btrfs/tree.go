// Reading the root tree, where btrfs keeps its subvolumes: which there are,
// what contains them, which is the default one.

package btrfs

import (
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

// rootItem reads struct btrfs_root_item of linux/btrfs_tree.h (packed), where
// the uuids come after generation_v2 in items of Linux 3.6 and later.
func rootItem(data []byte, sv *snapshot.Subvolume) (live bool) {
	const (
		generation, flags, refs           = 160, 208, 216
		uuid, parentUUID, receivedUUID    = 247, 263, 279
		otransid, otimeSec, otimeNsec     = 303, 339, 347
		legacySize, sizeWithUUIDsAndTimes = 239, 375
	)
	le := binary.LittleEndian
	if len(data) < legacySize {
		return false
	}
	sv.Generation = le.Uint64(data[generation:])
	sv.ReadOnly = le.Uint64(data[flags:])&rootItemFlagsRO != 0
	if len(data) >= sizeWithUUIDsAndTimes {
		copy(sv.UUID[:], data[uuid:])
		copy(sv.ParentUUID[:], data[parentUUID:])
		copy(sv.ReceivedUUID[:], data[receivedUUID:])
		sv.Origin = le.Uint64(data[otransid:])
		sv.Created = at(le.Uint64(data[otimeSec:]), le.Uint32(data[otimeNsec:]))
	}
	return le.Uint32(data[refs:]) != 0
}

// place is where a subvolume hangs: name in directory dir of subvolume parent.
type place struct {
	parent, dir uint64
	name        string
}

// rootRef reads struct btrfs_root_ref of linux/btrfs_tree.h: dirid, sequence,
// length of the name, name. ROOT_REF and ROOT_BACKREF are alike.
func rootRef(data []byte, parent uint64) place {
	name := data[18 : 18+int(binary.LittleEndian.Uint16(data[16:]))]
	return place{parent: parent, dir: binary.LittleEndian.Uint64(data), name: string(name)}
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

func (h handle) list() ([]snapshot.Subvolume, error) {
	var list []snapshot.Subvolume
	names := h.newResolver()
	sv, live := snapshot.Subvolume{}, false
	all := object(rootTree, firstFreeObjectID, rootItemKey, rootBackrefKey)
	all.MaxObject = lastFree
	err := h.reader(64<<10).each(all, func(item snapshot.SearchItem) error {
		switch item.Type {
		case rootItemKey:
			sv = snapshot.Subvolume{ID: snapshot.SubvolumeID(item.Object)}
			live = rootItem(item.Data, &sv)
		case rootBackrefKey:
			// One that was deleted keeps its item until the cleaner comes to it, but not this.
			if live && sv.ID == snapshot.SubvolumeID(item.Object) {
				sv.Parent = snapshot.SubvolumeID(item.Offset)
				names.places[item.Object] = rootRef(item.Data, item.Offset)
				list = append(list, sv)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return names.resolve(list)
}

func (h handle) nested(id snapshot.SubvolumeID) ([]snapshot.Subvolume, error) {
	names := h.newResolver()
	if _, _, err := names.root(uint64(id)); err != nil {
		return nil, err
	}
	refs := object(rootTree, uint64(id), rootRefKey, rootRefKey)
	err := names.reader.each(refs, func(item snapshot.SearchItem) error {
		names.places[item.Offset] = rootRef(item.Data, uint64(id))
		return nil
	})
	if err != nil {
		return nil, err
	}
	var list []snapshot.Subvolume
	for child, at := range names.places {
		if at.parent != uint64(id) {
			continue
		}
		sv, _, err := names.root(child)
		if errors.Is(err, snapshot.ErrNoSubvolume) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, sv)
	}
	slices.SortFunc(list, func(a, b snapshot.Subvolume) int { return int(a.ID) - int(b.ID) })
	return names.resolve(list)
}

// defaultID reads the entry "default" of the root tree's directory.
// Layout: linux/btrfs_tree.h, struct btrfs_dir_item: location (disk key, 17
// bytes), transid, data_len, name_len, type, then name and data.
func (h handle) defaultID() (snapshot.SubvolumeID, error) {
	id := snapshot.TopLevel
	entries := object(rootTree, rootTreeDir, dirItemKey, dirItemKey)
	err := h.reader(4<<10).each(entries, func(item snapshot.SearchItem) error {
		const head = 30
		for data := item.Data; len(data) >= head; {
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

// resolver turns places into paths from the top level, and remembers.
type resolver struct {
	h      handle
	reader *treeReader
	places map[uint64]place
	// dirs are the directories of subvolumes: {subvolume, inode} → path in it, with a final slash.
	dirs map[[2]uint64]string
}

func (h handle) newResolver() *resolver {
	return &resolver{h: h, reader: h.reader(4 << 10), places: map[uint64]place{}, dirs: map[[2]uint64]string{}}
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
	p, err := r.tryPath(at)
	if !errors.Is(err, errRenamed) {
		return p, err
	}
	// btrfs adds the new name at once and takes the old one away with the commit.
	if err := r.h.sync(); err != nil {
		return "", err
	}
	return r.tryPath(at)
}

func (r *resolver) tryPath(at place) (string, error) {
	dir, err := r.dir(at.parent, at.dir)
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
	above, err := r.tryPath(up)
	if err != nil {
		return "", err
	}
	return path.Join(above, p), nil
}

// dir is the path of a directory inside its subvolume, by the INODE_REF items
// up to the subvolume's root: index, length of the name, name.
func (r *resolver) dir(tree, inode uint64) (string, error) {
	if inode == firstFreeObjectID {
		return "", nil
	}
	if known, ok := r.dirs[[2]uint64{tree, inode}]; ok {
		return known, nil
	}
	var up uint64
	var name string
	names := 0
	refs := object(tree, inode, inodeRefKey, inodeRefKey)
	err := r.reader.each(refs, func(item snapshot.SearchItem) error {
		data := item.Data
		for up = item.Offset; len(data) >= 10; names++ {
			end := 10 + int(binary.LittleEndian.Uint16(data[8:]))
			name = string(data[10:end])
			data = data[end:]
		}
		return nil
	})
	switch {
	case err != nil:
		return "", err
	case names == 0:
		return "", unix.ENOENT
	case names > 1: // a directory has one name only
		return "", errRenamed
	}
	above, err := r.dir(tree, up)
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
			live = rootItem(item.Data, &sv)
		case rootBackrefKey:
			sv.Parent, at = snapshot.SubvolumeID(item.Offset), rootRef(item.Data, item.Offset)
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
	return sv, at, nil
}

// The items of btrfs trees that a comparison reads, taken apart. Nothing here
// trusts a length or a name that comes from the disk.

package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Sizes of the packed structs of linux/btrfs_tree.h; those that end in a name
// are given without it.
const (
	inodeItemSize   = 160
	inodeRefSize    = 10
	inodeExtrefSize = 18
	dirItemSize     = 30
	rootItemSize    = 439
	rootItemV1Size  = 239
	rootRefSize     = 18
	extentGenSize   = 8 // the generation that struct btrfs_file_extent_item begins with
)

var errShortItem = errors.New("it is too short")

// itemError says which item cannot be understood.
func itemError(what string, item SearchItem, err error) error {
	return fmt.Errorf("cannot read the %s of object %d (%d bytes): %w", what, item.Object, len(item.Data), err)
}

// parseInode reads what the search needs of a struct btrfs_inode_item.
func parseInode(item SearchItem) (transid uint64, links uint32, err error) {
	if len(item.Data) < inodeItemSize {
		return 0, 0, itemError("inode", item, errShortItem)
	}
	return binary.LittleEndian.Uint64(item.Data[8:]), binary.LittleEndian.Uint32(item.Data[40:]), nil
}

// EachName calls fn for each name that an INODE_REF or INODE_EXTREF item gives
// to its object: struct btrfs_inode_ref or btrfs_inode_extref, one after the
// other. The name is valid until fn returns.
func EachName(item SearchItem, fn func(parent uint64, name []byte) error) error {
	rest := item.Data
	for len(rest) > 0 {
		parent, header := item.Offset, inodeRefSize
		if item.Type == inodeExtrefKey {
			header = inodeExtrefSize
		}
		if len(rest) < header {
			return itemError("name", item, errShortItem)
		}
		if item.Type == inodeExtrefKey {
			parent = binary.LittleEndian.Uint64(rest)
		}
		length := int(binary.LittleEndian.Uint16(rest[header-2:]))
		if len(rest) < header+length {
			return itemError("name", item, errShortItem)
		}
		name := rest[header : header+length]
		// The root directory refers to itself as "..".
		if item.Object != firstFreeObject {
			if err := checkName(name); err != nil {
				return itemError("name", item, err)
			}
			if err := fn(parent, name); err != nil {
				return err
			}
		}
		rest = rest[header+length:]
	}
	return nil
}

// checkName refuses what cannot be an entry of a directory, because names are
// opened and joined to paths.
func checkName(name []byte) error {
	if len(name) == 0 || len(name) > 255 || bytes.IndexByte(name, '/') >= 0 || bytes.IndexByte(name, 0) >= 0 ||
		string(name) == "." || string(name) == ".." {
		return fmt.Errorf("%q cannot be a file name", name)
	}
	return nil
}

// What a directory entry is, as far as a comparison must know before it looks.
const (
	entryOther     = iota
	entryDirectory // a directory of the same tree
	entrySubvolume // a nested subvolume, or the stub of one that was not forked along
)

// parseDirEntry reads a DIR_INDEX item, a struct btrfs_dir_item. For a
// subvolume, object is the id of its tree. The name is valid as long as the item.
func parseDirEntry(item SearchItem) (object uint64, kind uint8, name []byte, err error) {
	const typeDirectory, typeMask = 2, 0x7f
	data := item.Data
	if len(data) < dirItemSize {
		return 0, 0, nil, itemError("directory entry", item, errShortItem)
	}
	length := int(binary.LittleEndian.Uint16(data[27:]))
	if len(data) < dirItemSize+length {
		return 0, 0, nil, itemError("directory entry", item, errShortItem)
	}
	name = data[dirItemSize : dirItemSize+length]
	if err := checkName(name); err != nil {
		return 0, 0, nil, itemError("directory entry", item, err)
	}
	switch {
	case data[8] == rootItemKey:
		kind = entrySubvolume
	case data[29]&typeMask == typeDirectory:
		kind = entryDirectory
	}
	return binary.LittleEndian.Uint64(data), kind, name, nil
}

// ParseRoot reads a ROOT_ITEM, a struct btrfs_root_item.
func ParseRoot(item SearchItem) (Subvolume, error) {
	const flagReadOnly = 1
	data := item.Data
	if len(data) < rootItemV1Size {
		return Subvolume{}, itemError("root", item, errShortItem)
	}
	s := Subvolume{
		ID:         SubvolumeID(item.Object),
		Generation: binary.LittleEndian.Uint64(data[160:]),
		ReadOnly:   binary.LittleEndian.Uint64(data[208:])&flagReadOnly != 0,
	}
	// A kernel that knew no uuids leaves an older copy of the generation behind.
	if len(data) < rootItemSize || binary.LittleEndian.Uint64(data[239:]) != s.Generation {
		return s, nil
	}
	copy(s.UUID[:], data[247:263])
	copy(s.ParentUUID[:], data[263:279])
	copy(s.ReceivedUUID[:], data[279:295])
	s.Origin = binary.LittleEndian.Uint64(data[303:])
	if sec, nsec := binary.LittleEndian.Uint64(data[339:]), binary.LittleEndian.Uint32(data[347:]); sec != 0 || nsec != 0 {
		s.Created = time.Unix(int64(sec), int64(nsec)).UTC()
	}
	return s, nil
}

// ParseRootRef reads a ROOT_REF: in which directory of the object's tree, and
// under which name, the subvolume item.Offset lies.
func ParseRootRef(item SearchItem) (directory uint64, name string, err error) {
	data := item.Data
	if len(data) < rootRefSize {
		return 0, "", itemError("nested subvolume", item, errShortItem)
	}
	length := int(binary.LittleEndian.Uint16(data[16:]))
	if len(data) < rootRefSize+length {
		return 0, "", itemError("nested subvolume", item, errShortItem)
	}
	found := data[rootRefSize : rootRefSize+length]
	if err := checkName(found); err != nil {
		return 0, "", itemError("nested subvolume", item, err)
	}
	return binary.LittleEndian.Uint64(data), string(found), nil
}

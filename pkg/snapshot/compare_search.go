// How a comparison reads the trees of a btrfs file system. internal/btrfs
// implements it with the tree search ioctl.

package snapshot

import "math"

// SearchKey selects the items of one tree between two keys, both included.
// Keys are ordered by object, then type, then offset, and so is the range: an
// item of an object between the two may have any type. Names and values are
// those of linux/btrfs_tree.h.
type SearchKey struct {
	// Tree is the id of the tree; 0 is the subvolume that the directory lies in.
	Tree                 uint64
	MinObject, MaxObject uint64
	MinType, MaxType     uint8
	MinOffset, MaxOffset uint64
	// MinTransid and MaxTransid select items by the transaction that wrote the
	// tree block that they are in, which is not before the item's own last
	// change. A MaxTransid of 0 is no bound.
	MinTransid, MaxTransid uint64
}

// SearchItem is one item of a tree.
type SearchItem struct {
	Object uint64
	Type   uint8
	Offset uint64
	// Transid is the transaction that wrote the tree block.
	Transid uint64
	// Data is valid only until the callback returns, and not to be written to.
	Data []byte
}

// Searcher reads the trees of a file system.
type Searcher interface {
	// Search calls fn for each item that key selects, in the order of keys. dir
	// is a descriptor of any open directory of the file system. The first error
	// of fn ends the search and is returned as it is.
	Search(dir int, key SearchKey, fn func(SearchItem) error) error
}

// Object ids, item types and trees of linux/btrfs_tree.h.
const (
	rootTree        = 1
	orphanObject    = 1<<64 - 5 // BTRFS_ORPHAN_OBJECTID
	orphanItemKey   = 48
	firstFreeObject = 256 // the root directory of every subvolume, too
	lastFreeObject  = math.MaxUint64 - 255

	inodeItemKey   = 1
	inodeRefKey    = 12
	inodeExtrefKey = 13
	dirIndexKey    = 96
	extentDataKey  = 108
	rootItemKey    = 132
	rootRefKey     = 156
)

// itemsOf selects the items of one object whose types are from first to last.
func itemsOf(tree SubvolumeID, object uint64, first, last uint8) SearchKey {
	return SearchKey{
		Tree:      uint64(tree),
		MinObject: object, MaxObject: object,
		MinType: first, MaxType: last,
		MaxOffset: math.MaxUint64,
	}
}

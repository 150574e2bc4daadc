// The tree search ioctl, which reads the items of any tree of a mounted file
// system: comparing snapshots by generation needs it, and lists of subvolumes
// are cheapest through it.

package btrfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/pkg/snapshot"
)

var _ snapshot.Searcher = (*Searcher)(nil)

// Searcher searches trees with BTRFS_IOC_TREE_SEARCH_V2, which needs
// CAP_SYS_ADMIN. The zero value is ready; it may be used from several
// goroutines.
type Searcher struct {
	buffers sync.Pool // of *searchBuffer
}

// Layout: linux/btrfs.h, struct btrfs_ioctl_search_args_v2 (the key, the size
// of the buffer, the buffer) and struct btrfs_ioctl_search_header.
const (
	// _IOWR(0x94, 17, struct btrfs_ioctl_search_args_v2); both bits of the
	// direction are set, so the number is the same on every architecture.
	treeSearchV2 = 3<<30 | searchArgsSize<<16 | 0x94<<8 | 17

	searchArgsSize   = 112
	searchHeaderSize = 32

	offTree       = 0
	offMinObject  = 8
	offMaxObject  = 16
	offMinOffset  = 24
	offMaxOffset  = 32
	offMinTransid = 40
	offMaxTransid = 48
	offMinType    = 56
	offMaxType    = 60
	offItems      = 64
	offBufferSize = 104

	// maxNodeSize bounds the length of an item: none is larger than the block it is in.
	maxNodeSize = 64 << 10
	// One item of a block of the largest size fits into the first buffer, and
	// a short result leaves that much room, which shows that it is complete.
	firstBuffer = 2 * maxNodeSize
	largeBuffer = 1 << 20
)

// searchBuffer is the argument of the ioctl, aligned for its 64-bit fields.
type searchBuffer struct {
	words []uint64
}

func newSearchBuffer(size int) *searchBuffer {
	return &searchBuffer{words: make([]uint64, (searchArgsSize+size+7)/8)}
}

func (b *searchBuffer) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&b.words[0])), len(b.words)*8)
}

// Search calls fn for each item of the trees of dir's file system that key
// selects, in order. It fails where dir is not on btrfs (ErrNotBtrfs), the
// tree does not exist (fs.ErrNotExist) or CAP_SYS_ADMIN is missing
// (fs.ErrPermission). What was written but not committed yet is not found.
func (s *Searcher) Search(dir int, key snapshot.SearchKey, fn func(snapshot.SearchItem) error) error {
	if key.MaxTransid == 0 {
		key.MaxTransid = math.MaxUint64
	}
	buffer, _ := s.buffers.Get().(*searchBuffer)
	if buffer == nil {
		buffer = newSearchBuffer(firstBuffer)
	}
	defer func() { s.buffers.Put(buffer) }()

	for {
		count, needed, err := treeSearch(dir, key, buffer)
		if errors.Is(err, unix.EOVERFLOW) && needed > uint64(len(buffer.bytes())-searchArgsSize) && needed <= math.MaxInt32 {
			buffer = newSearchBuffer(int(needed))
			continue
		}
		if errors.Is(err, unix.ENOTTY) {
			err = snapshot.ErrNotBtrfs
		}
		if err != nil {
			return fmt.Errorf("cannot search tree %d: %w", key.Tree, err)
		}
		if count == 0 {
			return nil
		}
		results := buffer.bytes()[searchArgsSize:]
		last, used, err := eachItem(results, count, fn)
		if err != nil {
			return err
		}
		// The kernel stops where the range ends or where the next item does not fit.
		if used+searchHeaderSize+maxNodeSize <= len(results) {
			return nil
		}
		if !continueAfter(&key, last) {
			return nil
		}
		if len(results) < largeBuffer {
			buffer = newSearchBuffer(largeBuffer)
		}
	}
}

// treeSearch asks the kernel once. It returns the number of items in the
// buffer or, with EOVERFLOW, the size that the first one needs.
func treeSearch(dir int, key snapshot.SearchKey, buffer *searchBuffer) (count uint32, needed uint64, err error) {
	args := buffer.bytes()
	clear(args[:searchArgsSize])
	native := binary.NativeEndian
	native.PutUint64(args[offTree:], key.Tree)
	native.PutUint64(args[offMinObject:], key.MinObject)
	native.PutUint64(args[offMaxObject:], key.MaxObject)
	native.PutUint64(args[offMinOffset:], key.MinOffset)
	native.PutUint64(args[offMaxOffset:], key.MaxOffset)
	native.PutUint64(args[offMinTransid:], key.MinTransid)
	native.PutUint64(args[offMaxTransid:], key.MaxTransid)
	native.PutUint32(args[offMinType:], uint32(key.MinType))
	native.PutUint32(args[offMaxType:], uint32(key.MaxType))
	native.PutUint32(args[offItems:], math.MaxUint32)
	native.PutUint64(args[offBufferSize:], uint64(len(args)-searchArgsSize))
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(dir), treeSearchV2, uintptr(unsafe.Pointer(&buffer.words[0])))
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0, native.Uint64(args[offBufferSize:]), errno
		}
		return native.Uint32(args[offItems:]), 0, nil
	}
}

// eachItem calls fn for count items in results and returns the last one (its
// Data no more) and the bytes that all of them take.
func eachItem(results []byte, count uint32, fn func(snapshot.SearchItem) error) (last snapshot.SearchItem, used int, err error) {
	native := binary.NativeEndian
	for n := range count {
		if len(results)-used < searchHeaderSize {
			return last, used, fmt.Errorf("cannot read a search result: item %d of %d begins beyond the buffer", n+1, count)
		}
		header := results[used:]
		kind, length := native.Uint32(header[24:]), native.Uint32(header[28:])
		used += searchHeaderSize
		if uint64(length) > uint64(len(results)-used) {
			return last, used, fmt.Errorf("cannot read a search result: item %d of %d ends beyond the buffer", n+1, count)
		}
		if kind > math.MaxUint8 {
			return last, used, fmt.Errorf("cannot read a search result: item %d of %d has type %d, above 255", n+1, count, kind)
		}
		item := snapshot.SearchItem{
			Transid: native.Uint64(header[0:]),
			Object:  native.Uint64(header[8:]),
			Offset:  native.Uint64(header[16:]),
			Type:    uint8(kind),
			Data:    results[used : used+int(length) : used+int(length)],
		}
		used += int(length)
		if err := fn(item); err != nil {
			return last, used, err
		}
		last = item
		last.Data = nil
	}
	return last, used, nil
}

// continueAfter makes key begin at the first key after item, and reports
// whether there is one that key selects.
func continueAfter(key *snapshot.SearchKey, item snapshot.SearchItem) bool {
	key.MinObject, key.MinType, key.MinOffset = item.Object, item.Type, item.Offset+1
	if key.MinOffset == 0 {
		key.MinType++
		if key.MinType == 0 {
			key.MinObject++
			if key.MinObject == 0 {
				return false
			}
		}
	}
	switch {
	case key.MinObject != key.MaxObject:
		return key.MinObject < key.MaxObject
	case key.MinType != key.MaxType:
		return key.MinType < key.MaxType
	default:
		return key.MinOffset <= key.MaxOffset
	}
}

// What the btrfs driver of the kernel tells, asked by ioctl.
// Layouts: linux/btrfs.h and linux/btrfs_tree.h.

package oracle

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Subvolume is one subvolume of the file system.
type Subvolume struct {
	ID       uint64 `json:"id"`
	Parent   uint64 `json:"parent"` // the one that it lies in
	UUID     string `json:"uuid"`
	ReadOnly bool   `json:"read_only"`
	// Path from the top level. Where it cannot be found out it is "?" and the id.
	Path string `json:"path"`
}

const (
	topLevelID = 5

	rootTree    = 1 // the tree that lists the others
	rootTreeDir = 6 // the directory in it that holds the name "default"
	firstFreeID = 256
	lastFreeID  = ^uint64(0) - 256

	orphans = ^uint64(0) - 4 // the object whose items name what waits to be cleaned up

	typeOrphan      = 48
	typeDirItem     = 84
	typeRootItem    = 132
	typeRootBackref = 144

	rootItemFlags    = 208 // offsets in struct btrfs_root_item
	rootItemRefs     = 216
	rootItemUUID     = 247
	rootItemLevel    = 238
	rootFlagReadOnly = 1
)

// searchKey is struct btrfs_ioctl_search_key.
type searchKey struct {
	Tree                     uint64
	MinObject, MaxObject     uint64
	MinOffset, MaxOffset     uint64
	MinTransid, MaxTransid   uint64
	MinType, MaxType, Number uint32
	_                        [36]byte
}

// search is struct btrfs_ioctl_search_args.
type search struct {
	Key searchKey
	Buf [4096 - unsafe.Sizeof(searchKey{})]byte
}

// lookup is struct btrfs_ioctl_ino_lookup_args.
type lookup struct {
	Tree, Object uint64
	Name         [4080]byte
}

const searchHeader = 32 // struct btrfs_ioctl_search_header

func ioctlNumber(direction, size uintptr, number uint) uint {
	return uint(direction)<<30 | uint(size)<<16 | 0x94<<8 | number
}

func ioctl(file *os.File, number uint, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, file.Fd(), uintptr(number), uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// item is one item of the tree of trees.
type item struct {
	object, offset uint64
	kind           uint32
	data           []byte
}

// items lists the items of some kinds in the tree of trees.
func items(file *os.File, minObject, maxObject uint64, minType, maxType uint32) ([]item, error) {
	var found []item
	args := search{Key: searchKey{
		Tree: rootTree, MinObject: minObject, MaxObject: maxObject, MaxOffset: ^uint64(0), MaxTransid: ^uint64(0),
		MinType: minType, MaxType: maxType,
	}}
	for {
		args.Key.Number = 4096
		if err := ioctl(file, ioctlNumber(3, unsafe.Sizeof(args), 17), unsafe.Pointer(&args)); err != nil {
			return nil, fmt.Errorf("cannot search the file system of %s: %w", file.Name(), err)
		}
		if args.Key.Number == 0 {
			return found, nil
		}
		at := 0
		var last item
		for range args.Key.Number {
			h := args.Buf[at:]
			last = item{
				object: binary.NativeEndian.Uint64(h[8:]), offset: binary.NativeEndian.Uint64(h[16:]),
				kind: binary.NativeEndian.Uint32(h[24:]),
			}
			size := int(binary.NativeEndian.Uint32(h[28:]))
			at += searchHeader
			last.data = slices.Clone(args.Buf[at : at+size])
			at += size
			// The search is by whole keys: everything between the first and the last one.
			if last.kind >= minType && last.kind <= maxType {
				found = append(found, last)
			}
		}
		args.Key.MinObject, args.Key.MinType, args.Key.MinOffset = last.object, last.kind, last.offset+1
		if last.offset == ^uint64(0) {
			args.Key.MinOffset = 0
			args.Key.MinType++
		}
	}
}

// subvolumes lists those of the file system that file is on, but for the top
// level and for what is deleted and waits to be cleaned up.
func subvolumes(file *os.File) ([]Subvolume, error) {
	all, err := items(file, firstFreeID, lastFreeID, typeRootItem, typeRootBackref)
	if err != nil {
		return nil, err
	}
	dying, err := items(file, orphans, orphans, typeOrphan, typeOrphan)
	if err != nil {
		return nil, err
	}
	type link struct {
		parent, dir uint64
		name        string
	}
	links := map[uint64]link{}
	var found []Subvolume
	for _, i := range all {
		switch i.kind {
		case typeRootItem:
			if len(i.data) <= rootItemLevel || binary.LittleEndian.Uint32(i.data[rootItemRefs:]) == 0 {
				continue
			}
			s := Subvolume{ID: i.object, ReadOnly: binary.LittleEndian.Uint64(i.data[rootItemFlags:])&rootFlagReadOnly != 0}
			if len(i.data) >= rootItemUUID+16 {
				s.UUID = formatUUID(i.data[rootItemUUID : rootItemUUID+16])
			}
			found = append(found, s)
		case typeRootBackref: // struct btrfs_root_ref and the name
			n := int(binary.LittleEndian.Uint16(i.data[16:]))
			links[i.object] = link{parent: i.offset, dir: binary.LittleEndian.Uint64(i.data), name: string(i.data[18 : 18+n])}
		}
	}
	found = slices.DeleteFunc(found, func(s Subvolume) bool {
		_, linked := links[s.ID]
		return !linked && slices.ContainsFunc(dying, func(i item) bool { return i.offset == s.ID })
	})
	paths := map[uint64]string{topLevelID: ""}
	var pathOf func(id uint64) (string, error)
	pathOf = func(id uint64) (string, error) {
		if p, ok := paths[id]; ok {
			return p, nil
		}
		l, ok := links[id]
		if !ok {
			return fmt.Sprintf("?%d", id), nil
		}
		above, err := pathOf(l.parent)
		if err != nil {
			return "", err
		}
		args := lookup{Tree: l.parent, Object: l.dir}
		if err := ioctl(file, ioctlNumber(3, unsafe.Sizeof(args), 18), unsafe.Pointer(&args)); err != nil {
			return "", fmt.Errorf("cannot find the directory of subvolume %d: %w", id, err)
		}
		paths[id] = path.Join(above, unix.ByteSliceToString(args.Name[:]), l.name)
		return paths[id], nil
	}
	for i := range found {
		s := &found[i]
		s.Parent = links[s.ID].parent
		if s.Path, err = pathOf(s.ID); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// defaultSubvolume is what a mount without options takes.
func defaultSubvolume(file *os.File) (uint64, error) {
	all, err := items(file, rootTreeDir, rootTreeDir, typeDirItem, typeDirItem)
	if err != nil {
		return 0, err
	}
	for _, i := range all {
		// struct btrfs_dir_item: the key that it leads to, a transid, two lengths, a type, the name
		if n := int(binary.LittleEndian.Uint16(i.data[27:])); string(i.data[30:30+n]) == "default" {
			return binary.LittleEndian.Uint64(i.data), nil
		}
	}
	return topLevelID, nil
}

// subvolumeOf is the id of the subvolume that an open file lies in.
func subvolumeOf(file *os.File) (uint64, error) {
	args := lookup{Object: firstFreeID}
	err := ioctl(file, ioctlNumber(3, unsafe.Sizeof(args), 18), unsafe.Pointer(&args))
	return args.Tree, err
}

// subvolumeAt is the subvolume that a directory lies in.
func (f *Facts) subvolumeAt(dir string) (Subvolume, error) {
	file, err := openDir(dir)
	if err != nil {
		return Subvolume{}, err
	}
	defer file.Close()
	id, err := subvolumeOf(file)
	if err != nil {
		return Subvolume{}, fmt.Errorf("cannot tell the subvolume of %s: %w", dir, err)
	}
	s, ok := f.byID(id)
	if !ok && id != topLevelID {
		return Subvolume{}, fmt.Errorf("%s lies in subvolume %d, which is not listed", dir, id)
	}
	if !ok {
		s.ID = id
	}
	return s, nil
}

// fsInfo is struct btrfs_ioctl_fs_info_args.
type fsInfo struct {
	MaxID, Devices uint64
	UUID           [16]byte
	_              [992]byte
}

// kernelUUID is what the running kernel knows a file system by. Of a copy of one that is
// mounted at the same time that is another uuid than the one on the disk.
func kernelUUID(file *os.File) (string, error) {
	var info fsInfo
	if err := ioctl(file, ioctlNumber(2, unsafe.Sizeof(info), 31), unsafe.Pointer(&info)); err != nil {
		return "", fmt.Errorf("%s is not on btrfs: %w", file.Name(), err)
	}
	return formatUUID(info.UUID[:]), nil
}

// superblockUUID is in the superblock of the file system on a device: 64 KiB from
// its start, after a checksum of 32 bytes.
func superblockUUID(device string) (string, error) {
	file, err := os.Open(device)
	if err != nil {
		return "", err
	}
	defer file.Close()
	var block [32 + 16 + 24]byte
	if _, err := file.ReadAt(block[:], 64<<10); err != nil {
		return "", err
	}
	if string(block[64:]) != "_BHRfS_M" {
		return "", fmt.Errorf("%s holds no btrfs", device)
	}
	return formatUUID(block[32:48]), nil
}

func formatUUID(b []byte) string {
	h := hex.EncodeToString(b)
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

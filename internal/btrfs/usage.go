// How much space is left, by kind: btrfs can be out of room for metadata with
// gigabytes free for data.

package btrfs

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/pkg/snapshot"
)

// Block group flags of linux/btrfs_tree.h.
const (
	groupData     = 1 << 0
	groupMetadata = 1 << 2
	groupReserve  = 1 << 49 // BTRFS_SPACE_INFO_GLOBAL_RSV
)

// copies is how often a profile writes what it holds. Of parity it is not known
// without the number of devices, and at most as much as for two copies.
var copies = []struct{ flag, copies uint64 }{
	{1 << 4, 2},  // RAID1
	{1 << 5, 2},  // DUP
	{1 << 6, 2},  // RAID10
	{1 << 7, 2},  // RAID5
	{1 << 8, 2},  // RAID6
	{1 << 9, 3},  // RAID1C3
	{1 << 10, 4}, // RAID1C4
}

func copiesOf(flags uint64) uint64 {
	for _, p := range copies {
		if flags&p.flag != 0 {
			return p.copies
		}
	}
	return 1
}

// maxSpaces is more than the kinds × profiles that there are.
const maxSpaces = 64

// spaceArgs is struct btrfs_ioctl_space_args of linux/btrfs.h.
type spaceArgs struct {
	Slots, Total uint64
	Spaces       [maxSpaces]struct{ Flags, Total, Used uint64 }
}

// fsInfoArgs is struct btrfs_ioctl_fs_info_args of linux/btrfs.h.
type fsInfoArgs struct {
	MaxID, Devices uint64
	_              [1008]byte
}

// devInfoArgs is struct btrfs_ioctl_dev_info_args of linux/btrfs.h.
type devInfoArgs struct {
	ID               uint64
	UUID             [16]byte
	Allocated, Total uint64
	_                [3032]byte
	Path             [1024]byte
}

// Usage implements snapshot.Driver.
func (Driver) Usage(path string) (snapshot.Usage, error) {
	dir, err := openAny(path)
	if err != nil {
		return snapshot.Usage{}, fmt.Errorf("cannot read the space left: %w", err)
	}
	defer dir.close()
	u, err := dir.usage()
	if err != nil {
		return snapshot.Usage{}, fmt.Errorf("cannot read the space left on %s: %w", path, err)
	}
	return u, nil
}

func (h handle) usage() (snapshot.Usage, error) {
	var u snapshot.Usage
	spaces := spaceArgs{Slots: maxSpaces}
	if err := h.ioctl(iocSpaceInfo, unsafe.Pointer(&spaces)); err != nil {
		return u, err
	}
	var reserved uint64
	mixed := false
	for _, s := range spaces.Spaces[:min(spaces.Total, maxSpaces)] {
		free := s.Total - min(s.Used, s.Total)
		if s.Flags&groupReserve != 0 {
			reserved += free // lies inside metadata, and is not ours to use
			continue
		}
		mixed = mixed || s.Flags&groupData != 0 && s.Flags&groupMetadata != 0
		if s.Flags&groupData != 0 {
			u.DataTotal, u.DataFree = u.DataTotal+s.Total, u.DataFree+free
			u.DataCopies = max(u.DataCopies, copiesOf(s.Flags))
		}
		if s.Flags&groupMetadata != 0 {
			u.MetadataTotal, u.MetadataFree = u.MetadataTotal+s.Total, u.MetadataFree+free
			u.MetadataCopies = max(u.MetadataCopies, copiesOf(s.Flags))
		}
	}
	u.MetadataFree -= min(reserved, u.MetadataFree)
	if mixed {
		u.DataFree -= min(reserved, u.DataFree)
	}

	err := h.eachDevice(func(dev *devInfoArgs) bool {
		u.Unallocated += dev.Total - min(dev.Allocated, dev.Total)
		return true
	})
	return u, err
}

// eachDevice hands over the devices of the file system until use says that it has enough.
func (h handle) eachDevice(use func(*devInfoArgs) (more bool)) error {
	var fs fsInfoArgs
	if err := h.ioctl(iocFSInfo, unsafe.Pointer(&fs)); err != nil {
		return err
	}
	for id := uint64(0); id <= fs.MaxID; id++ {
		dev := devInfoArgs{ID: id}
		err := h.ioctl(iocDevInfo, unsafe.Pointer(&dev))
		if errors.Is(err, unix.ENODEV) {
			continue // ids of removed devices leave gaps
		}
		if err != nil {
			return err
		}
		if !use(&dev) {
			break
		}
	}
	return nil
}

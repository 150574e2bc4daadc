// The ioctls that containerd/btrfs lacks, with their argument layouts.

package btrfs

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/pkg/snapshot"
)

// Constants of linux/btrfs.h and linux/btrfs_tree.h.
const (
	maxName = 255 // BTRFS_NAME_LEN

	subvolReadOnly = 1 << 1 // BTRFS_SUBVOL_RDONLY
	subvolSpecByID = 1 << 4 // BTRFS_SUBVOL_SPEC_BY_ID

	firstFreeObjectID = 256 // also the inode of every subvolume's root directory
)

// Request numbers: _IOC(direction, 0x94, nr, size).
const (
	dirWrite = 1 << 30
	dirRead  = 2 << 30
	magic    = 0x94 << 8

	iocDefaultSubvol  = dirWrite | 8<<16 | magic | 19
	iocSpaceInfo      = dirRead | dirWrite | 16<<16 | magic | 20
	iocWaitSync       = dirWrite | 8<<16 | magic | 22
	iocStartSync      = dirRead | 8<<16 | magic | 24
	iocSubvolGetFlags = dirRead | 8<<16 | magic | 25
	iocSubvolSetFlags = dirWrite | 8<<16 | magic | 26
	iocDevInfo        = dirRead | dirWrite | uint(unsafe.Sizeof(devInfoArgs{}))<<16 | magic | 30
	iocFSInfo         = dirRead | uint(unsafe.Sizeof(fsInfoArgs{}))<<16 | magic | 31
	iocGetSubvolInfo  = dirRead | uint(unsafe.Sizeof(subvolInfoArgs{}))<<16 | magic | 60
	iocSnapDestroyV2  = dirWrite | uint(unsafe.Sizeof(volArgsV2{}))<<16 | magic | 63
)

// volArgsV2 is struct btrfs_ioctl_vol_args_v2 of linux/btrfs.h, with the id in
// place of the name.
type volArgsV2 struct {
	FD      int64
	Transid uint64
	Flags   uint64
	_       [4]uint64
	ID      uint64
	_       [4032]byte
}

// subvolInfoArgs is struct btrfs_ioctl_get_subvol_info_args of linux/btrfs.h.
type subvolInfoArgs struct {
	ID           uint64
	Name         [256]byte
	ParentID     uint64
	DirID        uint64
	Generation   uint64
	Flags        uint64
	UUID         [16]byte
	ParentUUID   [16]byte
	ReceivedUUID [16]byte
	CTransid     uint64
	OTransid     uint64
	STransid     uint64
	RTransid     uint64
	CTime        timespec
	OTime        timespec
	STime        timespec
	RTime        timespec
	_            [8]uint64
}

// timespec is struct btrfs_ioctl_timespec of linux/btrfs.h.
type timespec struct {
	Sec  uint64
	Nsec uint32
	_    uint32
}

func (t timespec) time() time.Time { return at(t.Sec, t.Nsec) }

// at is a time stamp of btrfs; a subvolume without one has 0.
func at(sec uint64, nsec uint32) time.Time {
	if sec == 0 && nsec == 0 {
		return time.Time{}
	}
	return time.Unix(int64(sec), int64(nsec)).UTC()
}

func (h handle) ioctl(request uint, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(h.fd), uintptr(request), uintptr(arg))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		case unix.ENOTTY:
			return fmt.Errorf("%w (%w)", snapshot.ErrNotBtrfs, errno)
		default:
			return errno
		}
	}
}

// raw is what BTRFS_IOC_GET_SUBVOL_INFO says of the subvolume that h is in.
func (h handle) raw() (subvolInfoArgs, error) {
	var args subvolInfoArgs
	err := h.ioctl(iocGetSubvolInfo, unsafe.Pointer(&args))
	return args, err
}

// sync starts a commit of the file system and waits for it.
func (h handle) sync() error {
	var transid uint64
	if err := h.ioctl(iocStartSync, unsafe.Pointer(&transid)); err != nil {
		return err
	}
	err := h.ioctl(iocWaitSync, unsafe.Pointer(&transid))
	// Committed and forgotten before we asked.
	if errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

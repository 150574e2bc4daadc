// The few things about subvolumes that moving GRUB's files needs. Subvolumes of
// snapshots are the store's.

package boot

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests of linux/btrfs.h: _IOW(0x94, 14 and 15, struct btrfs_ioctl_vol_args).
const (
	iocSubvolCreate = 0x5000940e
	iocSnapDestroy  = 0x5000940f
)

// volArgs is struct btrfs_ioctl_vol_args.
type volArgs struct {
	_    int64
	name [4088]byte
}

func subvolumeIoctl(d *os.File, request uintptr, name string) error {
	var args volArgs
	copy(args.name[:len(args.name)-1], name)
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), request, uintptr(unsafe.Pointer(&args)))
		if errno == 0 {
			return nil
		}
		if !errors.Is(errno, unix.EINTR) {
			return errno
		}
	}
}

func createSubvolume(d *os.File, name string) error {
	if err := subvolumeIoctl(d, iocSubvolCreate, name); err != nil {
		return fmt.Errorf("cannot make the subvolume %s: %w", name, err)
	}
	return nil
}

func destroySubvolume(d *os.File, name string) error {
	if err := subvolumeIoctl(d, iocSnapDestroy, name); err != nil {
		return fmt.Errorf("cannot remove the subvolume %s: %w", name, err)
	}
	return nil
}

// openTop opens the top level of the btrfs file system on a device, without
// mounting it anywhere: it goes when it is closed.
func openTop(device string) (*os.File, error) {
	top, err := mountTop(device)
	if err != nil {
		return nil, fmt.Errorf("cannot open the top level of %s: %w", device, err)
	}
	return top, nil
}

func mountTop(device string) (*os.File, error) {
	fs, err := unix.Fsopen("btrfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "source", device); err != nil {
		return nil, err
	}
	if err := unix.FsconfigSetString(fs, "subvolid", "5"); err != nil {
		return nil, err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, err
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOATIME)
	if err != nil {
		return nil, err
	}
	defer unix.Close(mount)
	// The mount itself is only a place in a tree; ioctls need an open directory.
	// It keeps the file system mounted.
	fd, err := unix.Openat(mount, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), device), nil
}

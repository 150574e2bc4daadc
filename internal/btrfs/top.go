// Reaching what is mounted nowhere.

package btrfs

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// MountTop implements snapshot.Driver. The mount point is in /run: should this
// process be killed, it is gone at the next boot.
func (Driver) MountTop(path string) (dir string, release func() error, err error) {
	device, err := deviceOf(path)
	if err != nil {
		return "", nil, fmt.Errorf("cannot find the device of %s: %w", path, err)
	}
	if dir, err = os.MkdirTemp("/run", "txupd-top-"); err != nil {
		return "", nil, fmt.Errorf("cannot mount the top level of %s: %w", device, err)
	}
	if err := unix.Mount(device, dir, "btrfs", unix.MS_NOATIME|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "subvolid=5"); err != nil {
		return "", nil, errors.Join(fmt.Errorf("cannot mount the top level of %s: %w", device, err), os.Remove(dir))
	}
	return dir, func() error {
		// Lazily: a scanner of mounts may be looking.
		if err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("cannot unmount %s: %w", dir, err)
		}
		return os.Remove(dir)
	}, nil
}

// deviceOf is a device of a path's file system; any of several will do.
func deviceOf(path string) (device string, err error) {
	dir, err := openAny(path)
	if err != nil {
		return "", err
	}
	defer dir.close()
	err = dir.eachDevice(func(dev *devInfoArgs) bool {
		device = unix.ByteSliceToString(dev.Path[:])
		return device == ""
	})
	if err == nil && device == "" {
		err = unix.ENODEV
	}
	return device, err
}

// A second mount of the file system, of its top level, that nobody else sees:
// it belongs to no mount namespace and ends with its descriptor.

package oracle

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

type topLevel struct{ dir *os.File }

func (t *topLevel) Close() error { return t.dir.Close() }

// path is a path from the top level as this process can open it.
func (t *topLevel) path(p string) string {
	return filepath.Join(fmt.Sprintf("/proc/self/fd/%d", t.dir.Fd()), p)
}

// mountTop mounts the top level of the file system on a device.
func mountTop(device string) (*topLevel, error) {
	fd, err := mountDetached(device)
	if err != nil {
		return nil, fmt.Errorf("cannot mount the top level of %s: %w", device, err)
	}
	return &topLevel{os.NewFile(uintptr(fd), device)}, nil
}

func mountDetached(device string) (int, error) {
	context, err := unix.Fsopen("btrfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(context)
	if err := unix.FsconfigSetString(context, "source", device); err != nil {
		return -1, err
	}
	if err := unix.FsconfigSetString(context, "subvolid", fmt.Sprint(topLevelID)); err != nil {
		return -1, err
	}
	if err := unix.FsconfigCreate(context); err != nil {
		return -1, err
	}
	return unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOATIME)
}

// deviceOf is the device that is mounted at a directory.
func deviceOf(dir string) (string, error) {
	all, err := mountsOf("self")
	if err != nil {
		return "", err
	}
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Point == dir {
			return all[i].Source, nil
		}
	}
	return "", fmt.Errorf("nothing is mounted at %s", dir)
}

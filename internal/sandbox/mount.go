// Mount primitives. Everything goes through descriptors: a path inside a
// snapshot is resolved as if the snapshot were /, so that no symbolic link in
// it leads to the running system, and what was resolved is what is mounted on.

package sandbox

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/inroot"
)

// resolve opens path below root without following anything out of it.
func resolve(root int, path string, flags int, mode uint32) (int, error) {
	return inroot.OpenAt(root, path, flags, mode)
}

// absent reports errors that mean "there is no such directory".
func absent(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
}

// option is one parameter of a new file system.
type option struct{ key, value string }

// newFS makes a file system that is mounted nowhere yet. attributes are MOUNT_ATTR_*.
func newFS(kind string, attributes int, options ...option) (int, error) {
	context, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("cannot open the file system %s: %w", kind, err)
	}
	defer unix.Close(context)
	for _, o := range append([]option{{"source", kind}}, options...) {
		if err := unix.FsconfigSetString(context, o.key, o.value); err != nil {
			return -1, fmt.Errorf("cannot set %s=%s of the file system %s: %w", o.key, o.value, kind, err)
		}
	}
	if err := unix.FsconfigCreate(context); err != nil {
		return -1, fmt.Errorf("cannot create the file system %s: %w", kind, err)
	}
	fd, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return -1, fmt.Errorf("cannot make a mount of the file system %s: %w", kind, err)
	}
	return fd, nil
}

// newTmpfs is newFS for the one that the sandbox has most of.
func newTmpfs(mode string) (int, error) {
	return newFS("tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, option{"mode", mode})
}

// cloneTree makes a second mount of what at/path shows, mounted nowhere yet. An empty path is at itself.
func cloneTree(at int, path string, flags uint) (int, error) {
	if path == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	return unix.OpenTree(at, path, flags|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
}

// setAttributes changes a mount; flags may be AT_RECURSIVE.
func setAttributes(mount int, flags uint, set, clear uint64) error {
	return unix.MountSetattr(mount, "", flags|unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: set, Attr_clr: clear})
}

// attach puts a mount at target/path; an empty path is the target itself. A final symbolic link is not followed.
func attach(mount, target int, path string) error {
	flags := unix.MOVE_MOUNT_F_EMPTY_PATH
	if path == "" {
		flags |= unix.MOVE_MOUNT_T_EMPTY_PATH
	}
	return unix.MoveMount(mount, "", target, path, flags)
}

// writeFile makes a new file in a directory that nobody else writes.
func writeFile(dir int, name string, content []byte, mode uint32) error {
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	if err != nil {
		return fmt.Errorf("cannot create %s: %w", name, err)
	}
	defer unix.Close(fd)
	for len(content) > 0 {
		n, err := retry(func() (int, error) { return unix.Write(fd, content) })
		if err != nil {
			return fmt.Errorf("cannot write %s: %w", name, err)
		}
		content = content[n:]
	}
	return nil
}

// readFile reads a regular file of at most a megabyte, and nothing else: a
// named pipe or a device in a snapshot must not stop us.
func readFile(root int, path string) ([]byte, error) {
	return inroot.ReadFileAt(root, path, 1<<20)
}

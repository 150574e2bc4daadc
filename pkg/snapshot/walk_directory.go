// Directories of a tree that is being compared, opened relative to one another
// so that nothing inside the tree can lead out of it.

package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// keepOpen is how many directories above the current one stay open. In a
// deeper tree those further up are closed, and opened again when needed.
const keepOpen = 64

// directory is one directory of a tree. It is opened when first needed.
type directory struct {
	parent *directory // nil for the top
	name   string     // of the top: the path that was given
	fd     int        // -1 while closed
	mount  int        // of the top: the private mount, or -1
	btrfs  bool
}

// openTop opens the top of a tree. Where we may, that is a private mount of it,
// read-only and with noatime: then listing a directory or reading a link leaves
// no trace, and what is mounted inside is not there.
func openTop(dir string) (*directory, error) {
	d := &directory{name: dir, fd: -1, mount: privateMount(dir)}
	at, name := unix.AT_FDCWD, dir
	if d.mount >= 0 {
		at, name = d.mount, "."
	}
	fd, err := openAt(at, name, unix.O_DIRECTORY, 0)
	if err != nil {
		d.close()
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	d.fd = fd
	var system unix.Statfs_t
	if err := unix.Fstatfs(fd, &system); err != nil {
		d.close()
		return nil, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	d.btrfs = system.Type == unix.BTRFS_SUPER_MAGIC
	return d, nil
}

// privateMount clones the mount of dir, without those below it, or returns -1
// where the kernel does not let us.
func privateMount(dir string) int {
	mount, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1
	}
	attributes := unix.MountAttr{
		Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOATIME,
		Attr_clr: unix.MOUNT_ATTR__ATIME,
	}
	if err := unix.MountSetattr(mount, "", unix.AT_EMPTY_PATH, &attributes); err != nil {
		unix.Close(mount)
		return -1
	}
	return mount
}

// openAt opens for reading without leaving a trace.
func openAt(at int, name string, flags, resolve uint64) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NOATIME | unix.O_CLOEXEC | flags,
		Resolve: resolve,
	}
	for {
		fd, err := unix.Openat2(at, name, &how)
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return fd, err
		}
	}
}

// inside is how what lies in a tree is opened: no link is followed, and where
// the tree has no mount of its own, none that it contains is entered.
const inside = unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV

// child is the directory of that name in d. Whoever has it closes it.
func (d *directory) child(name string) *directory {
	return &directory{parent: d, name: name, fd: -1, mount: -1, btrfs: d.btrfs}
}

func (d *directory) close() {
	if d.fd >= 0 {
		unix.Close(d.fd)
		d.fd = -1
	}
	if d.mount >= 0 {
		unix.Close(d.mount)
		d.mount = -1
	}
}

// descriptor opens the directory if it is not.
func (d *directory) descriptor() (int, error) {
	if d.fd >= 0 {
		return d.fd, nil
	}
	// From the nearest one above that is open, down again.
	var closed []*directory
	above := d
	for ; above.fd < 0; above = above.parent {
		closed = append(closed, above)
	}
	for _, next := range slices.Backward(closed) {
		fd, err := openAt(next.parent.fd, next.name, unix.O_DIRECTORY|unix.O_NOFOLLOW, inside)
		if err != nil {
			return -1, next.parent.failed("open", next.name, err)
		}
		next.fd = fd
		far := next
		for range keepOpen {
			if far = far.parent; far == nil {
				break
			}
		}
		if far != nil && far.parent != nil {
			far.close()
		}
	}
	return d.fd, nil
}

// failed is the error of doing something to an entry of d, with its whole path.
func (d *directory) failed(verb, name string, err error) error {
	names := []string{name}
	for ; d != nil; d = d.parent {
		names = append(names, d.name)
	}
	slices.Reverse(names)
	path := strings.TrimSuffix(strings.Join(names, "/"), "/.")
	if errors.Is(err, unix.EXDEV) {
		err = fmt.Errorf("%w: something is mounted there", err)
	}
	return fmt.Errorf("cannot %s %s: %w", verb, path, err)
}

// entry is what is found under a name.
type entry struct {
	dir  *directory
	fd   int // of dir
	name string
	stat unix.Stat_t
}

// entry looks at what name is. "." is the directory itself.
func (d *directory) entry(name string) (entry, error) {
	e := entry{dir: d, name: name}
	var err error
	if e.fd, err = d.descriptor(); err != nil {
		return e, err
	}
	for {
		err = unix.Fstatat(e.fd, name, &e.stat, unix.AT_SYMLINK_NOFOLLOW)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return e, d.failed("examine", name, err)
	}
	return e, nil
}

// isDir reports whether the entry is a directory.
func (e *entry) isDir() bool { return e.stat.Mode&unix.S_IFMT == unix.S_IFDIR }

// isStub reports whether the entry is what a fork has in the place of a nested
// subvolume. The kernel makes it up, with an owner taken from the directory.
// Its inode number is BTRFS_EMPTY_SUBVOL_DIR_OBJECTID of linux/btrfs_tree.h.
func (e *entry) isStub() bool { return e.dir.btrfs && e.isDir() && e.stat.Ino == 2 }

// list returns the names in the directory, sorted.
func (d *directory) list(buffer []byte) ([]string, error) {
	fd, err := d.descriptor()
	if err != nil {
		return nil, err
	}
	// A directory is read from where its descriptor stands.
	if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
		return nil, d.failed("list", ".", err)
	}
	var names []string
	for {
		n, err := unix.ReadDirent(fd, buffer)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, d.failed("list", ".", err)
		}
		if n <= 0 {
			slices.Sort(names)
			return names, nil
		}
		_, _, names = unix.ParseDirent(buffer[:n], -1, names)
	}
}

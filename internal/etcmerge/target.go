package etcmerge

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// target is a tree that is written to.
type target struct {
	name string
	fd   int
}

func targetOf(dir *os.File) (*target, error) {
	fd, err := openat(int(dir.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOATIME, 0)
	if err != nil {
		return nil, failed(dir.Name(), "open", "", err)
	}
	return &target{dir.Name(), fd}, nil
}

func (t *target) close() { unix.Close(t.fd) }

func (t *target) failed(verb, name string, err error) error { return failed(t.name, verb, name, err) }

// in opens the directory that a path is in. Whoever gets it closes it.
func (t *target) in(name string) (dir int, base string, err error) {
	dir, err = openDirAt(t.fd, parent(name))
	if err != nil {
		return -1, "", t.failed("open the directory of", name, err)
	}
	return dir, path.Base(name), nil
}

// with does something to the entry at a path.
func (t *target) with(verb, name string, do func(dir int, base string) error) error {
	dir, base, err := t.in(name)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	if err := do(dir, base); err != nil {
		return t.failed(verb, name, err)
	}
	return nil
}

// inode is the number of what is at a path, 0 for nothing.
func (t *target) inode(name string) (ino uint64, err error) {
	dir, base, err := t.in(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer unix.Close(dir)
	var st unix.Stat_t
	err = unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return 0, nil
	}
	if err != nil {
		return 0, t.failed("examine", name, err)
	}
	return st.Ino, nil
}

// rename moves or, with RENAME_EXCHANGE, swaps. It never replaces.
func (t *target) rename(from, to string, flags uint) error {
	return t.with("move", from, func(fromDir int, fromBase string) error {
		toDir, toBase, err := t.in(to)
		if err != nil {
			return err
		}
		defer unix.Close(toDir)
		return unix.Renameat2(fromDir, fromBase, toDir, toBase, flags)
	})
}

// sync makes durable what the file system of the tree has been told.
func (t *target) sync() error {
	if err := unix.Syncfs(t.fd); err != nil {
		return t.failed("sync the file system of", "", err)
	}
	return nil
}

// modeNote is where the mode of a file that was kept aside is, if it lost a part of it.
const modeNote = "user.txupd.mode"

// dress gives what name in dir is its attributes. What it has is had; bits that
// let somebody in come last, and an owner before what a new owner would take away.
func dress(dir int, name string, kind uint32, had, want attrs) error {
	proc := fmt.Sprintf("/proc/self/fd/%d/%s", dir, name)
	if had.flags != 0 {
		if err := setFlags(dir, name, kind, 0); err != nil {
			return err
		}
	}
	narrow := had.mode & want.mode
	owner := had.uid != want.uid || had.gid != want.gid
	if owner {
		if err := chmod(dir, name, kind, narrow); err != nil {
			return err
		}
		if err := unix.Fchownat(dir, name, int(want.uid), int(want.gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("owner: %w", err)
		}
	}
	if err := setXattrs(proc, had.xattrs, want.xattrs, owner); err != nil {
		return err
	}
	if err := chmod(dir, name, kind, want.mode); err != nil {
		return err
	}
	if want.flags != 0 {
		return setFlags(dir, name, kind, want.flags)
	}
	return nil
}

func setXattrs(proc string, had, want map[string]string, again bool) error {
	all := names(had, want)
	slices.Sort(all)
	for _, name := range all {
		value, ok := want[name]
		old, was := had[name]
		var err error
		switch {
		case ok && (!was || old != value || again):
			err = unix.Lsetxattr(proc, name, []byte(value), 0)
			if name == modeNote && errors.Is(err, unix.ENOTSUP) {
				err = nil // a note, where there is room for one
			}
		case !ok:
			err = unix.Lremovexattr(proc, name)
			if errors.Is(err, unix.ENODATA) {
				err = nil
			}
		}
		if err != nil {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	return nil
}

// chmod follows no link: a link has no mode.
func chmod(dir int, name string, kind, mode uint32) error {
	if kind == unix.S_IFLNK {
		return nil
	}
	fd, err := openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW, beneath)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), mode); err != nil {
		return fmt.Errorf("mode: %w", err)
	}
	return nil
}

// setFlags sets or clears what protects a file. The other flags stay.
func setFlags(dir int, name string, kind uint32, flags uint64) error {
	if kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return nil // nothing else is opened, and nothing else has them
	}
	fd, err := openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOATIME, beneath)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	old, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return fmt.Errorf("flags: %w", err)
	}
	// The bits of STATX_ATTR_IMMUTABLE and STATX_ATTR_APPEND are those of FS_IMMUTABLE_FL and FS_APPEND_FL.
	set := old&^uint32(mergedFlags) | uint32(flags)
	if set == old {
		return nil
	}
	if err := unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(set)); err != nil {
		return fmt.Errorf("flags: %w", err)
	}
	return nil
}

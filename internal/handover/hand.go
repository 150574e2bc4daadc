// The calls that change the live side. Each is a place at which the power can
// fail; tests stop at every one of them.

package handover

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// hand does the changes. step, where it is set, is asked before each.
type hand struct{ step func() error }

func (h *hand) change(what, name string, call func() error) error {
	if h.step != nil {
		if err := h.step(); err != nil {
			return err
		}
	}
	if err := again(call); err != nil {
		return fmt.Errorf("cannot %s %s: %w", what, name, err)
	}
	return nil
}

func (h *hand) mkdir(dir int, name string) error {
	return h.change("make the directory", name, func() error { return unix.Mkdirat(dir, name, 0o700) })
}

// create makes a file that was not there and opens it.
func (h *hand) create(dir int, name string) (int, error) {
	fd := -1
	err := h.change("create", name, func() (err error) {
		fd, err = unix.Openat(dir, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	return fd, err
}

func (h *hand) symlink(target string, dir int, name string) error {
	return h.change("make the link", name, func() error { return unix.Symlinkat(target, dir, name) })
}

func (h *hand) mknod(dir int, name string, kind uint32, device [2]uint32) error {
	return h.change("make the node", name, func() error {
		return unix.Mknodat(dir, name, kind|0o600, int(unix.Mkdev(device[0], device[1])))
	})
}

func (h *hand) link(fromDir int, from string, dir int, name string) error {
	return h.change("link", name, func() error { return unix.Linkat(fromDir, from, dir, name, 0) })
}

// rename moves within a file system. flags are RENAME_*.
func (h *hand) rename(fromDir int, from string, dir int, name string, flags uint) error {
	return h.change("put in place", name, func() error { return unix.Renameat2(fromDir, from, dir, name, flags) })
}

func (h *hand) unlink(dir int, name string) error {
	return h.change("remove", name, func() error { return unix.Unlinkat(dir, name, 0) })
}

func (h *hand) rmdir(dir int, name string) error {
	return h.change("remove the directory", name, func() error { return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR) })
}

func (h *hand) chown(dir int, name string, uid, gid uint32) error {
	return h.change("give an owner to", name, func() error {
		return unix.Fchownat(dir, name, int(uid), int(gid), unix.AT_SYMLINK_NOFOLLOW)
	})
}

// chmod must not be given a link.
func (h *hand) chmod(dir int, name string, mode uint32) error {
	return h.change("set the mode of", name, func() error { return unix.Chmod(at(dir, name), mode) })
}

func (h *hand) setTimes(dir int, name string, atime, mtime unix.StatxTimestamp) error {
	times := []unix.Timespec{{Sec: atime.Sec, Nsec: int64(atime.Nsec)}, {Sec: mtime.Sec, Nsec: int64(mtime.Nsec)}}
	return h.change("set the times of", name, func() error {
		return unix.UtimesNanoAt(dir, name, times, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// setAttribute leaves out what only btrfs has where the live side is something else.
func (h *hand) setAttribute(dir int, name, attribute, value string) error {
	err := h.change("set the attribute "+attribute+" of", name, func() error {
		return unix.Lsetxattr(at(dir, name), attribute, []byte(value), 0)
	})
	if errors.Is(err, unix.EOPNOTSUPP) && strings.HasPrefix(attribute, btrfsNamespace) {
		return nil
	}
	return err
}

func (h *hand) removeAttribute(dir int, name, attribute string) error {
	return h.change("remove the attribute "+attribute+" of", name, func() error {
		return unix.Lremovexattr(at(dir, name), attribute)
	})
}

// Flags of chattr(1): linux/fs.h.
const (
	flagImmutable  = 0x10
	flagAppendOnly = 0x20
	flagNoCopy     = 0x00800000 // no copy on write
)

// setFlags changes the flags of a regular file or directory. Others have none.
func (h *hand) setFlags(dir int, name string, set, clear int) error {
	return h.change("set the flags of", name, func() error {
		fd, err := openBeneath(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOATIME)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
		if err != nil {
			return err
		}
		if flags&^clear|set == flags {
			return nil
		}
		return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags&^clear|set)
	})
}

// seal sets or clears what keeps a file from being changed.
func (h *hand) seal(dir int, name string, want seal) error {
	set, clear := 0, 0
	for _, f := range []struct {
		flag int
		on   bool
	}{{flagImmutable, want.immutable}, {flagAppendOnly, want.appendOnly}} {
		if f.on {
			set |= f.flag
		} else {
			clear |= f.flag
		}
	}
	return h.setFlags(dir, name, set, clear)
}

func (h *hand) sync(fd int) error {
	return h.change("flush", "the file system", func() error { return unix.Syncfs(fd) })
}

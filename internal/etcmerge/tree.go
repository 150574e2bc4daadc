package etcmerge

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// beneath is how everything in a tree is reached: no link is followed, and what
// is mounted inside is not entered.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// Open opens the directory name beneath root for New, Recover and the others.
// No part of name may be a link: a snapshot's /etc that is one would lead out
// of the snapshot. root itself is the caller's, and trusted.
func Open(root, name string) (*os.File, error) {
	top, err := os.Open(root)
	if err != nil {
		return nil, err
	}
	defer top.Close()
	fd, err := openat(int(top.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOATIME, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: filepath.Join(root, name), Err: err}
	}
	return os.NewFile(uintptr(fd), filepath.Join(root, name)), nil
}

func openat(at int, name string, flags, resolve uint64) (int, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: resolve}
	for {
		fd, err := unix.Openat2(at, name, &how)
		switch {
		// EAGAIN: something was renamed while the kernel looked.
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		// Only an owner may leave the access time alone.
		case errors.Is(err, unix.EPERM) && how.Flags&unix.O_NOATIME != 0:
			how.Flags &^= unix.O_NOATIME
		default:
			return fd, err
		}
	}
}

// view is a tree that is only read.
type view struct {
	name  string
	fd    int
	dev   uint64 // of the top: what has another one is a file system or subvolume of its own
	btrfs bool
}

// viewOf opens a tree to read it. Where we may, that is by a private mount,
// read-only, without access times and devices, on which nothing else is mounted.
func viewOf(dir *os.File) (*view, error) {
	v := &view{name: dir.Name()}
	at := int(dir.Fd())
	if mount := privateMount(at); mount >= 0 {
		defer unix.Close(mount)
		at = mount
	}
	var err error
	if v.fd, err = openat(at, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOATIME, 0); err != nil {
		return nil, v.failed("open", "", err)
	}
	n, err := v.examine(v.fd, "")
	var system unix.Statfs_t
	if err == nil {
		err = unix.Fstatfs(v.fd, &system)
	}
	if err != nil {
		v.close()
		return nil, v.failed("examine", "", err)
	}
	v.dev, v.btrfs = n.dev, system.Type == unix.BTRFS_SUPER_MAGIC
	return v, nil
}

func privateMount(dir int) int {
	mount, err := unix.OpenTree(dir, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
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

func (v *view) close() { unix.Close(v.fd) }

func (v *view) failed(verb, name string, err error) error { return failed(v.name, verb, name, err) }

// failed is the error of doing something to a path in a tree.
func failed(tree, verb, name string, err error) error {
	if errors.Is(err, unix.EXDEV) {
		err = fmt.Errorf("%w: something is mounted there", err)
	}
	return fmt.Errorf("cannot %s %s: %w", verb, filepath.Join(tree, name), err)
}

// longest is what one system call takes of a path (PATH_MAX, with a reserve for a last name).
const longest = 4096 - maxName - 2

// openDir opens a directory of the tree.
func (v *view) openDir(name string) (int, error) {
	fd, err := openDirAt(v.fd, name)
	if err != nil {
		return -1, v.failed("open", name, err)
	}
	return fd, nil
}

// openDirAt opens a directory beneath another one, in several hops where the path is too long for one.
func openDirAt(top int, name string) (int, error) {
	at := top
	for {
		hop, rest := name, ""
		if len(name) > longest {
			cut := strings.LastIndexByte(name[:longest], '/')
			hop, rest = name[:cut], name[cut+1:]
		}
		if hop == "" {
			hop = "."
		}
		fd, err := openat(at, hop, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NOATIME, beneath)
		if at != top {
			unix.Close(at)
		}
		if err != nil || rest == "" {
			return fd, err
		}
		at, name = fd, rest
	}
}

// list returns the names in a directory.
func list(dir int) ([]string, error) {
	var names []string
	buffer := make([]byte, 32<<10)
	for {
		n, err := unix.ReadDirent(dir, buffer)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, err
		case n <= 0:
			return names, nil
		default:
			_, _, names = unix.ParseDirent(buffer[:n], -1, names)
		}
	}
}

// openRegular opens what was examined and found to be a regular file. Should it
// have become something else since: a pipe does not hang, and on a private mount
// no device is opened.
func openRegular(dir int, name string) (int, error) {
	return openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NOATIME|unix.O_NONBLOCK|unix.O_NOCTTY, beneath)
}

// openFile opens a regular file, and makes sure that it is the one that was examined.
func openFile(dir int, name string, n *node) (*os.File, error) {
	fd, err := openRegular(dir, name)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && (st.Mode&unix.S_IFMT != unix.S_IFREG || st.Ino != n.ino) {
		err = ErrChanged
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// readFile returns the content of a file of the tree that was examined.
func (v *view) readFile(name string, n *node) ([]byte, error) {
	dir, err := v.openDir(parent(name))
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	f, err := openFile(dir, filepath.Base(name), n)
	if err != nil {
		return nil, v.failed("read", name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, v.failed("read", name, err)
	}
	return data, nil
}

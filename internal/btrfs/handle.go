// Opening directories so that what was checked is what is worked on.

package btrfs

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/pkg/snapshot"
)

// handle is an open directory of a btrfs file system.
type handle struct {
	fd   int
	name string // of what is to be made in it, where openParent opened it
}

// openAny opens a directory of the file system. Whether that is btrfs shows at
// the first ioctl.
func openAny(path string) (handle, error) {
	if strings.ContainsRune(path, 0) {
		return handle{}, fmt.Errorf("%q: %w: it contains a NUL", path, unix.EINVAL)
	}
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_SYMLINKS,
	}
	for {
		fd, err := unix.Openat2(unix.AT_FDCWD, path, &how)
		if err == nil {
			return handle{fd: fd}, nil
		}
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return handle{}, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// openSubvolume opens the root directory of a subvolume.
func openSubvolume(path string) (handle, error) {
	dir, err := openAny(path)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return handle{}, fmt.Errorf("%w (%w)", snapshot.ErrNotSubvolume, err)
	}
	if err != nil {
		return handle{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(dir.fd, &st); err != nil {
		dir.close()
		return handle{}, fmt.Errorf("cannot stat: %w", err)
	}
	if st.Ino == firstFreeObjectID {
		return dir, nil
	}
	defer dir.close()
	var st2 unix.Statfs_t
	if err := unix.Fstatfs(dir.fd, &st2); err != nil {
		return handle{}, fmt.Errorf("cannot stat: %w", err)
	}
	if st2.Type != unix.BTRFS_SUPER_MAGIC {
		return handle{}, snapshot.ErrNotBtrfs
	}
	return handle{}, snapshot.ErrNotSubvolume
}

// openParent opens the directory in which the last element of path is to be made.
func openParent(path string) (handle, error) {
	clean := filepath.Clean(path)
	name := filepath.Base(clean)
	if !filepath.IsAbs(path) || name == "/" {
		return handle{}, fmt.Errorf("%q: %w: a subvolume needs an absolute path", path, unix.EINVAL)
	}
	if len(name) > maxName {
		return handle{}, fmt.Errorf("%q: %w", name, unix.ENAMETOOLONG)
	}
	dir, err := openAny(filepath.Dir(clean))
	if err != nil {
		return handle{}, err
	}
	if strings.ContainsRune(name, 0) {
		dir.close()
		return handle{}, fmt.Errorf("%q: %w: it contains a NUL", path, unix.EINVAL)
	}
	dir.name = name
	return dir, nil
}

// link is a path that leads to the open directory, whatever becomes of the
// names that led to it: containerd/btrfs takes paths and follows links.
func (h handle) link() string { return "/proc/self/fd/" + strconv.Itoa(h.fd) }

func (h handle) target() string { return h.link() + "/" + h.name }

func (h handle) close() { unix.Close(h.fd) }

// named turns errno values that callers branch on into snapshot's errors.
func named(err error) error {
	switch {
	case errors.Is(err, unix.ETXTBSY):
		return fmt.Errorf("%w (%w)", snapshot.ErrSwapFile, err)
	case errors.Is(err, unix.ENOTTY):
		return fmt.Errorf("%w (%w)", snapshot.ErrNotBtrfs, err)
	}
	return err
}

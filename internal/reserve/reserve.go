// Package reserve keeps a little of a file system's space back for what has to
// work when nothing else is left: recording how a transaction ended, deleting
// snapshots, going back to another one.
//
// On btrfs data and metadata run out apart from each other, so the file holds
// both: blocks that are allocated and never written, and extended attributes,
// which lie in metadata. Removing a file needs no space: the kernel has a
// reserve of its own for that, and lets nothing else use it.
package reserve

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Data is how much is held for files, in bytes.
const Data = 4 << 20

// Metadata is how much is held for metadata, in bytes, with nodes of 16 KiB, as
// nearly all file systems have them. With others it is more or less in the
// proportion in which a change asks for more or less. Of all that has to work,
// renaming a file or directory asks for most: 8 MiB, for the moment that it takes.
const Metadata = values * 16 << 10

const values = 640

// sizes are what an attribute may hold, in bytes, where nodes are of 64, 32, 16
// and 4 KiB: a node each.
var sizes = []int{64000, 32200, 15900, 3800}

// Nobody but root sees attributes of this kind.
const prefix = "trusted.txupd.reserve."

// File is a reserve. It is safe for concurrent use.
type File struct {
	path string
	mu   sync.Mutex
}

// At is the reserve at path, which need not be there.
func At(path string) *File { return &File{path: path} }

// Whole reports whether the reserve is there, all of it.
func (f *File) Whole() (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.whole()
}

func (f *File) whole() (bool, error) {
	var st unix.Stat_t
	err := unix.Lstat(f.path, &st)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &fs.PathError{Op: "stat", Path: f.path, Err: err}
	}
	// The blocks are taken first, and the attributes in order: the last one tells of all.
	_, err = unix.Lgetxattr(f.path, attribute(values-1), nil)
	if errors.Is(err, unix.ENODATA) {
		return false, nil
	}
	if err != nil {
		return false, &fs.PathError{Op: "getxattr", Path: f.path, Err: err}
	}
	return st.Blocks*512 >= Data, nil
}

// Take makes the reserve where it is not whole. Where there is no space for all
// of it the error is ENOSPC, and nothing is held.
func (f *File) Take() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	whole, err := f.whole()
	if err != nil || whole {
		return err
	}
	if err := f.take(); err != nil {
		_, failed := f.release()
		return errors.Join(fmt.Errorf("cannot keep space in reserve: %w", err), failed)
	}
	return nil
}

func (f *File) take() error {
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	fd := int(file.Fd())
	if err := unix.Fallocate(fd, 0, 0, Data); err != nil {
		return &fs.PathError{Op: "fallocate", Path: f.path, Err: err}
	}
	value, err := largest(fd)
	for i := 1; i < values && err == nil; i++ {
		err = unix.Fsetxattr(fd, attribute(i), value, 0)
	}
	if err != nil {
		return &fs.PathError{Op: "setxattr", Path: f.path, Err: err}
	}
	return nil
}

// largest sets the first attribute to as much as one can hold, and returns that.
func largest(fd int) (value []byte, err error) {
	for _, size := range sizes {
		value = bytes.Repeat([]byte{'x'}, size)
		err = unix.Fsetxattr(fd, attribute(0), value, 0)
		if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.E2BIG) {
			break // else too large for a node, or no space: the next one tells
		}
	}
	return value, err
}

func attribute(i int) string { return fmt.Sprintf("%s%03d", prefix, i) }

// Release lets go of the reserve, and reports whether there was one. The space
// is free for everybody then; whoever needs it asks for it at once.
func (f *File) Release() (released bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.release()
}

func (f *File) release() (bool, error) {
	err := os.Remove(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot let go of the space in reserve: %w", err)
	}
	return true, nil
}

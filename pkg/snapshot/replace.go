// Replacing the small files beside the snapshots, without the flush that an
// fsync would cost each of them.

package snapshot

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/failpoint"
)

// replaceFile puts data in the place of path: anybody, also after a power cut,
// finds all of the old or all of the new content. It is durable not at once
// but with the next commit of the file system, and our callers are just about
// to fork, which is one.
func replaceFile(path string, data []byte, perm fs.FileMode) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	err = failpoint.Around("store/write", func() error { return fill(file, data, perm) })
	if e := file.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = failpoint.Around("store/rename", func() error { return os.Rename(file.Name(), path) })
	}
	if err != nil {
		os.Remove(file.Name())
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

func fill(file *os.File, data []byte, perm fs.FileMode) error {
	if err := file.Chmod(perm); err != nil {
		return err
	}
	if _, err := file.Write(data); err != nil {
		return err
	}
	return settle(file)
}

// fiemap is struct fiemap of linux/fiemap.h, with room for no extent.
type fiemap struct {
	start, length          uint64
	flags, mapped, extents uint32
	_                      uint32
}

const (
	iocFiemap      = 3<<30 | uint(unsafe.Sizeof(fiemap{}))<<16 | 'f'<<8 | 11 // FS_IOC_FIEMAP
	fiemapFlagSync = 1                                                       // FIEMAP_FLAG_SYNC
)

// settle writes a file's data out and waits until the file's extents say so,
// which btrfs does in front of FIEMAP: 0.03 ms where fsync, which writes a log
// besides, takes 1.3. No commit does that for us: a fork writes out the data of
// the subvolume that it forks, START_SYNC and sealing none at all, so that
// without this a power cut leaves empty files.
func settle(file *os.File) error {
	arg := fiemap{length: ^uint64(0), flags: fiemapFlagSync}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, file.Fd(), uintptr(iocFiemap), uintptr(unsafe.Pointer(&arg)))
	if errno == 0 {
		return nil
	}
	return file.Sync() // a file system without extents
}

// DropLeftovers removes what a crash kept from being renamed beside snapshot n.
func (s *Store) DropLeftovers(n Number) error {
	names, err := filepath.Glob(filepath.Join(s.Dir(n), ".*-*"))
	if err != nil {
		return err
	}
	for _, name := range names {
		if info, err := os.Lstat(name); err != nil || !info.Mode().IsRegular() {
			continue
		}
		if err := os.Remove(name); err != nil {
			return fmt.Errorf("cannot remove what a crash left: %w", err)
		}
	}
	return nil
}

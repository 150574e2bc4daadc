// Copying content: shared where the file system can, with its holes where not.

package handover

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/pread"
)

// copyContent gives the empty file to what from holds.
func copyContent(ctx context.Context, from, to int, size int64) error {
	if size == 0 {
		return nil
	}
	if err := again(func() error { return unix.IoctlFileClone(to, from) }); err == nil {
		return nil
	}
	// Another file system, one that shares nothing, or files of which one is not copied on write.
	if err := unix.Ftruncate(to, size); err != nil {
		return err
	}
	buffer := make([]byte, 1<<20)
	for at := int64(0); at < size; {
		data, err := unix.Seek(from, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // only a hole is left
		}
		if err != nil {
			return err
		}
		end, err := unix.Seek(from, data, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		for at = data; at < min(end, size); {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			part := buffer[:min(int64(len(buffer)), end-at, size-at)]
			if err := pread.Full(from, part, at); err != nil {
				return err
			}
			if err := writeFull(to, part, at); err != nil {
				return err
			}
			at += int64(len(part))
		}
	}
	return nil
}

func writeFull(fd int, data []byte, at int64) error {
	for len(data) > 0 {
		n, err := unix.Pwrite(fd, data, at)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		data, at = data[n:], at+int64(n)
	}
	return nil
}

// Digests of what files hold.

package handover

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/pread"
)

// block is what content is read in. Blocks of zeros do not count, so that a
// hole is the same as zeros and costs nothing.
const block = 64 << 10

var zeros [block]byte

// moving is instead of a digest for what changes while we read it: it is like nothing that stands still.
const moving = "moving"

var errReplaced = errors.New("it is no regular file any more")

// contentOf returns a function that reads the file when it is first called.
func contentOf(ctx context.Context, dir int, name string, size uint64) func() (string, error) {
	var known string
	return func() (string, error) {
		if known != "" {
			return known, nil
		}
		fd, err := openFile(dir, name)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ELOOP) || errors.Is(err, errReplaced) {
			known = moving
			return known, nil
		}
		if err != nil {
			return "", err
		}
		defer unix.Close(fd)
		known, err = contentDigest(ctx, fd, int64(size))
		if errors.Is(err, pread.ErrShrunk) {
			known, err = moving, nil
		}
		if err != nil {
			return "", fmt.Errorf("cannot read %s: %w", name, err)
		}
		return known, nil
	}
}

// openFile opens a regular file for reading, without leaving a trace and
// without waiting for whoever is at the other end of what took its place.
func openFile(dir int, name string) (int, error) {
	fd, err := openBeneath(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_NOATIME)
	if err != nil {
		return -1, fmt.Errorf("cannot open %s: %w", name, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("cannot examine %s: %w", name, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return -1, fmt.Errorf("cannot open %s: %w", name, errReplaced)
	}
	return fd, nil
}

// openBeneath opens what lies below a directory: no link is followed, and no
// mount is entered.
func openBeneath(dir int, name string, flags int) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	}
	fd := -1
	err := again(func() (err error) {
		fd, err = unix.Openat2(dir, name, &how)
		if errors.Is(err, unix.EAGAIN) { // something was renamed meanwhile
			return unix.EINTR
		}
		return err
	})
	return fd, err
}

func contentDigest(ctx context.Context, fd int, size int64) (string, error) {
	h, buffer := sha256.New(), make([]byte, block)
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return "", context.Cause(ctx)
		}
		data, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // only a hole is left
		}
		if err != nil {
			return "", err
		}
		if at = data - data%block; at >= size {
			break
		}
		part := buffer[:min(block, size-at)]
		if err := pread.Full(fd, part, at); err != nil {
			return "", err
		}
		if !bytes.Equal(part, zeros[:len(part)]) {
			_ = binary.Write(h, binary.LittleEndian, at) // a hash takes everything
			_, _ = h.Write(part)
		}
		at += block
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

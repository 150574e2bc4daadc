// Whether two files are the same: type, mode, owner, attributes, target,
// device number, content. Never time stamps, nor how many names or blocks
// they have.

package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/pread"
)

// objectComparer compares files with buffers of its own.
type objectComparer struct {
	ctx     context.Context
	content [2][]byte
	// Names or one value of the extended attributes, and link targets.
	small [2][]byte
}

const (
	contentBuffer = 128 << 10
	// XATTR_LIST_MAX and XATTR_SIZE_MAX of linux/limits.h.
	attributeBuffer = 64 << 10
)

func newObjectComparer(ctx context.Context) *objectComparer {
	c := &objectComparer{ctx: ctx}
	for i := range 2 {
		c.content[i] = make([]byte, contentBuffer)
		c.small[i] = make([]byte, attributeBuffer)
	}
	return c
}

// compare returns how b became a: Modified, TypeChanged, or "" where they are
// the same. Before it reads content it asks sameContent, if there is one,
// whether that is known to be the same.
func (c *objectComparer) compare(b, a *entry, sameContent func() (bool, error)) (ChangeKind, error) {
	kind := b.stat.Mode & unix.S_IFMT
	if a.stat.Mode&unix.S_IFMT != kind {
		return TypeChanged, nil
	}
	if b.isStub() && a.isStub() {
		return "", nil
	}
	if b.stat.Mode != a.stat.Mode || b.stat.Uid != a.stat.Uid || b.stat.Gid != a.stat.Gid {
		return Modified, nil
	}
	same := true
	var err error
	switch kind {
	case unix.S_IFREG:
		same = b.stat.Size == a.stat.Size
	case unix.S_IFLNK:
		same, err = c.sameTarget(b, a)
	case unix.S_IFBLK, unix.S_IFCHR:
		same = b.stat.Rdev == a.stat.Rdev
	}
	if same && err == nil {
		same, err = c.sameAttributes(b, a)
	}
	if same && err == nil && kind == unix.S_IFREG && a.stat.Size > 0 {
		known := false
		if sameContent != nil {
			known, err = sameContent()
		}
		if !known && err == nil {
			same, err = c.sameContent(b, a)
		}
	}
	if err != nil {
		return "", err
	}
	if !same {
		return Modified, nil
	}
	return "", nil
}

func (c *objectComparer) sameTarget(b, a *entry) (bool, error) {
	var targets [2][]byte
	for i, e := range [2]*entry{b, a} {
		n, err := unix.Readlinkat(e.fd, e.name, c.small[i])
		if err != nil {
			return false, e.dir.failed("read the link", e.name, err)
		}
		targets[i] = c.small[i][:n]
	}
	return bytes.Equal(targets[0], targets[1]), nil
}

// sameAttributes compares all extended attributes, among them ACLs and capabilities.
func (c *objectComparer) sameAttributes(b, a *entry) (bool, error) {
	var names [2][]string
	var paths [2]string
	for i, e := range [2]*entry{b, a} {
		// There is no llistxattrat before Linux 6.13.
		paths[i] = fmt.Sprintf("/proc/self/fd/%d/%s", e.fd, e.name)
		n, err := unix.Llistxattr(paths[i], c.small[i])
		// The stub of a nested subvolume has none and cannot have any.
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
			return false, e.dir.failed("list the attributes of", e.name, err)
		}
		if n > 0 {
			names[i] = strings.Split(strings.TrimSuffix(string(c.small[i][:n]), "\x00"), "\x00")
			slices.Sort(names[i])
		}
	}
	if !slices.Equal(names[0], names[1]) {
		return false, nil
	}
	for _, name := range names[0] {
		var values [2][]byte
		for i, e := range [2]*entry{b, a} {
			n, err := unix.Lgetxattr(paths[i], name, c.small[i])
			if err != nil {
				return false, e.dir.failed("read the attribute "+name+" of", e.name, err)
			}
			values[i] = c.small[i][:n]
		}
		if !bytes.Equal(values[0], values[1]) {
			return false, nil
		}
	}
	return true, nil
}

// sameContent compares two files of the same size, and skips what is a hole in both.
func (c *objectComparer) sameContent(b, a *entry) (bool, error) {
	var fds [2]int
	for i, e := range [2]*entry{b, a} {
		// Without O_NONBLOCK a FIFO that took the file's place would keep us.
		fd, err := openAt(e.fd, e.name, unix.O_NOFOLLOW|unix.O_NONBLOCK, inside)
		if err != nil {
			return false, e.dir.failed("open", e.name, err)
		}
		defer unix.Close(fd)
		fds[i] = fd
	}
	if !mayHaveHoles(b) && !mayHaveHoles(a) {
		return c.sameRange(b, a, fds, 0, a.stat.Size)
	}
	for at := int64(0); at < a.stat.Size; {
		if c.ctx.Err() != nil {
			return false, context.Cause(c.ctx)
		}
		// The first stretch that is data on one side at least is read on both.
		from, to := a.stat.Size, a.stat.Size
		for i, e := range [2]*entry{b, a} {
			start, end, err := nextData(fds[i], at, a.stat.Size)
			if err != nil {
				return false, e.dir.failed("find the data of", e.name, err)
			}
			switch {
			case start < from:
				from, to = start, end
			case start == from:
				to = max(to, end)
			}
		}
		same, err := c.sameRange(b, a, fds, from, to)
		if !same || err != nil {
			return false, err
		}
		at = to
	}
	return true, nil
}

// mayHaveHoles reports whether the file has fewer blocks than content. A block is 512 bytes here.
func mayHaveHoles(e *entry) bool { return e.stat.Blocks*512 < e.stat.Size }

// nextData finds the first data at or after at: from start to end, or both size
// where only a hole is left.
func nextData(fd int, at, size int64) (start, end int64, err error) {
	start, err = unix.Seek(fd, at, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return size, size, nil
	}
	if err != nil {
		return 0, 0, err
	}
	end, err = unix.Seek(fd, start, unix.SEEK_HOLE)
	return min(start, size), min(end, size), err
}

func (c *objectComparer) sameRange(b, a *entry, fds [2]int, from, to int64) (bool, error) {
	for from < to {
		if c.ctx.Err() != nil {
			return false, context.Cause(c.ctx)
		}
		length := min(to-from, contentBuffer)
		for i, e := range [2]*entry{b, a} {
			if err := pread.Full(fds[i], c.content[i][:length], from); err != nil {
				return false, e.dir.failed("read", e.name, err)
			}
		}
		if !bytes.Equal(c.content[0][:length], c.content[1][:length]) {
			return false, nil
		}
		from += length
	}
	return true, nil
}

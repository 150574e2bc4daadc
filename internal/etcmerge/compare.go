package etcmerge

import (
	"bytes"
	"errors"
	"sync"

	"golang.org/x/sys/unix"
)

// small files are compared in one read (bytes).
const small = 32 << 10

// buffers are one worker's.
type buffers struct {
	xattrs []byte
	data   [3][]byte
}

// buffers are many, and directories short.
func newBufferPool() *sync.Pool {
	return &sync.Pool{New: func() any {
		b := &buffers{xattrs: make([]byte, 512)}
		for i := range b.data {
			b.data[i] = make([]byte, small+1)
		}
		return b
	}}
}

// compare reads the extended attributes of the regular files of an entry, and
// finds out which of them differ in content. Sizes that differ say it without
// a look inside; equal ones say nothing, and times never do.
func (s *scanner) compare(e *entry, fds [3]int, path string, buffers *buffers) error {
	files := [3]int{-1, -1, -1}
	defer func() {
		for _, fd := range files {
			if fd >= 0 {
				unix.Close(fd)
			}
		}
	}()
	for i, v := range s.views {
		n := e.sides[i]
		if !n.isFile() {
			continue
		}
		fd, err := openRegular(fds[i], e.name)
		if err == nil {
			files[i] = fd
			n.xattrs, err = xattrsOf(fd).read(buffers.xattrs)
		}
		if err != nil {
			return v.failed("read", join(path, e.name), err)
		}
	}
	e.content = [3]bool{true, true, true}
	var unknown [3]bool
	for p, sides := range pairs {
		x, y := e.sides[sides[0]], e.sides[sides[1]]
		if x.isFile() && y.isFile() && x.size == y.size {
			unknown[p] = !sameObject(x, y)
			e.content[p] = false
		}
	}
	if unknown == [3]bool{} {
		return nil
	}
	differ, failing, err := compareFiles(files, unknown, buffers)
	if err != nil {
		return s.views[failing].failed("read", join(path, e.name), err)
	}
	for p := range pairs {
		e.content[p] = e.content[p] || differ[p]
	}
	return nil
}

// compareFiles reads files chunk by chunk, until every pair that is asked for
// is known to differ or the files end. With an error it says whose it is.
func compareFiles(files [3]int, asked [3]bool, buffers *buffers) (differ [3]bool, failing side, err error) {
	for {
		var chunk [3][]byte
		ended := true
		for i, fd := range files {
			if !needed(side(i), asked, differ) {
				continue
			}
			n, err := readFull(fd, buffers.data[i])
			if err != nil {
				return differ, side(i), err
			}
			chunk[i] = buffers.data[i][:n]
			ended = ended && n < len(buffers.data[i])
		}
		open := false
		for p, sides := range pairs {
			if asked[p] && !differ[p] {
				differ[p] = !bytes.Equal(chunk[sides[0]], chunk[sides[1]])
				open = open || !differ[p]
			}
		}
		if ended || !open {
			return differ, 0, nil
		}
	}
}

// needed reports whether a side is part of a pair of which nothing is known yet.
func needed(i side, asked, differ [3]bool) bool {
	for p, sides := range pairs {
		if asked[p] && !differ[p] && (sides[0] == i || sides[1] == i) {
			return true
		}
	}
	return false
}

// readFull fills the buffer unless the file ends before.
func readFull(fd int, buffer []byte) (int, error) {
	filled := 0
	for filled < len(buffer) {
		n, err := unix.Read(fd, buffer[filled:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return filled, err
		}
		filled += n
		if n == 0 || filled < small { // a regular file gives less than asked for only at its end
			break
		}
	}
	return filled, nil
}

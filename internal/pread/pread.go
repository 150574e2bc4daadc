// Package pread reads from places in files that others may change meanwhile.
package pread

import (
	"errors"

	"golang.org/x/sys/unix"
)

// ErrShrunk: the file ends before what was to be read.
var ErrShrunk = errors.New("it became shorter meanwhile")

// Full fills the buffer from a place in a file.
func Full(fd int, buffer []byte, at int64) error {
	for len(buffer) > 0 {
		n, err := unix.Pread(fd, buffer, at)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case n == 0:
			return ErrShrunk
		}
		buffer, at = buffer[n:], at+int64(n)
	}
	return nil
}

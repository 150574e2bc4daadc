// The output of commands where the disk is full: more often than not it is the
// command that fills it, and its last words are what people need to see.

package update

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxInMemory is how much output is kept in memory at most, in bytes.
const maxInMemory = 16 << 20

// toMemory moves the output there.
func (o *Output) toMemory() error {
	if o.size > maxInMemory {
		return unix.ENOSPC
	}
	fd, err := unix.MemfdCreate("txupd-output", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("cannot make a file in memory: %w", err)
	}
	memory := os.NewFile(uintptr(fd), "output in memory")
	if o.file != nil {
		if _, err := io.Copy(memory, io.NewSectionReader(o.file, 0, o.size)); err != nil {
			return errors.Join(err, memory.Close())
		}
	}
	o.before, o.file, o.memory = o.file, memory, true
	return nil
}

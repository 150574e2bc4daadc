// Package atomicfile writes files that are durable and complete, or as before.
package atomicfile

import (
	"errors"
	"os"
)

// Write puts content in the place of the file at path, for its owner only.
func Write(path string, content []byte) error { return write(path, content, 0o600) }

// Publish is Write for a file that everybody may read.
func Publish(path string, content []byte) error { return write(path, content, 0o644) }

// write does it. The
// file is written aside, as path with ".new" behind it; what a crash left there
// is overwritten by the next call.
func write(path string, content []byte, mode os.FileMode) error {
	aside := path + ".new"
	file, err := os.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	err = file.Chmod(mode) // whatever the umask is
	if err == nil {
		_, err = file.Write(content)
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(aside))
	}
	return os.Rename(aside, path)
}

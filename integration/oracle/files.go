// Reading files below directories that are not trusted: a link in them leads
// nowhere but inside.

package oracle

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const errNotDir = unix.ENOTDIR

// openDir opens a directory without leaving an access time.
func openDir(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOATIME|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// openInRoot opens name as a process with root as its "/" would.
func openInRoot(root *os.File, name string) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOATIME | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	for {
		fd, err := unix.Openat2(int(root.Fd()), name, &how)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: filepath.Join(root.Name(), name), Err: err}
		}
		return os.NewFile(uintptr(fd), filepath.Join(root.Name(), name)), nil
	}
}

// fileInRoot reports whether name is a file with content.
func fileInRoot(root *os.File, name string) bool {
	file, err := openInRoot(root, name)
	if err != nil {
		return false
	}
	defer file.Close()
	info, err := file.Stat()
	return err == nil && info.Mode().IsRegular() && info.Size() > 0
}

// namesInRoot lists a directory; none where there is no such directory.
func namesInRoot(root *os.File, name string) ([]string, error) {
	dir, err := openInRoot(root, name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	found, err := dir.Readdirnames(-1)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, io.EOF) {
		err = nil
	}
	return found, err
}

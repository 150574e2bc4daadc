// Reading files below a root that is not trusted: paths are resolved as a
// process with that root as its "/" would see them, absolute links included,
// and never lead out.

package pkgmgr

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxFile is far above what a package database's files grow to (bytes).
const maxFile = 1 << 30

type tree struct{ dir *os.File }

func openTree(path string) (*tree, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &tree{dir: os.NewFile(uintptr(fd), path)}, nil
}

func (t *tree) Close() error { return t.dir.Close() }

// openat opens name below the root with RESOLVE_IN_ROOT (openat2(2)).
func (t *tree) openat(name string, flags uint64) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	for {
		fd, err := unix.Openat2(int(t.dir.Fd()), name, &how)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), name), nil
		// EAGAIN: something was renamed while the kernel looked.
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		// Only an owner may leave the access time alone.
		case errors.Is(err, unix.EPERM) && how.Flags&unix.O_NOATIME != 0:
			how.Flags &^= unix.O_NOATIME
		default:
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

// read returns a regular file's content.
func (t *tree) read(name string) ([]byte, error) {
	// O_NONBLOCK: a pipe in that place must not hang us.
	f, err := t.openat(name, unix.O_RDONLY|unix.O_NOATIME|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s has %d bytes, more than a package database has", name, info.Size())
	}
	data := make([]byte, info.Size())
	n, err := io.ReadFull(f, data)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil
	}
	return data[:n], err
}

// readIfThere is read, with nothing for a file that does not exist.
func (t *tree) readIfThere(name string) ([]byte, error) {
	data, err := t.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// names lists a directory, unsorted.
func (t *tree) names(dir string) ([]string, error) {
	f, err := t.openat(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOATIME)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// isFile reports whether name leads to something that is not a directory.
func (t *tree) isFile(name string) bool {
	f, err := t.openat(name, unix.O_PATH)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	return err == nil && !info.IsDir()
}

// isRealDir reports whether name is a directory and no link to one.
func (t *tree) isRealDir(name string) bool {
	f, err := t.openat(name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	return err == nil && info.IsDir()
}

// aliases are the directories of the root that merged-/usr made links of:
// packages may say /bin/sh for what lies at /usr/bin/sh.
func (t *tree) aliases() aliases {
	merged := aliases{}
	for _, dir := range []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"} {
		target := make([]byte, 64)
		n, err := unix.Readlinkat(int(t.dir.Fd()), dir, target)
		if err != nil {
			continue
		}
		if to := strings.Trim(string(target[:n]), "/"); strings.HasPrefix(to, "usr/") {
			merged["/"+dir] = "/" + to
		}
	}
	return merged
}

type aliases map[string]string

// real returns where path lies. It allocates only for an alias.
func (a aliases) real(path string) string {
	if len(path) < 2 || path[0] != '/' {
		return path
	}
	end := strings.IndexByte(path[1:], '/') + 1
	if end == 0 {
		end = len(path)
	}
	if to, ok := a[path[:end]]; ok {
		return to + path[end:]
	}
	return path
}

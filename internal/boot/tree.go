// Files below a root that is not trusted: paths are resolved as a process with
// that root as its "/" would see them, and never lead out.

package boot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxText is far above what a loader's text files grow to (bytes).
const maxText = 16 << 20

type tree struct{ dir *os.File }

func openTree(root string) (*tree, error) {
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: root, Err: err}
	}
	return &tree{os.NewFile(uintptr(fd), root)}, nil
}

func (t *tree) Close() error { return t.dir.Close() }

// open opens name below the root, links resolved inside it (openat2(2)).
func (t *tree) open(name string, flags uint64, mode uint64) (*os.File, error) {
	how := unix.OpenHow{
		Flags: flags | unix.O_CLOEXEC, Mode: mode,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	if name == "" {
		name = "."
	}
	for {
		fd, err := unix.Openat2(int(t.dir.Fd()), name, &how)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), path.Join(t.dir.Name(), name)), nil
		// EAGAIN: something was renamed while the kernel looked.
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		default:
			return nil, &fs.PathError{Op: "open", Path: path.Join(t.dir.Name(), name), Err: err}
		}
	}
}

// resolve is where name really lies, relative to the root: no part of it is a link.
func (t *tree) resolve(name string) (string, error) {
	f, err := t.open(name, unix.O_PATH, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return t.place(f)
}

// place is the path of an open file relative to the root.
func (t *tree) place(f *os.File) (string, error) {
	root, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(t.dir.Fd())))
	if err != nil {
		return "", err
	}
	at, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(f.Fd())))
	if err != nil {
		return "", err
	}
	if at == root {
		return "", nil
	}
	within, ok := strings.CutPrefix(at, strings.TrimSuffix(root, "/")+"/")
	if !ok || strings.HasSuffix(at, " (deleted)") {
		return "", &fs.PathError{Op: "open", Path: f.Name(), Err: fs.ErrNotExist}
	}
	return within, nil
}

// file opens a regular file for reading.
func (t *tree) file(name string) (*os.File, fs.FileInfo, error) {
	// O_NONBLOCK: a pipe in that place must not hang us.
	f, err := t.open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", f.Name())
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// read returns a text file's content.
func (t *tree) read(name string) ([]byte, error) {
	f, info, err := t.file(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() > maxText {
		return nil, fmt.Errorf("%s has %d bytes, more than such a file has", f.Name(), info.Size())
	}
	return io.ReadAll(io.LimitReader(f, maxText))
}

// names lists a directory, sorted; one that is not there has none.
func (t *tree) names(dir string) ([]string, error) {
	f, err := t.open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func (t *tree) isFile(name string) bool { return t.mode(name).IsRegular() }
func (t *tree) isDir(name string) bool  { return t.mode(name).IsDir() }

// mode is that of what name leads to, irregular where that is nothing.
func (t *tree) mode(name string) fs.FileMode {
	f, err := t.open(name, unix.O_PATH, 0)
	if err != nil {
		return fs.ModeIrregular
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fs.ModeIrregular
	}
	return info.Mode()
}

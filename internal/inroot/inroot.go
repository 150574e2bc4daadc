// Package inroot reaches into a root that is not trusted: a snapshot, whose
// packages may have put anything anywhere. Paths are resolved as a process with
// that root as its "/" would see them, absolute links included, and never lead
// out (openat2(2), RESOLVE_IN_ROOT). Nothing that is opened makes us wait: a
// pipe in the place of a file is no file.
package inroot

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

// OpenAt opens name below the directory root, as openat(2) does. Flags and mode
// are those of open(2); O_NOATIME is a wish, which only an owner has granted.
func OpenAt(root int, name string, flags int, mode uint32) (int, error) {
	how := unix.OpenHow{
		Flags: uint64(flags | unix.O_CLOEXEC), Mode: uint64(mode),
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	if name = strings.TrimLeft(name, "/"); name == "" {
		name = "."
	}
	for {
		fd, err := unix.Openat2(root, name, &how)
		switch {
		case err == nil:
			return fd, nil
		// EAGAIN: something was renamed meanwhile, so that the kernel cannot tell whether the path stayed inside.
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		case errors.Is(err, unix.EPERM) && how.Flags&unix.O_NOATIME != 0:
			how.Flags &^= unix.O_NOATIME
		default:
			return -1, err
		}
	}
}

// Root is a root that is held open. Names of its methods are relative to it; a
// leading slash means nothing.
type Root struct {
	dir  *os.File // nil where somebody else holds it
	fd   int
	name string // for messages
}

// Open takes hold of the root at a path that is trusted.
func Open(root string) (*Root, error) {
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: root, Err: err}
	}
	return &Root{dir: os.NewFile(uintptr(fd), root), fd: fd, name: root}, nil
}

// Close lets go of it.
func (r *Root) Close() error { return r.dir.Close() }

// Open opens name. A file that may be a pipe or a device is opened by File.
func (r *Root) Open(name string, flags int, mode uint32) (*os.File, error) {
	full := path.Join(r.name, name)
	fd, err := OpenAt(r.fd, name, flags, mode)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: full, Err: err}
	}
	return os.NewFile(uintptr(fd), full), nil
}

// ReadFileAt is ReadFile for a root that is held open otherwise.
func ReadFileAt(root int, name string, limit int64) ([]byte, error) {
	return (&Root{fd: root, name: "/"}).ReadFile(name, limit)
}

// File opens a regular file for reading. It is ErrNotRegular for anything else.
func (r *Root) File(name string) (*os.File, fs.FileInfo, error) {
	// O_NONBLOCK: a pipe in that place must not hang us.
	f, err := r.Open(name, unix.O_RDONLY|unix.O_NOATIME|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notRegular(f)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// Why a file is not read.
var (
	ErrNotRegular = errors.New("it is not a regular file")
	ErrTooLarge   = errors.New("it is larger than such a file is")
)

func notRegular(f *os.File) error {
	return &fs.PathError{Op: "open", Path: f.Name(), Err: ErrNotRegular}
}

// ReadFile returns the content of a regular file of at most limit bytes;
// ErrTooLarge, with nothing read, where it has more.
func (r *Root) ReadFile(name string, limit int64) ([]byte, error) {
	f, info, err := r.File(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() > limit {
		return nil, &fs.PathError{Op: "read", Path: f.Name(), Err: fmt.Errorf("%w: %d bytes, at most %d are accepted", ErrTooLarge, info.Size(), limit)}
	}
	// One allocation for what it has; it may change while it is read.
	content := make([]byte, info.Size(), info.Size()+1)
	n, err := io.ReadFull(f, content)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return content[:n], nil
	}
	if err != nil {
		return nil, err
	}
	rest, err := io.ReadAll(io.LimitReader(f, limit-info.Size()))
	return append(content, rest...), err
}

// Stat is what name leads to.
func (r *Root) Stat(name string) (fs.FileInfo, error) { return r.stat(name, unix.O_PATH) }

// Lstat is what name is: a link is not followed.
func (r *Root) Lstat(name string) (fs.FileInfo, error) {
	return r.stat(name, unix.O_PATH|unix.O_NOFOLLOW)
}

func (r *Root) stat(name string, flags int) (fs.FileInfo, error) {
	f, err := r.Open(name, flags, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// Mode is that of what name leads to, irregular where that is nothing.
func (r *Root) Mode(name string) fs.FileMode {
	info, err := r.Stat(name)
	if err != nil {
		return fs.ModeIrregular
	}
	return info.Mode()
}

// Readlink is where a link points to, as it is written there.
func (r *Root) Readlink(name string) (string, error) {
	f, err := r.Open(name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(f.Fd()), "", target)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: f.Name(), Err: err}
	}
	return string(target[:n]), nil
}

// Names lists a directory, sorted.
func (r *Root) Names(dir string) ([]string, error) {
	f, err := r.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOATIME, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// Resolve is where name really lies, relative to the root: no part of it is a link.
func (r *Root) Resolve(name string) (string, error) {
	f, err := r.Open(name, unix.O_PATH, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return r.Place(f)
}

// Place is the path of an open file relative to the root, "" for the root itself.
func (r *Root) Place(f *os.File) (string, error) {
	root, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(r.fd))
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

// MkdirAll opens a directory and makes what is missing of it, with the mode as
// umask leaves it. made, where it is not nil, is called with each directory in
// which one was made.
func (r *Root) MkdirAll(dir string, mode uint32, made func(parent *os.File) error) (*os.File, error) {
	dir = path.Clean("/" + dir)
	d, err := r.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if !errors.Is(err, fs.ErrNotExist) || dir == "/" {
		return d, err
	}
	parent, err := r.MkdirAll(path.Dir(dir), mode, made)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	// What is there now is opened below, or refused: a link that dangles too.
	if err := unix.Mkdirat(int(parent.Fd()), path.Base(dir), mode); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, &fs.PathError{Op: "mkdir", Path: path.Join(parent.Name(), path.Base(dir)), Err: err}
	}
	if made != nil {
		if err := made(parent); err != nil {
			return nil, err
		}
	}
	return r.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
}

// What is written goes into a directory that is held open, by a name without a
// slash: between looking and writing nothing can put another in its place.

// Create makes a new file in an open directory, and fails where there is anything of that name.
func Create(dir *os.File, name string, mode uint32) (*os.File, error) {
	return openIn(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, mode)
}

// Rewrite opens a file of ours in an open directory to be written anew, and makes
// it where there is none. A link, and what is no regular file, is refused.
func Rewrite(dir *os.File, name string, mode uint32) (*os.File, error) {
	// O_NONBLOCK: a pipe that nobody reads fails then, instead of waiting for who does.
	f, err := openIn(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_NONBLOCK, mode)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notRegular(f)
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func openIn(dir *os.File, name string, flags int, mode uint32) (*os.File, error) {
	full := path.Join(dir.Name(), name)
	if err := single(name); err != nil {
		return nil, &fs.PathError{Op: "open", Path: full, Err: err}
	}
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_NOCTTY|unix.O_CLOEXEC, mode)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: full, Err: err}
	}
	return os.NewFile(uintptr(fd), full), nil
}

// Remove removes a file or link from an open directory. One that is not there is no error.
func Remove(dir *os.File, name string) error {
	err := single(name)
	if err == nil {
		err = unix.Unlinkat(int(dir.Fd()), name, 0)
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return &fs.PathError{Op: "remove", Path: path.Join(dir.Name(), name), Err: err}
	}
	return nil
}

// Rename gives a file in an open directory another name in it, in the place of what has that.
func Rename(dir *os.File, from, to string) error {
	err := errors.Join(single(from), single(to))
	if err == nil {
		err = unix.Renameat(int(dir.Fd()), from, int(dir.Fd()), to)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: path.Join(dir.Name(), from), New: path.Join(dir.Name(), to), Err: err}
	}
	return nil
}

// single refuses what is more than the name of one file.
func single(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return unix.EINVAL
	}
	return nil
}

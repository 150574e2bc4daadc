// What a tree is, byte for byte, times aside.

package oracle

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Fingerprint says of each path below a directory, from there, what it is:
// type, mode, owner, device number, extended attributes, and the hash of its
// content or its target. Times are not part of it.
type Fingerprint map[string]string

// OwnFiles are what txupd may write in the running root: its files for the boot
// loader, and the package manager's caches, which are bound through.
func OwnFiles() []string {
	return []string{
		"/.snapshots", "/boot/txupd", "/boot/grub/txupd.cfg", "/boot/grub/txupd.env", "/boot/grub2/txupd.cfg", "/boot/grub2/txupd.env",
		"/var/cache/apt", "/var/lib/apt/lists", "/var/cache/zypp",
	}
}

// FingerprintOf reads dir, but for the excluded paths ("/var/cache") and what is
// mounted in it; subvolumes in it belong to it. Where paths are given only those
// are read. Access times stay.
func FingerprintOf(dir string, paths []string, exclude ...string) (Fingerprint, error) {
	w := &walker{top: filepath.Clean(dir), exclude: exclude, print: Fingerprint{}, files: make(chan string)}
	var readers sync.WaitGroup
	for range runtime.NumCPU() {
		readers.Go(w.read)
	}
	if len(paths) == 0 {
		paths = []string{"/"}
	}
	var err error
	for _, p := range paths {
		if err = w.walk(p, true); err != nil {
			break
		}
	}
	close(w.files)
	readers.Wait()
	if err = errors.Join(err, w.failed); err != nil {
		return nil, fmt.Errorf("cannot take the fingerprint of %s: %w", dir, err)
	}
	return w.print, nil
}

type walker struct {
	top     string
	exclude []string
	files   chan string // whose content is to be read

	mu     sync.Mutex
	print  Fingerprint
	failed error
}

// walk notes a path and what is below it.
func (w *walker) walk(name string, first bool) error {
	if slices.Contains(w.exclude, name) {
		return nil
	}
	full := filepath.Join(w.top, name)
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, full, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS, &st)
	if err != nil {
		return &fs.PathError{Op: "stat", Path: full, Err: err}
	}
	if st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 && !first {
		return nil // something else is mounted there
	}
	says := fmt.Sprintf("mode %o owner %d:%d", st.Mode, st.Uid, st.Gid)
	attributes, err := attributesOf(full)
	if err != nil {
		return err
	}
	says += attributes
	kind := st.Mode & unix.S_IFMT
	switch kind {
	case unix.S_IFLNK:
		target, err := os.Readlink(full)
		if err != nil {
			return err
		}
		says += " to " + target
	case unix.S_IFCHR, unix.S_IFBLK:
		says += fmt.Sprintf(" device %d:%d", st.Rdev_major, st.Rdev_minor)
	case unix.S_IFREG:
		says += fmt.Sprintf(" size %d", st.Size)
	}
	w.mu.Lock()
	w.print[name] = says
	w.mu.Unlock()
	if kind == unix.S_IFREG && st.Size > 0 {
		w.files <- name
	}
	if kind != unix.S_IFDIR {
		return nil
	}
	dir, err := openDir(full)
	if err != nil {
		return err
	}
	inside, err := dir.Readdirnames(-1)
	dir.Close()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for _, n := range inside {
		if err := w.walk(filepath.Join(name, n), false); err != nil {
			return err
		}
	}
	return nil
}

// read adds the content of files until there are no more.
func (w *walker) read() {
	buffer := make([]byte, 256<<10)
	for name := range w.files {
		sum, err := contentHash(filepath.Join(w.top, name), buffer)
		w.mu.Lock()
		w.print[name] += " content " + sum
		w.failed = errors.Join(w.failed, err)
		w.mu.Unlock()
	}
}

func contentHash(path string, buffer []byte) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NOATIME|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: path, Err: err}
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	h := sha256.New()
	_, err = io.CopyBuffer(h, struct{ io.Reader }{file}, buffer)
	return hex.EncodeToString(h.Sum(nil)), err
}

// attributesOf are the extended attributes of a path, sorted.
func attributesOf(path string) (string, error) {
	var list [64 << 10]byte
	n, err := unix.Llistxattr(path, list[:])
	if errors.Is(err, unix.ENOTSUP) || n == 0 && err == nil {
		return "", nil
	}
	if err != nil {
		return "", &fs.PathError{Op: "listxattr", Path: path, Err: err}
	}
	var all []string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		var text [64 << 10]byte
		size, err := unix.Lgetxattr(path, name, text[:])
		if err != nil {
			return "", &fs.PathError{Op: "getxattr", Path: path, Err: err}
		}
		all = append(all, fmt.Sprintf(" %s=%x", name, text[:size]))
	}
	slices.Sort(all)
	return strings.Join(all, ""), nil
}

// differences are the paths that are not the same in both, in words.
func (f Fingerprint) differences(after Fingerprint) []string {
	var found []string
	for path, was := range f {
		switch is, ok := after[path]; {
		case !ok:
			found = append(found, path+" is gone")
		case is != was:
			found = append(found, fmt.Sprintf("%s was %q and is %q", path, was, is))
		}
	}
	for path := range after {
		if _, ok := f[path]; !ok {
			found = append(found, path+" is new")
		}
	}
	slices.Sort(found)
	return found
}

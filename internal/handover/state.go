// What one name is on one side of a hand-over, and when two of them are the same.

package handover

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// state is what there is under a name; the zero value is nothing.
type state struct {
	kind     uint32 // the S_IFMT bits, 0 for nothing
	mode     uint32 // the others
	uid, gid uint32
	device   [2]uint32
	size     uint64
	target   string // of a symbolic link
	seal     seal
	// attributes is a digest of the extended attributes that count.
	attributes string
	// content is a digest of what a regular file holds, read when it is asked for.
	content func() (string, error)
	// unknown: there was something, and nobody can tell what. It is like nothing else.
	unknown bool
	// The following tell a file from another one and are no part of what it is.
	id       fileID
	changed  unix.StatxTimestamp // by whatever
	modified unix.StatxTimestamp // its content
	mounted  bool                // something is mounted there
	nested   bool                // the root of a subvolume
}

// fileID is a file's device and inode number.
type fileID struct {
	major, minor uint32
	inode        uint64
}

// seal are the flags of chattr(1) that keep even root from changing a file.
type seal struct{ immutable, appendOnly bool }

func (s *state) exists() bool { return s.kind != 0 }
func (s *state) isDir() bool  { return s.kind == unix.S_IFDIR }

// same reports whether two states are equal: type, mode, owner, attributes,
// content. Times do not count, nor how many names a file has, nor the seal,
// which is handed over by itself.
func same(a, b *state) (bool, error) {
	if a.kind != b.kind || a.unknown || b.unknown {
		return false, nil
	}
	if a.kind == 0 {
		return true, nil
	}
	if a.uid != b.uid || a.gid != b.gid || a.attributes != b.attributes || a.device != b.device || a.target != b.target {
		return false, nil
	}
	if a.kind != unix.S_IFLNK && a.mode != b.mode {
		return false, nil
	}
	if a.kind != unix.S_IFREG {
		return true, nil
	}
	if a.size != b.size {
		return false, nil
	}
	if a.size == 0 {
		return true, nil
	}
	left, err := a.content()
	if err != nil {
		return false, err
	}
	right, err := b.content()
	return err == nil && left == right && left != moving, err
}

// either reports whether s is the same as one of two.
func either(s, a, b *state) (bool, error) {
	if ok, err := same(s, a); ok || err != nil {
		return ok, err
	}
	return same(s, b)
}

// examine describes a name in an open directory; "." is the directory itself.
// What is not there is the zero value. extended are all extended attributes.
func examine(dir int, name string) (s state, st unix.Statx_t, extended map[string]string, err error) {
	s, st, extended, err = inspect(dir, name)
	// Gone, maybe between two looks at it; or a name made of another one, too long to be one.
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENAMETOOLONG) {
		return state{}, st, nil, nil
	}
	return s, st, extended, err
}

func inspect(dir int, name string) (s state, st unix.Statx_t, extended map[string]string, err error) {
	err = again(func() error {
		// No server is asked, and nothing is mounted because we look.
		const flags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT | unix.AT_STATX_SYNC_AS_STAT
		return unix.Statx(dir, name, flags, unix.STATX_BASIC_STATS, &st)
	})
	if err != nil {
		return state{}, st, nil, fmt.Errorf("cannot examine %s: %w", name, err)
	}
	s = state{
		kind: uint32(st.Mode) & unix.S_IFMT, mode: uint32(st.Mode) &^ unix.S_IFMT, uid: st.Uid, gid: st.Gid,
		seal:    seal{st.Attributes&unix.STATX_ATTR_IMMUTABLE != 0, st.Attributes&unix.STATX_ATTR_APPEND != 0},
		id:      fileID{st.Dev_major, st.Dev_minor, st.Ino},
		changed: st.Ctime, modified: st.Mtime,
		mounted: st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 && name != ".",
	}
	switch s.kind {
	case unix.S_IFREG:
		s.size = st.Size
	case unix.S_IFBLK, unix.S_IFCHR:
		s.device = [2]uint32{st.Rdev_major, st.Rdev_minor}
	case unix.S_IFLNK:
		if s.target, err = readLink(dir, name); err != nil {
			return state{}, st, nil, err
		}
	}
	if s.mounted {
		return s, st, nil, nil // it is not ours to ask
	}
	if extended, err = readAttributes(dir, name); err != nil {
		return state{}, st, nil, err
	}
	s.attributes = digest(extended)
	return s, st, extended, nil
}

func readLink(dir int, name string) (string, error) {
	buffer := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buffer)
	if err != nil {
		return "", fmt.Errorf("cannot read the link %s: %w", name, err)
	}
	return string(buffer[:n]), nil
}

// Namespaces of attributes: those of overlayfs are its own business, on the
// live side too (container engines keep layers under /var), and those of btrfs
// another file system cannot have.
const (
	overlayNamespace = "trusted.overlay."
	btrfsNamespace   = "btrfs."
)

// counts reports whether an attribute is part of what a file is.
func counts(attribute string) bool {
	return !strings.HasPrefix(attribute, overlayNamespace) && !strings.HasPrefix(attribute, btrfsNamespace)
}

// digest is that of the attributes that count, "" for none.
func digest(extended map[string]string) string {
	h, some := sha256.New(), false
	for _, name := range slices.Sorted(maps.Keys(extended)) {
		if !counts(name) {
			continue
		}
		some = true
		for _, text := range []string{name, extended[name]} {
			_ = binary.Write(h, binary.LittleEndian, uint64(len(text))) // a hash takes everything
			_, _ = h.Write([]byte(text))
		}
	}
	if !some {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// at is a path to a name in an open directory, for calls that have no other
// way. They must not follow a link.
func at(dir int, name string) string { return fmt.Sprintf("/proc/self/fd/%d/%s", dir, name) }

// readAttributes reads all extended attributes of a name.
func readAttributes(dir int, name string) (map[string]string, error) {
	list, err := sized(func(buffer []byte) (int, error) { return unix.Llistxattr(at(dir, name), buffer) })
	// The stub of a subvolume has none and cannot have any.
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the attributes of %s: %w", name, err)
	}
	extended := map[string]string{}
	for attribute := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if attribute == "" {
			continue
		}
		value, err := sized(func(buffer []byte) (int, error) { return unix.Lgetxattr(at(dir, name), attribute, buffer) })
		if errors.Is(err, unix.ENODATA) {
			continue // removed just now
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the attribute %s of %s: %w", attribute, name, err)
		}
		extended[attribute] = string(value)
	}
	return extended, nil
}

// sized calls again with what a call needs where a small buffer is too small.
func sized(call func([]byte) (int, error)) ([]byte, error) {
	buffer := make([]byte, 256)
	for {
		n, err := call(buffer)
		if errors.Is(err, unix.ERANGE) {
			// XATTR_LIST_MAX and XATTR_SIZE_MAX of linux/limits.h.
			if len(buffer) >= 64<<10 {
				return nil, err
			}
			buffer = make([]byte, 64<<10)
			continue
		}
		if err != nil {
			return nil, err
		}
		return buffer[:n], nil
	}
}

// again repeats a call that a signal interrupted.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

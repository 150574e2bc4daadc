package etcmerge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"strings"

	"golang.org/x/sys/unix"
)

// node is what a tree has under one name.
type node struct {
	kind   uint32 // S_IFREG and the others
	attrs         // what counts in the merge
	disk   *attrs // what is on the disk, where a renumbered owner makes that another
	rdev   uint64
	size   int64
	target string // of a symbolic link
	ino    uint64
	dev    uint64
	links  uint32
	mtime  unix.StatxTimestamp
	ctime  unix.StatxTimestamp
}

// attrs are what is merged besides type and content.
type attrs struct {
	mode   uint32 // permissions, set-id and sticky bits
	uid    uint32
	gid    uint32
	flags  uint64 // STATX_ATTR_IMMUTABLE, STATX_ATTR_APPEND
	xattrs map[string]string
}

const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
	// mergedFlags protect a file from being changed; the other ones are hints for the file system.
	mergedFlags = unix.STATX_ATTR_IMMUTABLE | unix.STATX_ATTR_APPEND
)

func (n *node) is(kind uint32) bool { return n != nil && n.kind == kind }
func (n *node) isDir() bool         { return n.is(unix.S_IFDIR) }
func (n *node) isFile() bool        { return n.is(unix.S_IFREG) }

// onDisk are the attributes that the file has now.
func (n *node) onDisk() attrs {
	if n.disk != nil {
		return *n.disk
	}
	return n.attrs
}

// sameObject reports whether two nodes are one inode, seen twice.
func sameObject(x, y *node) bool { return x.ino == y.ino && x.dev == y.dev }

// examine looks at what name in dir is, without its extended attributes; nil is
// nothing. "" is dir itself.
func (v *view) examine(dir int, name string) (*node, error) {
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	var stx unix.Statx_t
	for {
		err := unix.Statx(dir, name, flags, unix.STATX_BASIC_STATS, &stx)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOENT):
			return nil, nil
		case err != nil:
			return nil, err
		}
		break
	}
	n := &node{
		kind: uint32(stx.Mode) & unix.S_IFMT,
		attrs: attrs{
			mode: uint32(stx.Mode) & 0o7777, uid: stx.Uid, gid: stx.Gid,
			flags: stx.Attributes & mergedFlags,
		},
		size: int64(stx.Size), ino: stx.Ino, links: stx.Nlink,
		dev:   unix.Mkdev(stx.Dev_major, stx.Dev_minor),
		mtime: stx.Mtime, ctime: stx.Ctime,
	}
	switch n.kind {
	case unix.S_IFCHR, unix.S_IFBLK:
		n.rdev = unix.Mkdev(stx.Rdev_major, stx.Rdev_minor)
	case unix.S_IFLNK:
		target, err := readlink(dir, name)
		if err != nil {
			return nil, err
		}
		n.target = target
	}
	return n, nil
}

func readlink(dir int, name string) (string, error) {
	buffer := make([]byte, 4096) // PATH_MAX: a target is shorter
	n, err := unix.Readlinkat(dir, name, buffer)
	if err != nil {
		return "", err
	}
	return string(buffer[:n]), nil
}

// xattrReader reads extended attributes of one file at a time.
type xattrReader struct {
	list func(buffer []byte) (int, error)
	get  func(name string, buffer []byte) (int, error)
}

func xattrsOf(fd int) xattrReader {
	return xattrReader{
		list: func(b []byte) (int, error) { return unix.Flistxattr(fd, b) },
		get:  func(name string, b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) },
	}
}

// xattrsAt is for what is not opened. The path leads through a descriptor of
// ours, and the last part of it is not followed.
func xattrsAt(dir int, name string) xattrReader {
	path := fmt.Sprintf("/proc/self/fd/%d/%s", dir, name)
	return xattrReader{
		list: func(b []byte) (int, error) { return unix.Llistxattr(path, b) },
		get:  func(name string, b []byte) (int, error) { return unix.Lgetxattr(path, name, b) },
	}
}

// read returns all attributes, nil for none.
func (r xattrReader) read(buffer []byte) (map[string]string, error) {
	n, err := grow(buffer, r.list)
	switch {
	case errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOSYS):
		return nil, nil
	case err != nil || len(n) == 0:
		return nil, err
	}
	found := map[string]string{}
	for _, name := range strings.Split(strings.TrimSuffix(string(n), "\x00"), "\x00") {
		value, err := grow(buffer, func(b []byte) (int, error) { return r.get(name, b) })
		switch {
		// Removed since, or one that only the kernel sees.
		case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP):
			continue
		case err != nil:
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		found[name] = string(value)
	}
	if len(found) == 0 {
		return nil, nil
	}
	return found, nil
}

// grow calls a function that fills a buffer, with a larger one if it must be.
func grow(buffer []byte, fill func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := fill(buffer)
		if !errors.Is(err, unix.ERANGE) {
			return buffer[:max(n, 0)], err
		}
		if len(buffer) > 1<<20 { // the kernel's limit is 64 KiB
			return nil, err
		}
		buffer = make([]byte, max(2*len(buffer), 4096))
	}
}

// attrFacets are the attributes in which two nodes differ.
func attrFacets(x, y *attrs) facets {
	var f facets
	if x.mode != y.mode || x.xattrs[aclAccess] != y.xattrs[aclAccess] {
		f |= fMode
	}
	if x.uid != y.uid || x.gid != y.gid {
		f |= fOwner
	}
	if x.flags != y.flags {
		f |= fFlags
	}
	if !maps.Equal(x.xattrs, y.xattrs) && !sameXattrs(x.xattrs, y.xattrs) {
		f |= fXattrs
	}
	return f
}

// sameXattrs compares what is not part of the mode.
func sameXattrs(x, y map[string]string) bool {
	for _, pair := range [][2]map[string]string{{x, y}, {y, x}} {
		for name, value := range pair[0] {
			if other, ok := pair[1][name]; name != aclAccess && (!ok || other != value) {
				return false
			}
		}
	}
	return true
}

// remapACL replaces ids in an access control list. Layout: linux/posix_acl_xattr.h,
// a version (4 bytes) and entries of tag (2), permissions (2) and id (4), little endian.
func remapACL(value string, id func(tag uint16, id uint32) uint32) string {
	const header, entry = 4, 8
	b := []byte(value)
	for at := header; at+entry <= len(b); at += entry {
		field := b[at+4 : at+8]
		old := binary.LittleEndian.Uint32(field)
		binary.LittleEndian.PutUint32(field, id(binary.LittleEndian.Uint16(b[at:]), old))
	}
	return string(b)
}

// Tags of ACL entries that name an id (linux/posix_acl.h).
const (
	aclUser  = 0x02
	aclGroup = 0x08
)

package etcmerge

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// object is one path of a tree in a test.
type object struct {
	kind    string // file, dir, link, fifo, socket, char
	mode    uint32
	owner   string
	content string
	target  string
	xattrs  string
	flags   string
	linked  string // the same for all names of an inode, if it has several
	mtime   int64
}

// testTree is a whole tree by its paths.
type testTree map[string]object

// sameSecond is the time of every file that says no other: equal times must mean nothing.
const sameSecond = 1_700_000_000

// write makes the tree below dir.
func (tree testTree) write(t testing.TB, dir string) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		for above := filepath.Dir(name); above != "."; above = filepath.Dir(above) {
			if _, ok := tree[above]; !ok {
				tree[above] = object{kind: "dir", mode: 0o755, owner: "0:0"}
			}
		}
	}
	names := slices.Sorted(maps.Keys(tree))
	made := map[string]string{} // by the mark of an inode, its first name
	for _, name := range names {
		o, full := tree[name], filepath.Join(dir, name)
		switch o.kind {
		case "dir":
			if name != "." {
				check(os.Mkdir(full, 0o700))
			}
		case "file":
			if first, ok := made[o.linked]; ok && o.linked != "" {
				check(os.Link(first, full))
				continue
			}
			made[o.linked] = full
			check(os.WriteFile(full, []byte(o.content), 0o600))
		case "link":
			check(os.Symlink(o.target, full))
		case "fifo":
			check(unix.Mkfifo(full, 0o600))
		case "socket":
			check(unix.Mknod(full, unix.S_IFSOCK|0o600, 0))
		case "char":
			check(unix.Mknod(full, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
		default:
			t.Fatalf("%s is of no kind", name)
		}
	}
	for _, name := range slices.Backward(names) {
		o, full := tree[name], filepath.Join(dir, name)
		if o.linked != "" && made[o.linked] != full {
			continue
		}
		uid, gid, _ := strings.Cut(o.owner, ":")
		u, err := strconv.Atoi(uid)
		check(err)
		g, err := strconv.Atoi(gid)
		check(err)
		check(os.Lchown(full, u, g))
		for _, x := range strings.Fields(o.xattrs) {
			xattr, value, _ := strings.Cut(x, "=")
			if strings.HasPrefix(value, "0x") {
				raw, err := hex.DecodeString(value[2:])
				check(err)
				value = string(raw)
			}
			check(unix.Lsetxattr(full, xattr, []byte(value), 0))
		}
		if o.kind != "link" {
			check(unix.Chmod(full, o.mode))
		}
		when := unix.Timespec{Sec: sameSecond}
		if o.mtime != 0 {
			when.Sec = o.mtime
		}
		check(unix.UtimesNanoAt(unix.AT_FDCWD, full, []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW))
		if o.flags != "" {
			setTestFlags(t, full, flagBits(o.flags))
			t.Cleanup(func() { clearTestFlags(full) })
		}
	}
}

func flagBits(s string) int {
	bits := 0 // they are those of FS_IMMUTABLE_FL and FS_APPEND_FL
	if strings.Contains(s, "i") {
		bits |= unix.STATX_ATTR_IMMUTABLE
	}
	if strings.Contains(s, "a") {
		bits |= unix.STATX_ATTR_APPEND
	}
	return bits
}

func setTestFlags(t testing.TB, path string, bits int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	old, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, old|bits)
	}
	if err != nil {
		t.Fatalf("flags of %s: %v", path, err)
	}
}

// clearTestFlags lets a directory of a test be removed.
func clearTestFlags(path string) {
	if f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0); err == nil {
		if old, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS); err == nil {
			_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, old&^flagBits("ia"))
		}
		f.Close()
	}
}

// readTree is the tree that is below dir, without times.
func readTree(t testing.TB, dir string) testTree {
	t.Helper()
	tree := testTree{}
	inodes := map[uint64]string{}
	var visit func(name string)
	visit = func(name string) {
		full := filepath.Join(dir, name)
		var st unix.Stat_t
		if err := unix.Lstat(full, &st); err != nil {
			t.Fatal(err)
		}
		o := object{mode: st.Mode & 0o7777, owner: fmt.Sprintf("%d:%d", st.Uid, st.Gid)}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			o.kind = "dir"
		case unix.S_IFREG:
			o.kind = "file"
			data, err := os.ReadFile(full)
			if err != nil {
				t.Fatal(err)
			}
			o.content = string(data)
			if st.Nlink > 1 {
				if _, ok := inodes[st.Ino]; !ok {
					inodes[st.Ino] = name
				}
				o.linked = inodes[st.Ino]
			}
		case unix.S_IFLNK:
			o.kind, o.mode = "link", 0
			o.target, _ = os.Readlink(full)
		case unix.S_IFIFO:
			o.kind = "fifo"
		case unix.S_IFSOCK:
			o.kind = "socket"
		case unix.S_IFCHR:
			o.kind = "char"
		}
		o.xattrs = testXattrs(t, full)
		var stx unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, full, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &stx); err != nil {
			t.Fatal(err)
		}
		if stx.Attributes&unix.STATX_ATTR_IMMUTABLE != 0 {
			o.flags += "i"
			t.Cleanup(func() { clearTestFlags(full) })
		}
		if stx.Attributes&unix.STATX_ATTR_APPEND != 0 {
			o.flags += "a"
			t.Cleanup(func() { clearTestFlags(full) })
		}
		tree[name] = o
		if o.kind != "dir" {
			return
		}
		entries, err := os.ReadDir(full)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			visit(filepath.Join(name, e.Name()))
		}
	}
	visit(".")
	return tree
}

func testXattrs(t testing.TB, full string) string {
	t.Helper()
	buffer := make([]byte, 4096)
	n, err := unix.Llistxattr(full, buffer)
	if errors.Is(err, unix.ENOTSUP) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, name := range strings.Split(strings.TrimSuffix(string(buffer[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 4096)
		size, err := unix.Lgetxattr(full, name, value)
		if err != nil {
			t.Fatal(err)
		}
		text := string(value[:size])
		if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
			text = "0x" + hex.EncodeToString(value[:size])
		}
		all = append(all, name+"="+text)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// openTrees opens directories of a test.
func openTrees(t testing.TB, ancestor, ours, theirs string) Trees {
	t.Helper()
	open := func(dir string) *os.File {
		f, err := Open(filepath.Dir(dir), filepath.Base(dir))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	return Trees{Ancestor: open(ancestor), Ours: open(ours), Theirs: open(theirs)}
}

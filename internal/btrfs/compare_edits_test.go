// Random edits of a tree, for the property test of comparisons: everything
// that can happen to a file, again and again under a few names, so that things
// are replaced, recreated and moved onto one another.

package btrfs_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/btrfs"
)

// names are few, so that the same paths come and go.
var names = []string{
	"a", "b", "c", "d", "e.conf", "a.b", "a b", "-rf", "line\nbreak", "\xff\xfe", "ü", "..a",
	strings.Repeat("x", 255), strings.Repeat("\xc3", 254) + "y",
}

// editor edits one tree. An edit that is not possible where it is tried (a
// directory moved into itself) changes nothing.
type editor struct {
	t    *testing.T
	rng  *rand.Rand
	root string
	held []*os.File // deleted and still open
	log  []string
}

// edits are all kinds of edits; what happens often stands here more than once.
var edits = []struct {
	name string
	do   func(e *editor) error
}{
	{"create", (*editor).create}, {"create", (*editor).create}, {"create", (*editor).create},
	{"mkdir", (*editor).mkdir}, {"mkdir", (*editor).mkdir},
	{"special", (*editor).special},
	{"symlink", func(e *editor) error { return os.Symlink(e.name(), e.free()) }},
	{"link", func(e *editor) error { return os.Link(e.file(), e.free()) }},
	{"remove", func(e *editor) error { return e.remove(e.any()) }},
	{"remove all", func(e *editor) error { return e.removeAll(e.any()) }},
	{"remove stub", func(e *editor) error { return e.remove(e.choose(stub)) }},
	{"rename", func(e *editor) error { return os.Rename(e.any(), e.free()) }},
	{"rename onto", func(e *editor) error { return os.Rename(e.any(), e.any()) }},
	{"exchange", func(e *editor) error {
		return unix.Renameat2(unix.AT_FDCWD, e.any(), unix.AT_FDCWD, e.any(), unix.RENAME_EXCHANGE)
	}},
	{"overwrite", (*editor).overwrite}, {"overwrite", (*editor).overwrite},
	{"map", (*editor).mapped},
	{"truncate", func(e *editor) error { return os.Truncate(e.file(), int64(e.rng.IntN(40000))) }},
	{"punch", func(e *editor) error { return e.fallocate(unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE) }},
	{"zero", func(e *editor) error { return e.fallocate(unix.FALLOC_FL_ZERO_RANGE) }},
	{"allocate", func(e *editor) error { return e.fallocate(unix.FALLOC_FL_KEEP_SIZE) }},
	{"reflink", (*editor).reflink},
	{"rewrite", (*editor).rewrite},
	{"recreate", (*editor).recreate},
	{"rebuild", (*editor).rebuild},
	{"touch", func(e *editor) error {
		return os.Chtimes(e.any(), time.Unix(int64(e.rng.IntN(1e9)), 0), time.Unix(1, 0))
	}},
	{"chmod", func(e *editor) error {
		return unix.Chmod(e.any(), uint32(pick(e.rng, []int{0o644, 0o755, 0o4755, 0o1777, 0})))
	}},
	{"chown", func(e *editor) error { return os.Lchown(e.any(), e.rng.IntN(3), e.rng.IntN(3)) }},
	{"there and back", (*editor).thereAndBack},
	{"set attribute", (*editor).setAttribute}, {"set attribute", (*editor).setAttribute},
	{"drop attribute", func(e *editor) error { return unix.Lremovexattr(e.any(), pick(e.rng, attributes)) }},
	{"acl", (*editor).acl},
	{"unnamed", (*editor).unnamed},
	{"hold", (*editor).hold},
	{"subvolume", func(e *editor) error { return btrfs.Driver{}.Create(e.free()) }},
}

var attributes = []string{"user.a", "user.b", "trusted.c"}

// edit makes count random edits.
func (e *editor) edit(count int) {
	e.t.Helper()
	for range count {
		kind := pick(e.rng, edits)
		err := kind.do(e)
		e.log = append(e.log, fmt.Sprintf("%s: %v", kind.name, err))
	}
}

// release closes what was kept open.
func (e *editor) release() {
	for _, f := range e.held {
		f.Close()
	}
	e.held = nil
}

func pick[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }

func (e *editor) name() string { return pick(e.rng, names) }

// choose picks one of the paths below the root that pass.
func (e *editor) choose(pass func(fs.FileInfo) bool) string {
	var list []string
	err := filepath.Walk(e.root, func(path string, info fs.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if pass(info) {
			list = append(list, path)
		}
		return nil
	})
	if err != nil {
		e.t.Fatalf("%v\n%s", err, strings.Join(e.log, "\n"))
	}
	if len(list) == 0 {
		return e.root + "/none"
	}
	return pick(e.rng, list)
}

// any leaves out stubs: exchanging one makes Linux 6.18 abort the transaction.
func (e *editor) any() string { return e.choose(func(i fs.FileInfo) bool { return !stub(i) }) }
func (e *editor) file() string {
	return e.choose(func(i fs.FileInfo) bool { return i.Mode().IsRegular() })
}
func (e *editor) dir() string {
	return e.choose(func(i fs.FileInfo) bool { return i.IsDir() && !stub(i) })
}

// free is a path in some directory, most often unused.
func (e *editor) free() string { return filepath.Join(e.dir(), e.name()) }

// bytes are few different ones, so that equal content happens.
func (e *editor) bytes() []byte {
	length := pick(e.rng, []int{0, 1, 10, 100, 4096, 5000, 20000, 140000})
	return bytes.Repeat([]byte{byte('a' + e.rng.IntN(3))}, length)
}

// write makes a file or replaces its content. Whatever else has that name
// stays as it is: opening a FIFO would not return.
func write(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.Write(data)
	return err
}

func (e *editor) create() error { return write(e.free(), e.bytes()) }

// mkdir makes a directory with something in it.
func (e *editor) mkdir() error {
	path := e.free()
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	for range e.rng.IntN(4) {
		if err := write(filepath.Join(path, e.name()), e.bytes()); err != nil {
			return err
		}
	}
	return nil
}

func (e *editor) special() error {
	kind := pick(e.rng, []uint32{unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR, unix.S_IFBLK})
	// No driver has major number 0: nothing happens should one be opened.
	return unix.Mknod(e.free(), kind|0o600, int(unix.Mkdev(0, uint32(e.rng.IntN(3)))))
}

// stub tells what is in the place of a nested subvolume that was not forked along.
func stub(info fs.FileInfo) bool { return info.Sys().(*syscall.Stat_t).Ino == 2 }

func (e *editor) remove(path string) error {
	if path == e.root {
		return nil
	}
	return os.Remove(path)
}

func (e *editor) removeAll(path string) error {
	if path == e.root {
		return nil
	}
	return os.RemoveAll(path)
}

// overwrite changes a part and leaves the size.
func (e *editor) overwrite() error {
	f, err := os.OpenFile(e.file(), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	at := e.rng.Int64N(info.Size())
	_, err = f.WriteAt(bytes.Repeat([]byte{byte('a' + e.rng.IntN(3))}, e.rng.IntN(int(info.Size()-at))+1), at)
	return err
}

func (e *editor) mapped() error {
	f, err := os.OpenFile(e.file(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	memory, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	memory[e.rng.IntN(len(memory))] = byte('a' + e.rng.IntN(3))
	return unix.Munmap(memory)
}

func (e *editor) fallocate(mode uint32) error {
	f, err := os.OpenFile(e.file(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fallocate(int(f.Fd()), mode, e.rng.Int64N(30000), e.rng.Int64N(30000)+1)
}

func (e *editor) reflink() error {
	from, err := os.Open(e.file())
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(e.free(), os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return err
	}
	defer to.Close()
	return unix.IoctlFileClone(int(to.Fd()), int(from.Fd()))
}

// rewrite writes the same again.
func (e *editor) rewrite() error {
	path := e.file()
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return write(path, data)
}

// recreate puts a new file with the same content in the place of one.
func (e *editor) recreate() error {
	path := e.file()
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return write(path, data)
}

// rebuild puts a new directory in the place of one, with the same entries.
func (e *editor) rebuild() error {
	path := e.dir()
	if path == e.root {
		return nil
	}
	aside := path + "~"
	if len(filepath.Base(aside)) > 255 {
		aside = filepath.Join(filepath.Dir(path), "~")
	}
	if err := os.Rename(path, aside); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(aside)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := os.Rename(filepath.Join(aside, entry.Name()), filepath.Join(path, entry.Name())); err != nil {
			return err
		}
	}
	return os.Remove(aside)
}

// thereAndBack changes and restores.
func (e *editor) thereAndBack() error {
	path := e.any()
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSymlink != 0 {
		return err
	}
	if err := unix.Chmod(path, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(path, info.Mode()); err != nil || path == e.root {
		return err
	}
	aside := filepath.Join(e.root, "aside")
	if err := os.Rename(path, aside); err != nil {
		return err
	}
	return os.Rename(aside, path)
}

func (e *editor) setAttribute() error {
	value := bytes.Repeat([]byte{byte(e.rng.IntN(3))}, pick(e.rng, []int{0, 1, 50, 3000}))
	return unix.Lsetxattr(e.any(), pick(e.rng, attributes), value, 0)
}

// accessList gives one more user rights. Layout: linux/posix_acl_xattr.h, version 2.
func accessList(rights byte) []byte {
	const undefined = "\xff\xff\xff\xff"
	entry := func(tag, rights byte, id string) string { return string([]byte{tag, 0, rights, 0}) + id }
	return []byte("\x02\x00\x00\x00" + entry(1, 6, undefined) + entry(2, rights, "\x07\x00\x00\x00") +
		entry(4, 4, undefined) + entry(16, 7, undefined) + entry(32, 4, undefined))
}

func (e *editor) acl() error {
	name := pick(e.rng, []string{"system.posix_acl_access", "system.posix_acl_default"})
	return unix.Setxattr(e.any(), name, accessList(byte(e.rng.IntN(8))), 0)
}

// unnamed makes a file without a name and then gives it one.
func (e *editor) unnamed() error {
	fd, err := unix.Open(e.dir(), unix.O_TMPFILE|unix.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, e.bytes()); err != nil {
		return err
	}
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, e.free(), unix.AT_SYMLINK_FOLLOW)
}

// hold deletes a file that stays open.
func (e *editor) hold() error {
	path := e.file()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	e.held = append(e.held, f)
	if err := os.Remove(path); err != nil {
		return err
	}
	_, err = f.WriteString("still written")
	return err
}

// Each kind of change by name, on a real file system: what a comparison says
// of it, by generation and by walk, in both directions.

package btrfs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/btrfs"
)

// site is a tree in which a case works; the first error stops it.
type site struct {
	t    *testing.T
	root string
}

func (s site) at(path string) string { return filepath.Join(s.root, path) }

func (s site) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s site) write(path, content string) {
	s.t.Helper()
	s.check(os.MkdirAll(filepath.Dir(s.at(path)), 0o755))
	s.check(os.WriteFile(s.at(path), []byte(content), 0o644))
}

func (s site) mkdir(path string)        { s.t.Helper(); s.check(os.MkdirAll(s.at(path), 0o755)) }
func (s site) remove(path string)       { s.t.Helper(); s.check(os.RemoveAll(s.at(path))) }
func (s site) rename(from, to string)   { s.t.Helper(); s.check(os.Rename(s.at(from), s.at(to))) }
func (s site) link(from, to string)     { s.t.Helper(); s.check(os.Link(s.at(from), s.at(to))) }
func (s site) symlink(target, p string) { s.t.Helper(); s.check(os.Symlink(target, s.at(p))) }

func (s site) chmod(path string, mode uint32) {
	s.t.Helper()
	s.check(unix.Chmod(s.at(path), mode))
}

func (s site) node(path string, kind uint32, minor uint32) {
	s.t.Helper()
	s.check(unix.Mknod(s.at(path), kind|0o600, int(unix.Mkdev(0, minor))))
}

func (s site) attribute(path, name, value string) {
	s.t.Helper()
	s.check(unix.Lsetxattr(s.at(path), name, []byte(value), 0))
}

func (s site) open(path string, do func(fd int) error) {
	s.t.Helper()
	f, err := os.OpenFile(s.at(path), os.O_RDWR, 0)
	s.check(err)
	defer f.Close()
	s.check(do(int(f.Fd())))
}

var big = strings.Repeat("0123456789abcdef", 4096)

// capability is a version 2 value with CAP_NET_RAW. Layout: linux/capability.h.
const capability = "\x00\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// long is a name as long as names can be.
func long(i int) string { return fmt.Sprintf("%0255d", i) }

var kinds = []struct {
	name   string
	before func(site)
	after  func(site)
	// want is "kind path", sorted by path.
	want []string
}{
	{"nothing", func(s site) { s.write("a/b", "1") }, func(site) {}, nil},
	{"file added", nil, func(s site) { s.write("a", "") }, []string{"added /a"}},
	{"file removed", func(s site) { s.write("a", "") }, func(s site) { s.remove("a") }, []string{"removed /a"}},
	{"directory added with what is in it", nil, func(s site) { s.write("a/b/c", ""); s.write("a/b.c", "") },
		[]string{"added /a", "added /a/b", "added /a/b.c", "added /a/b/c"}},
	{"directory removed with what is in it", func(s site) { s.write("a/b/c", ""); s.symlink("x", "a/l") }, func(s site) { s.remove("a") },
		[]string{"removed /a", "removed /a/b", "removed /a/b/c", "removed /a/l"}},
	{"content, same size", func(s site) { s.write("a/b", "one") }, func(s site) { s.write("a/b", "two") }, []string{"modified /a/b"}},
	{"content, one byte of many", func(s site) { s.write("a", big) },
		func(s site) {
			s.open("a", func(fd int) error { _, err := unix.Pwrite(fd, []byte{'X'}, 60000); return err })
		}, []string{"modified /a"}},
	{"content longer", func(s site) { s.write("a", "one") }, func(s site) { s.write("a", "one\n") }, []string{"modified /a"}},
	{"content by a mapping", func(s site) { s.write("a", big) },
		func(s site) {
			s.open("a", func(fd int) error {
				memory, err := unix.Mmap(fd, 0, len(big), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
				if err != nil {
					return err
				}
				memory[5000] = 'X'
				return unix.Munmap(memory)
			})
		}, []string{"modified /a"}},
	{"hole punched", func(s site) { s.write("a", big) },
		func(s site) {
			s.open("a", func(fd int) error {
				return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 4096, 8192)
			})
		}, []string{"modified /a"}},
	{"hole where zeros were", func(s site) { s.write("a", big+strings.Repeat("\x00", 8192)) },
		func(s site) {
			s.open("a", func(fd int) error {
				return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(len(big)), 8192)
			})
		}, nil},
	{"space allocated beyond the end", func(s site) { s.write("a", big) },
		func(s site) {
			s.open("a", func(fd int) error { return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, int64(len(big)), 1<<20) })
		}, nil},
	{"touched", func(s site) { s.write("a/b", big) },
		func(s site) {
			s.check(os.Chtimes(s.at("a/b"), time.Unix(1, 0), time.Unix(1, 0)))
			s.check(os.Chtimes(s.at("a"), time.Unix(1, 0), time.Unix(1, 0)))
		}, nil},
	{"written again with the same", func(s site) { s.write("a", big); s.write("b", "tiny") }, func(s site) { s.write("a", big); s.write("b", "tiny") }, nil},
	{"recreated with the same", func(s site) { s.write("d/a", big) }, func(s site) { s.remove("d"); s.write("d/a", big) }, nil},
	{"recreated by reflink", func(s site) { s.write("a", big) },
		func(s site) {
			s.rename("a", "old")
			s.write("a", "")
			from, err := os.Open(s.at("old"))
			s.check(err)
			defer from.Close()
			s.open("a", func(fd int) error { return unix.IoctlFileClone(fd, int(from.Fd())) })
			s.remove("old")
		}, nil},
	{"mode", func(s site) { s.write("a", "") }, func(s site) { s.chmod("a", 0o4755) }, []string{"modified /a"}},
	{"mode of a directory", func(s site) { s.write("a/b/c", "") }, func(s site) { s.chmod("a/b", 0o700) }, []string{"modified /a/b"}},
	{"mode of the root", func(s site) { s.write("a", "") }, func(s site) { s.chmod("", 0o700) }, []string{"modified /"}},
	{"mode there and back", func(s site) { s.write("a", "") }, func(s site) { s.chmod("a", 0o600); s.chmod("a", 0o644) }, nil},
	{"owner of a link", func(s site) { s.symlink("x", "l") }, func(s site) { s.check(os.Lchown(s.at("l"), 5, 0)) }, []string{"modified /l"}},
	{"group", func(s site) { s.write("a", "") }, func(s site) { s.check(os.Lchown(s.at("a"), 0, 5)) }, []string{"modified /a"}},
	{"attribute set", func(s site) { s.write("a", "") }, func(s site) { s.attribute("a", "user.x", "1") }, []string{"modified /a"}},
	{"attribute empty", func(s site) { s.write("a", "") }, func(s site) { s.attribute("a", "user.x", "") }, []string{"modified /a"}},
	{"attribute changed", func(s site) { s.write("a", ""); s.attribute("a", "user.x", "1") }, func(s site) { s.attribute("a", "user.x", "2") }, []string{"modified /a"}},
	{"attribute renamed", func(s site) { s.write("a", ""); s.attribute("a", "user.x", "1") },
		func(s site) { s.check(unix.Lremovexattr(s.at("a"), "user.x")); s.attribute("a", "user.y", "1") }, []string{"modified /a"}},
	{"attribute of a link", func(s site) { s.symlink("x", "l") }, func(s site) { s.attribute("l", "trusted.x", "1") }, []string{"modified /l"}},
	{"attribute of a device", func(s site) { s.node("d", unix.S_IFCHR, 1) }, func(s site) { s.attribute("d", "trusted.x", "1") }, []string{"modified /d"}},
	{"capability", func(s site) { s.write("a", "") }, func(s site) { s.attribute("a", "security.capability", capability) }, []string{"modified /a"}},
	{"access list of a directory", func(s site) { s.write("a/b", "") },
		func(s site) { s.attribute("a", "system.posix_acl_default", string(accessList(5))) }, []string{"modified /a"}},
	{"target of a link", func(s site) { s.symlink("one", "l") }, func(s site) { s.remove("l"); s.symlink("two", "l") }, []string{"modified /l"}},
	{"number of a device", func(s site) { s.node("d", unix.S_IFBLK, 1) }, func(s site) { s.remove("d"); s.node("d", unix.S_IFBLK, 2) }, []string{"modified /d"}},
	{"character to block device", func(s site) { s.node("d", unix.S_IFCHR, 1) }, func(s site) { s.remove("d"); s.node("d", unix.S_IFBLK, 1) }, []string{"type /d"}},
	{"sockets and pipes", func(s site) { s.node("p", unix.S_IFIFO, 0); s.node("s", unix.S_IFSOCK, 0) },
		func(s site) {
			s.remove("p")
			s.node("p", unix.S_IFIFO, 0)
			s.chmod("s", 0o666)
		}, []string{"modified /s"}},
	{"file to link", func(s site) { s.write("a", "") }, func(s site) { s.remove("a"); s.symlink("x", "a") }, []string{"type /a"}},
	{"directory to file", func(s site) { s.write("a/b/c", "") }, func(s site) { s.remove("a"); s.write("a", "") },
		[]string{"type /a", "removed /a/b", "removed /a/b/c"}},
	{"file to directory", func(s site) { s.write("a", "") }, func(s site) { s.remove("a"); s.write("a/b/c", "") },
		[]string{"type /a", "added /a/b", "added /a/b/c"}},
	{"directory to link to it", func(s site) { s.write("a/b", "") }, func(s site) { s.rename("a", "c"); s.symlink("c", "a") },
		[]string{"type /a", "removed /a/b", "added /c", "added /c/b"}},
	{"file renamed", func(s site) { s.write("a", "") }, func(s site) { s.rename("a", "b") }, []string{"removed /a", "added /b"}},
	{"file moved", func(s site) { s.write("a/f", ""); s.mkdir("b") }, func(s site) { s.rename("a/f", "b/f") }, []string{"removed /a/f", "added /b/f"}},
	{"directory moved deep", func(s site) { s.write("a/b/c/d", ""); s.mkdir("x/y") }, func(s site) { s.rename("a/b", "x/y/b") },
		[]string{"removed /a/b", "removed /a/b/c", "removed /a/b/c/d", "added /x/y/b", "added /x/y/b/c", "added /x/y/b/c/d"}},
	{"directory moved, and a file in it changed", func(s site) { s.write("a/b", "1"); s.write("a/c", "") }, func(s site) { s.rename("a", "z"); s.write("z/b", "2") },
		[]string{"removed /a", "removed /a/b", "removed /a/c", "added /z", "added /z/b", "added /z/c"}},
	{"files exchanged", func(s site) { s.write("a", "1"); s.write("b", "2") },
		func(s site) { s.rename("a", "t"); s.rename("b", "a"); s.rename("t", "b") }, []string{"modified /a", "modified /b"}},
	{"directories exchanged", func(s site) { s.write("a/same", ""); s.write("a/x", ""); s.write("b/same", ""); s.write("b/y/z", "") },
		func(s site) {
			s.check(unix.Renameat2(unix.AT_FDCWD, s.at("a"), unix.AT_FDCWD, s.at("b"), unix.RENAME_EXCHANGE))
		}, []string{"removed /a/x", "added /a/y", "added /a/y/z", "added /b/x", "removed /b/y", "removed /b/y/z"}},
	{"directory rebuilt around the same", func(s site) { s.write("a/b/c", "1") },
		func(s site) { s.rename("a", "t"); s.mkdir("a"); s.rename("t/b", "a/b"); s.remove("t") }, nil},
	{"directory rebuilt, and something deep in it changed", func(s site) { s.write("a/b/c", "1"); s.write("a/b/d", "1") },
		func(s site) {
			s.rename("a", "t")
			s.mkdir("a")
			s.rename("t/b", "a/b")
			s.remove("t")
			s.write("a/b/c", "2")
		}, []string{"modified /a/b/c"}},
	{"hard link added", func(s site) { s.write("a/f", ""); s.mkdir("b") }, func(s site) { s.link("a/f", "b/g") }, []string{"added /b/g"}},
	{"hard link removed", func(s site) { s.write("a", ""); s.link("a", "b") }, func(s site) { s.remove("a") }, []string{"removed /a"}},
	{"content of hard links", func(s site) { s.write("a/f", "1"); s.mkdir("b/c"); s.link("a/f", "b/c/g"); s.link("a/f", "h") }, func(s site) { s.write("h", "2") },
		[]string{"modified /a/f", "modified /b/c/g", "modified /h"}},
	{"content of more hard links than one item can name", func(s site) {
		s.write("d/f", "1")
		for i := range 100 {
			s.link("d/f", "d/"+long(i))
		}
	}, func(s site) { s.chmod("d/f", 0o600) }, func() []string {
		var want []string
		for i := range 100 {
			want = append(want, "modified /d/"+long(i))
		}
		return append(want, "modified /d/f")
	}()},
	{"odd names", func(s site) {
		s.write("a\nb/\xff\xfe", "1")
		s.write("-", "1")
		s.write("...", "1")
		s.write(long(0)+"/"+long(1), "1")
	},
		func(s site) {
			s.write("a\nb/\xff\xfe", "2")
			s.write("-", "2")
			s.write("...", "2")
			s.write(long(0)+"/"+long(1), "2")
		},
		[]string{"modified /-", "modified /...", "modified /" + long(0) + "/" + long(1), "modified /a\nb/\xff\xfe"}},
	{"deeper than directories stay open", func(s site) { s.write(strings.Repeat("d/", 300)+"f", "1"); s.write(strings.Repeat("d/", 100)+"g", "1") },
		func(s site) { s.write(strings.Repeat("d/", 300)+"f", "2"); s.write(strings.Repeat("d/", 100)+"g", "2") },
		[]string{"modified /" + strings.Repeat("d/", 300) + "f", "modified /" + strings.Repeat("d/", 100) + "g"}},
	{"sparse beyond what could be read", func(s site) {
		s.write("a", "1")
		s.check(os.Truncate(s.at("a"), 1<<42))
		s.write("b", "1")
		s.check(os.Truncate(s.at("b"), 1<<42))
	}, func(s site) {
		s.write("a", "1")
		s.check(os.Truncate(s.at("a"), 1<<42))
		s.open("b", func(fd int) error { _, err := unix.Pwrite(fd, []byte{1}, 1<<42-1); return err })
	}, []string{"modified /b"}},
	{"subvolume made inside", nil, func(s site) { s.check(btrfs.Driver{}.Create(s.at("v"))); s.write("v/a", "") }, []string{"added /v"}},
	{"stub of a subvolume removed", func(s site) { s.check(btrfs.Driver{}.Create(s.at("v"))) }, func(s site) { s.remove("v") }, []string{"removed /v"}},
	{"directory in the place of a stub", func(s site) { s.check(btrfs.Driver{}.Create(s.at("v"))) }, func(s site) { s.remove("v"); s.write("v/a", "") }, []string{"added /v/a"}},
	{"two subvolumes of one name", func(s site) { s.check(btrfs.Driver{}.Create(s.at("v"))); s.write("a/b", "1") },
		func(s site) { s.remove("v"); s.check(btrfs.Driver{}.Create(s.at("v"))); s.write("a/b", "2") }, []string{"modified /a/b"}},
	{"forked subvolume inside", func(s site) {
		s.check(btrfs.Driver{}.Create(s.at("nested")))
		s.write("nested/a", "1")
		s.write("nested/b/c", "1")
	},
		func(s site) { s.write("nested/a", "2"); s.write("nested/d", ""); s.write("x", "") },
		[]string{"modified /nested/a", "added /nested/d", "added /x"}},
	{"forked subvolume inside, touched", func(s site) { s.check(btrfs.Driver{}.Create(s.at("nested"))); s.write("nested/a", "1") },
		func(s site) { s.write("nested/a", "1"); s.chmod("nested", 0o700) }, []string{"modified /nested"}},
	{"forked subvolume added", nil, func(s site) { s.check(btrfs.Driver{}.Create(s.at("nested"))); s.write("nested/b/c", "1") },
		[]string{"added /nested", "added /nested/b", "added /nested/b/c"}},
	{"forked subvolume to directory", func(s site) {
		s.check(btrfs.Driver{}.Create(s.at("nested")))
		s.write("nested/a", "1")
		s.write("nested/b", "1")
	},
		func(s site) {
			drop(s.t, s.at("nested"))
			s.write("nested/a", "1")
			s.write("nested/c", "1")
		}, []string{"removed /nested/b", "added /nested/c"}},
	{"forked subvolume replaced by a stranger", func(s site) {
		s.check(btrfs.Driver{}.Create(s.at("nested")))
		s.write("nested/a", "1")
		s.write("nested/b", "1")
	},
		func(s site) {
			drop(s.t, s.at("nested"))
			s.check(btrfs.Driver{}.Create(s.at("nested")))
			s.write("nested/a", "1")
			s.write("nested/b", "2")
		}, []string{"modified /nested/b"}},
}

// backwards is what the same difference is from the other side.
func backwards(words []string) []string {
	var turned []string
	for _, w := range words {
		kind, path, _ := strings.Cut(w, " ")
		switch kind {
		case "added":
			kind = "removed"
		case "removed":
			kind = "added"
		}
		turned = append(turned, kind+" "+path)
	}
	return turned
}

func TestCompareKinds(t *testing.T) {
	f := newField(t, 256)
	for i, c := range kinds {
		t.Run(c.name, func(t *testing.T) {
			f := f.of(t)
			dir := filepath.Join(f.top, fmt.Sprint(i))
			f.check(os.Mkdir(dir, 0o755))
			root := site{t, dir + "/root"}
			f.check(f.driver.Create(root.root))
			if c.before != nil {
				c.before(root)
			}
			f.fork(root.root, dir+"/base", true)
			f.fork(dir+"/base", dir+"/snapshot", false)
			c.after(site{t, dir + "/snapshot"})
			f.fork(dir+"/snapshot", dir+"/after", true)
			f.says(dir+"/base", dir+"/after", c.want)
			f.says(dir+"/after", dir+"/base", backwards(c.want))
		})
	}
}

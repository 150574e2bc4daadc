// What becomes of special files and places.

package handover

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/testbed"
)

// contents lists files with what they hold, and directories.
func contents(t fataler, top string) (files, dirs string) {
	t.Helper()
	var lines, names []string
	must(t, filepath.WalkDir(top, func(file string, e fs.DirEntry, err error) error {
		if err != nil || file == top {
			return err
		}
		rel := strings.TrimPrefix(file, top+"/")
		if e.IsDir() {
			names = append(names, rel)
			return nil
		}
		lines = append(lines, fmt.Sprintf("%q %q\n", rel, read(t, file)))
		return nil
	}))
	slices.Sort(lines)
	return strings.Join(lines, ""), strings.Join(names, " ")
}

func TestNothingLeadsOutOfTheTree(t *testing.T) {
	s := newScene(t, func(live string) {
		write(t, live+"/d/f", "before")
		write(t, live+"/e/f", "before")
		write(t, live+"/f", "before")
	})
	outside := filepath.Join(s.dir, "outside")
	write(t, outside+"/f", "outside")
	s.sandbox(t, func(view string) {
		write(t, view+"/d/f", "ours")
		write(t, view+"/d/new", "ours")
		write(t, view+"/f", "ours")
		must(t, os.RemoveAll(view+"/e"))
		must(t, os.Symlink(outside, view+"/link"))
		must(t, os.Symlink("../outside/f", view+"/e"))
	})
	for _, name := range []string{"d", "f"} {
		must(t, os.RemoveAll(filepath.Join(s.live, name)))
	}
	must(t, os.Symlink("../outside", s.live+"/d"))
	must(t, os.Symlink("../outside/f", s.live+"/f"))
	rows := s.give(t, 0)
	if files, dirs := contents(t, outside); files != "\"f\" \"outside\"\n" || dirs != "" {
		t.Errorf("outside there is now\n%s%s", files, dirs)
	}
	if want := "/var/d kept /var/d.txupd-10 (the live side changed it)\n/var/e replaced\n/var/f kept /var/f.txupd-10 (the live side changed it)\n/var/link created\n"; tell(rows) != want {
		t.Errorf("rows:\n%s", tell(rows))
	}
	if target, err := os.Readlink(s.live + "/e"); err != nil || target != "../outside/f" {
		t.Errorf("the link leads to %q, %v", target, err)
	}
}

func TestEverythingOfAFileIsKept(t *testing.T) {
	s := newScene(t, func(live string) { must(t, os.Mkdir(live+"/acl", 0o755)) })
	acl := []byte{2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 4, 0, 1, 0, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255, 16, 0, 5, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255}
	capability := []byte{0, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} // cap_net_bind_service=p
	then := time.Unix(1_000_000_000, 123_456_789)
	s.sandbox(t, func(view string) {
		write(t, view+"/f", "content")
		must(t, os.Chown(view+"/f", 12, 34))
		must(t, unix.Chmod(view+"/f", 0o4750))
		must(t, unix.Setxattr(view+"/f", "user.x", []byte("1"), 0))
		must(t, unix.Setxattr(view+"/f", "security.capability", capability, 0))
		must(t, os.Chtimes(view+"/f", then, then))
		must(t, os.Link(view+"/f", view+"/g"))
		must(t, os.MkdirAll(view+"/new/deep", 0o700))
		must(t, os.Chtimes(view+"/new/deep", then, then))
		must(t, os.Chtimes(view+"/new", then, then))
		write(t, view+"/acl/plain", "x")
		must(t, unix.Mkfifo(view+"/fifo", 0o640))
		must(t, unix.Mknod(view+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		must(t, os.Symlink("nowhere", view+"/dangling"))
		must(t, os.Lchown(view+"/dangling", 5, 6))
	})
	// What is made in the live directory inherits; what is handed over must not.
	must(t, unix.Setxattr(s.live+"/acl", "system.posix_acl_default", acl, 0))
	s.give(t, 0)

	var f, g unix.Stat_t
	must(t, unix.Stat(s.live+"/f", &f))
	must(t, unix.Stat(s.live+"/g", &g))
	if f.Ino != g.Ino || f.Nlink != 2 {
		t.Errorf("the hard link is lost: inodes %d and %d, %d names", f.Ino, g.Ino, f.Nlink)
	}
	if f.Mode != unix.S_IFREG|0o4750 || f.Uid != 12 || f.Gid != 34 || f.Mtim.Sec != then.Unix() || f.Mtim.Nsec != int64(then.Nanosecond()) {
		t.Errorf("mode %o, owner %d:%d, time %v", f.Mode, f.Uid, f.Gid, f.Mtim)
	}
	extended, err := extendedOf(s.live + "/f")
	must(t, err)
	if len(extended) != 2 || extended["user.x"] != "1" || extended["security.capability"] != string(capability) {
		t.Errorf("attributes %q", extended)
	}
	if extended, err = extendedOf(s.live + "/acl/plain"); err != nil || len(extended) != 0 {
		t.Errorf("the file inherited %q, %v", extended, err)
	}
	for _, dir := range []string{"/new", "/new/deep"} {
		st, err := os.Stat(s.live + dir)
		must(t, err)
		if !st.ModTime().Equal(then) || st.Mode().Perm() != 0o700 {
			t.Errorf("%s: time %v, mode %v", dir, st.ModTime(), st.Mode())
		}
	}
}

func TestContentIsSharedAndHolesStay(t *testing.T) {
	s := newScene(t, nil)
	s.sandbox(t, func(view string) {
		write(t, view+"/large", strings.Repeat("x", 1<<20))
		write(t, view+"/sparse", "x")
		must(t, os.Truncate(view+"/sparse", 10<<30))
	})
	s.give(t, 0)
	if out := testbed.Run(t, "filefrag", "-v", s.live+"/large"); !strings.Contains(out, "shared") {
		t.Errorf("the content was copied:\n%s", out)
	}
	var st unix.Stat_t
	must(t, unix.Stat(s.live+"/sparse", &st))
	if st.Size != 10<<30 || st.Blocks > 16 {
		t.Errorf("the sparse file has %d bytes in %d blocks", st.Size, st.Blocks)
	}
}

func TestSubvolumesInsideStay(t *testing.T) {
	s := newScene(t, func(live string) {
		for _, name := range []string{"/machines", "/gone", "/file", "/chmod"} {
			create(t, live+name)
			write(t, live+name+"/image", "live")
		}
	})
	s.sandbox(t, func(view string) {
		write(t, view+"/machines/new", "ours")
		write(t, view+"/machines/image", "ours")
		must(t, os.RemoveAll(view+"/gone"))
		must(t, os.RemoveAll(view+"/file"))
		write(t, view+"/file", "ours")
		must(t, os.Chmod(view+"/chmod", 0o700))
	})
	rows := s.give(t, 0)
	equal(t, "rows", tell(rows), `/var/chmod kept (it is a subvolume of its own)
/var/file kept /var/file.txupd-10 (it is a subvolume of its own)
/var/gone kept (it is a subvolume of its own)
/var/machines/image kept /var/machines/image.txupd-10 (the live side made its own)
/var/machines/new created
`)
	files, _ := contents(t, s.live)
	equal(t, "files", files, `"chmod/image" "live"
"file.txupd-10" "ours"
"file/image" "live"
"gone/image" "live"
"machines/image" "live"
"machines/image.txupd-10" "ours"
"machines/new" "ours"
`)
}

func TestWhatIsMountedInsideStays(t *testing.T) {
	s := newScene(t, func(live string) {
		write(t, live+"/point/f", "below")
		write(t, live+"/other/f", "below")
		write(t, live+"/idle/f", "below")
	})
	s.sandbox(t, func(view string) {
		write(t, view+"/point/f", "ours")
		must(t, os.RemoveAll(view+"/other"))
		must(t, os.Chtimes(view+"/idle/f", time.Unix(1, 0), time.Unix(1, 0)))
	})
	for _, name := range []string{"/point", "/other", "/idle"} {
		must(t, unix.Mount("tmpfs", s.live+name, "tmpfs", 0, ""))
		defer func() { must(t, unix.Unmount(s.live+name, 0)) }()
	}
	rows := s.give(t, 0)
	equal(t, "rows", tell(rows), "/var/other skipped (something is mounted there)\n/var/point skipped (something is mounted there)\n")
	if names, err := os.ReadDir(s.live + "/point"); err != nil || len(names) > 0 {
		t.Errorf("on the mount there is %v, %v", names, err)
	}
}

func TestSealedFiles(t *testing.T) {
	chattr := func(flag string, files ...string) { testbed.Run(t, append([]string{"chattr", flag}, files...)...) }
	s := newScene(t, func(live string) {
		write(t, live+"/loosened", "before")
		write(t, live+"/fastened", "before")
		write(t, live+"/empty/f", "before")
		write(t, live+"/still/f", "before")
		chattr("+i", live+"/loosened", live+"/still")
	})
	t.Cleanup(func() { testbed.Run(t, "chattr", "-R", "-f", "-i", "-a", s.live) })
	s.sandbox(t, func(view string) {
		// chattr(1) takes no link of /proc on the way.
		set := func(name string, want seal) {
			dir, err := unix.Open(view, unix.O_PATH|unix.O_CLOEXEC, 0)
			must(t, err)
			defer unix.Close(dir)
			must(t, (&hand{}).seal(dir, name, want))
		}
		set("loosened", seal{})
		write(t, view+"/loosened", "ours")
		set("fastened", seal{immutable: true})
		write(t, view+"/new", "ours")
		set("new", seal{immutable: true})
		write(t, view+"/empty/g", "ours")
		set("empty", seal{immutable: true})
		set("still", seal{})
		write(t, view+"/still/g", "ours")
		set("still", seal{immutable: true})
	})
	for range 2 {
		rows := s.give(t, 0)
		equal(t, "rows", tell(rows), `/var/empty replaced
/var/empty/g created
/var/fastened replaced
/var/loosened replaced
/var/new created
/var/still/g kept (its directory cannot be changed (chattr +i or +a))
`)
		for name, want := range map[string]bool{"loosened": false, "fastened": true, "new": true, "empty": true, "empty/g": false, "still": true} {
			var st unix.Statx_t
			must(t, unix.Statx(unix.AT_FDCWD, filepath.Join(s.live, name), 0, unix.STATX_BASIC_STATS, &st))
			if got := st.Attributes&unix.STATX_ATTR_IMMUTABLE != 0; got != want {
				t.Errorf("%s: immutable %v, want %v", name, got, want)
			}
		}
		if got := read(t, s.live+"/loosened"); got != "ours" {
			t.Errorf("it holds %q", got)
		}
	}
}

func TestDirectoryWithoutCopyOnWriteStaysOne(t *testing.T) {
	s := newScene(t, nil)
	s.sandbox(t, func(view string) {
		must(t, os.Mkdir(view+"/db", 0o700))
		dir, err := unix.Open(view, unix.O_PATH|unix.O_CLOEXEC, 0)
		must(t, err)
		defer unix.Close(dir)
		must(t, (&hand{}).setFlags(dir, "db", flagNoCopy, 0))
		write(t, view+"/db/f", strings.Repeat("x", 10_000))
	})
	s.give(t, 0)
	if out := testbed.Run(t, "lsattr", "-d", s.live+"/db", s.live+"/db/f"); strings.Count(out, "-C-") != 2 {
		t.Errorf("flags:\n%s", out)
	}
	if read(t, s.live+"/db/f") != strings.Repeat("x", 10_000) {
		t.Error("the content is another one")
	}
}

func TestManyFilesComeInBatches(t *testing.T) {
	s := newScene(t, nil)
	const files = 3*batch + 7
	saw := s.sandbox(t, func(view string) {
		for i := range files {
			write(t, fmt.Sprintf("%s/d%d/f%d", view, i%5, i), fmt.Sprint(i))
		}
	})
	rows := s.give(t, 0)
	if len(rows) != files+5 {
		t.Errorf("%d rows", len(rows))
	}
	equal(t, "the live tree", dump(t, s.live), saw)
}

func TestWhatChangesMeanwhileIsKept(t *testing.T) {
	s := newScene(t, func(live string) { write(t, live+"/f", "before") })
	s.sandbox(t, func(view string) { write(t, view+"/f", "ours"); write(t, view+"/new", "ours") })
	live := s.live
	for n := 0; ; n++ {
		s.live = filepath.Join(s.dir, fmt.Sprintf("run-%d", n))
		fork(t, live, s.live, false)
		calls, placed := 0, false
		rows, err := give(nowhere, Request{Capture: s.captures[0], Live: s.live}, func() error {
			placed = read(t, s.live+"/f") == "ours" || exists(s.live+"/new")
			if calls == n && !placed {
				write(t, s.live+"/f", "theirs")
				write(t, s.live+"/new", "theirs")
			}
			calls++
			return nil
		})
		must(t, err)
		if n >= calls {
			if n < 10 {
				t.Errorf("only %d changes were interrupted", n)
			}
			return
		}
		if read(t, s.live+"/f") != "theirs" {
			continue // it was in place already
		}
		if want := "/var/f kept /var/f.txupd-10 (the live side changed it)\n/var/new kept /var/new.txupd-10 (the live side made its own)\n"; tell(rows) != want {
			t.Errorf("changed before change %d, the rows are\n%s", n, tell(rows))
		}
		if read(t, s.live+"/f.txupd-10")+read(t, s.live+"/new.txupd-10")+read(t, s.live+"/new") != "oursourstheirs" {
			t.Errorf("changed before change %d, something is lost", n)
		}
	}
}

func TestRefusals(t *testing.T) {
	s := newScene(t, func(live string) { write(t, live+"/f", "before") })
	s.sandbox(t, func(view string) { write(t, view+"/f", "ours") })
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	c := s.captures[0]
	for name, test := range map[string]struct {
		ctx    context.Context
		change func(*Request)
		want   string
	}{
		"no capture":      {t.Context(), func(r *Request) { r.Upper = "/no/such" }, "cannot open /no/such: no such file or directory"},
		"no live tree":    {t.Context(), func(r *Request) { r.Live = "/no/such" }, "cannot open /no/such: no such file or directory"},
		"nothing before":  {t.Context(), func(r *Request) { r.Before = nil }, "nothing tells what was there before"},
		"no manifest":     {t.Context(), func(r *Request) { r.Manifest = "/no/such" }, "/no/such"},
		"live is a link":  {t.Context(), func(r *Request) { r.Live = s.dir + "/link" }, "too many levels of symbolic links"},
		"cancelled":       {cancelled, func(*Request) {}, context.Canceled.Error()},
		"no proc":         {t.Context(), func(r *Request) { r.Proc = "/no/proc" }, "cannot find out which files are in use"},
		"sealed live":     {t.Context(), func(r *Request) { r.Live = c.Before[0] }, "/var/f: cannot create"},
		"not a directory": {t.Context(), func(r *Request) { r.Upper = c.Upper + "/f" }, "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			_ = os.Symlink(s.live, s.dir+"/link")
			r := Request{Capture: c, Live: s.live}
			test.change(&r)
			_, err := Give(test.ctx, r)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "cannot hand over what transaction 10 captured of /var: ") {
				t.Errorf("the error is %v", err)
			}
			if got := read(t, s.live+"/f"); got != "before" {
				t.Errorf("the live file is %q", got)
			}
		})
	}
}

// TestADirectoryMadeAnewHasNothingOfTheOldOne, however deep: overlayfs says that
// of its top alone.
func TestADirectoryMadeAnewHasNothingOfTheOldOne(t *testing.T) {
	s := newScene(t, func(live string) {
		write(t, live+"/d/sub/deep/old", "before")
		write(t, live+"/d/sub/same", "before")
	})
	s.sandbox(t, func(view string) {
		must(t, os.RemoveAll(view+"/d"))
		write(t, view+"/d/sub/deep/new", "ours")
		write(t, view+"/d/sub/same", "ours")
	})
	s.give(t, 0)
	files, dirs := contents(t, s.live)
	if want := "\"d/sub/deep/new\" \"ours\"\n\"d/sub/same\" \"ours\"\n"; files != want || dirs != "d d/sub d/sub/deep" {
		t.Errorf("the live tree has %s and %s, want %s", files, dirs, want)
	}
}

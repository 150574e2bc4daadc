// What comparisons promise beyond the kinds of changes: relatives of every
// sort, what cannot be compared, and that reading leaves no trace.

package btrfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/snapshot"
)

// drop deletes one subvolume.
func drop(t *testing.T, path string) {
	t.Helper()
	var d btrfs.Driver
	s, err := d.Info(path)
	if err == nil && s.ReadOnly {
		err = d.SetReadOnly(path, false)
	}
	if err == nil {
		err = d.Delete(path, s.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// said puts changes into words.
func said(changes []snapshot.Change) []string {
	var words []string
	for _, c := range changes {
		words = append(words, string(c.Kind)+" "+c.Path)
	}
	return words
}

// of is the same field in a subtest.
func (f *field) of(t *testing.T) *field {
	sub := *f
	sub.t = t
	return &sub
}

// says checks that search and walk say what is wanted.
func (f *field) says(before, after string, want []string) {
	f.t.Helper()
	if diff := cmp.Diff(want, said(f.compare(before, after))); diff != "" {
		f.t.Errorf("changes, wanted (-) and found (+):\n%s", diff)
	}
}

func TestCompareSiblingsOfOneParent(t *testing.T) {
	f := newField(t, 256)
	root := site{t, f.top + "/root"}
	f.check(f.driver.Create(root.root))
	root.write("a", "1")
	root.write("b", "1")
	f.fork(root.root, f.top+"/one", false)
	f.fork(root.root, f.top+"/two", false)
	// The same inode numbers in the same transaction, for different files.
	site{t, f.top + "/one"}.write("new1", "x")
	site{t, f.top + "/two"}.write("new2", "y")
	site{t, f.top + "/one"}.write("same", "x")
	site{t, f.top + "/two"}.write("same", "y")
	site{t, f.top + "/one"}.write("a", "2")
	site{t, f.top + "/two"}.write("b", "2")
	f.fork(f.top+"/one", f.top+"/image1", true)
	f.fork(f.top+"/two", f.top+"/image2", true)
	want := []string{"modified /a", "modified /b", "removed /new1", "added /new2", "modified /same"}
	f.says(f.top+"/image1", f.top+"/image2", want)
	// They stay related through a parent that is gone.
	drop(t, root.root)
	f.says(f.top+"/image1", f.top+"/image2", want)
	if f.related != f.compared {
		t.Errorf("%d of %d comparisons were of relatives", f.related, f.compared)
	}
}

// Of two forks that the kernel makes in one transaction, the one may put its
// entry into the tree that the other is an image of after that image was made:
// a change of the image's own generation, which it lacks nevertheless.
func TestCompareForksMadeInOneTransaction(t *testing.T) {
	f := newField(t, 256)
	f.check(f.driver.Create(f.top + "/root"))
	f.check(f.driver.Create(f.top + "/other"))
	const rounds, forks = 20, 8
	for j := range forks {
		f.check(os.Mkdir(fmt.Sprintf("%s/root/%d", f.top, j), 0o755))
	}
	lacking := 0
	for i := range rounds {
		image := fmt.Sprintf("%s/image%d", f.top, i)
		done := make(chan error)
		for j := range forks {
			inside := fmt.Sprintf("%s/root/%d/%d", f.top, j, i)
			// The directory changes in that transaction before, too.
			f.check(os.Chtimes(filepath.Dir(inside), time.Time{}, time.Unix(int64(i), 0)))
			go func() { done <- f.driver.Fork(f.top+"/other", inside, true) }()
			if j == forks/2 {
				go func() { done <- f.driver.Fork(f.top+"/root", image, true) }()
			}
		}
		var errs []error
		for range forks + 1 {
			errs = append(errs, <-done)
		}
		f.check(errors.Join(errs...))
		later := fmt.Sprintf("%s/later%d", f.top, i)
		f.check(f.driver.Fork(f.top+"/root", later, true))
		lacking += len(f.compare(image, later))
	}
	t.Logf("%d images lacked %d entries", rounds, lacking)
}

func TestCompareWhenInodeNumbersAreUsedAgain(t *testing.T) {
	f := newField(t, 256)
	root := site{t, f.top + "/root"}
	f.check(f.driver.Create(root.root))
	root.mkdir("d")
	root.write("d/last", "1")
	f.fork(root.root, f.top+"/base", true)
	var was, is unix.Stat_t
	f.check(unix.Stat(root.at("d/last"), &was))
	root.remove("d/last")
	f.remount()
	root.write("other", "1")
	f.check(unix.Stat(root.at("other"), &is))
	if is.Ino != was.Ino {
		t.Fatalf("inode %d was expected to be used again, the new file has %d", was.Ino, is.Ino)
	}
	f.fork(root.root, f.top+"/after", true)
	f.says(f.top+"/base", f.top+"/after", []string{"removed /d/last", "added /other"})
}

func TestCompareAfterBalanceFindsTheOneChange(t *testing.T) {
	f := newField(t, 256)
	root := site{t, f.top + "/root"}
	f.check(f.driver.Create(root.root))
	for i := range 500 {
		root.write(fmt.Sprintf("d%d/f%d", i%20, i), "1")
	}
	f.fork(root.root, f.top+"/base", true)
	root.chmod("d7/f27", 0o600)
	testbed.Run(t, "btrfs", "balance", "start", "-m", f.top)
	f.fork(root.root, f.top+"/after", true)
	f.says(f.top+"/base", f.top+"/after", []string{"modified /d7/f27"})
}

func TestCompareIgnoresFilesDeletedButOpenAtTheFork(t *testing.T) {
	f := newField(t, 256)
	root := site{t, f.top + "/root"}
	f.check(f.driver.Create(root.root))
	root.write("a", "1")
	open, err := os.OpenFile(root.at("a"), os.O_RDWR, 0)
	f.check(err)
	defer open.Close()
	f.fork(root.root, f.top+"/base", true)
	root.remove("a")
	f.fork(root.root, f.top+"/open", true)
	_, err = open.WriteString("longer")
	f.check(err)
	f.fork(root.root, f.top+"/written", true)
	f.says(f.top+"/base", f.top+"/open", []string{"removed /a"})
	f.says(f.top+"/open", f.top+"/written", nil)
}

// The source of a fork has the subvolume itself where the fork has a stub.
func TestCompareSourceOfAForkWithItsFork(t *testing.T) {
	f := newField(t, 256)
	root := site{t, f.top + "/root"}
	f.check(f.driver.Create(root.root))
	root.mkdir("deep/er")
	f.check(f.driver.Create(root.at("deep/er/v")))
	root.write("deep/er/v/a", "1")
	f.check(f.driver.Fork(root.root, f.top+"/fork", true))
	f.check(f.driver.SetReadOnly(root.root, true))
	f.says(root.root, f.top+"/fork", []string{"removed /deep/er/v/a"})
	f.says(f.top+"/fork", root.root, []string{"added /deep/er/v/a"})
}

func TestCompareStrangersAndWritableOnesByWalk(t *testing.T) {
	f := newField(t, 256)
	one, two := site{t, f.top + "/one"}, site{t, f.top + "/two"}
	for _, s := range []site{one, two} {
		f.check(f.driver.Create(s.root))
		s.write("a", "1")
	}
	two.write("b", "1")
	f.says(one.root, two.root, []string{"added /b"})
	f.fork(two.root, f.top+"/image", true)
	two.chmod("b", 0o600) // not committed, so that a search would miss it
	f.says(f.top+"/image", two.root, []string{"modified /b"})
}

func TestCompareSaysWhatItCannotCompare(t *testing.T) {
	f := newField(t, 256)
	f.check(f.driver.Create(f.top + "/one"))
	f.check(os.Mkdir(f.top+"/one/dir", 0o755))
	f.check(f.driver.Create(f.top + "/two"))
	good, other := f.tree(f.top+"/one"), f.tree(f.top+"/two")
	gone := good
	gone.Subvolume.UUID[0]++
	plain := good
	plain.Dir += "/dir"
	swapped := snapshot.Tree{Dir: other.Dir, Subvolume: good.Subvolume}
	missing := snapshot.Tree{Dir: f.top + "/none", Subvolume: good.Subvolume}
	for _, c := range []struct {
		name string
		tree snapshot.Tree
		want error
	}{
		{"no subvolume", plain, snapshot.ErrNotSubvolume},
		{"another subvolume", swapped, snapshot.ErrNotSubvolume},
		{"another uuid", gone, snapshot.ErrNoSubvolume},
		{"nothing there", missing, os.ErrNotExist},
	} {
		_, err := snapshot.Compare(context.Background(), f.search, good, c.tree)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := snapshot.Walk(ctx, f.top, f.top); !errors.Is(err, context.Canceled) {
		t.Errorf("a walk that is cancelled: got %v", err)
	}
}

// Both ways must name the file that cannot be read.
func TestCompareNamesTheFileOfAnInputError(t *testing.T) {
	f := newField(t, 256)
	root := site{t, f.top + "/root"}
	f.check(f.driver.Create(root.root))
	pattern := bytes.Repeat([]byte("damaged block "), 1000)
	root.write("dir/file", string(pattern))
	root.write("dir/other", string(pattern[1:]))
	f.fork(root.root, f.top+"/base", true)
	root.write("dir/file", string(pattern))
	f.fork(root.root, f.top+"/after", true)
	f.check(unix.Unmount(f.top, 0))
	damage(t, f.device.Name(), pattern)
	testbed.Mount(t, f.device.Name(), f.top, "subvolid=5")

	_, walked := snapshot.Walk(context.Background(), f.top+"/base", f.top+"/after")
	_, searched := snapshot.Compare(context.Background(), f.search, f.tree(f.top+"/base"), f.tree(f.top+"/after"))
	for _, err := range []error{walked, searched} {
		if !errors.Is(err, unix.EIO) || !strings.Contains(err.Error(), "/dir/file") {
			t.Errorf("got %v, want an input/output error that names the file", err)
		}
	}
}

// damage changes every copy of pattern on the device.
func damage(t *testing.T, device string, pattern []byte) {
	t.Helper()
	file, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	found := 0
	chunk := make([]byte, 4<<20)
	for at := int64(0); ; at += int64(len(chunk)) {
		n, err := file.ReadAt(chunk, at)
		// Data begins at a block of 4 KiB.
		for block := 0; block < n; block += 4096 {
			if bytes.HasPrefix(chunk[block:n], pattern[:4000]) {
				found++
				if _, err := file.WriteAt([]byte("D"), at+int64(block)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err != nil {
			break
		}
	}
	if found == 0 {
		t.Fatalf("the file was not found on %s", device)
	}
	if err := file.Sync(); err != nil {
		t.Fatal(err)
	}
}

// Strict mounts write down every access; a comparison is none.
func TestCompareLeavesAccessTimes(t *testing.T) {
	f := newField(t, 256)
	root := site{t, f.top + "/root"}
	f.check(f.driver.Create(root.root))
	root.write("d/a", "1")
	root.symlink("a", "d/l")
	f.check(f.driver.Fork(root.root, f.top+"/copy", false))
	root.write("d/a", "2")
	strict := t.TempDir()
	f.check(unix.Mount(f.device.Name(), strict, "btrfs", unix.MS_STRICTATIME, "subvolid=5"))
	defer unix.Unmount(strict, unix.MNT_DETACH)

	paths := []string{"root", "root/d", "root/d/a", "root/d/l"}
	times := func() (list []unix.Timespec) {
		for _, path := range paths {
			var st unix.Stat_t
			f.check(unix.Lstat(filepath.Join(strict, path), &st))
			list = append(list, st.Atim)
		}
		return list
	}
	for _, path := range paths {
		old := []unix.Timespec{{Sec: 1}, {Sec: 1}}
		f.check(unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(strict, path), old, unix.AT_SYMLINK_NOFOLLOW))
	}
	was := times()
	changes, err := snapshot.Walk(context.Background(), strict+"/root", strict+"/copy")
	f.check(err)
	if diff := cmp.Diff([]string{"modified /d/a"}, said(changes)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(was, times()); diff != "" {
		t.Errorf("access times before (-) and after (+) a walk:\n%s", diff)
	}
	if _, err := os.Readlink(strict + "/root/d/l"); err != nil {
		t.Fatal(err)
	}
	if cmp.Equal(was, times()) {
		t.Error("this mount does not write down accesses, so the test shows nothing")
	}
}

// What is mounted inside belongs to somebody else.
func TestWalkDoesNotSeeWhatIsMountedInside(t *testing.T) {
	f := newField(t, 256)
	one, two := site{t, f.top + "/one"}, site{t, f.top + "/two"}
	for _, s := range []site{one, two} {
		f.check(f.driver.Create(s.root))
		s.write("mnt/below", "1")
	}
	f.check(unix.Mount("none", two.at("mnt"), "tmpfs", 0, ""))
	defer unix.Unmount(two.at("mnt"), unix.MNT_DETACH)
	two.write("mnt/above", "1")
	changes, err := snapshot.Walk(context.Background(), one.root, two.root)
	f.check(err)
	if len(changes) > 0 {
		t.Errorf("got %q, want nothing", said(changes))
	}
}

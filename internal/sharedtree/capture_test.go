package sharedtree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/snapshot"
)

// place is a file system with a live subvolume, and where snapshots' directories are.
type place struct{ top, live string }

func newPlace(t testing.TB) place {
	t.Helper()
	p := place{top: testbed.Loop(t, 512)}
	p.live = filepath.Join(p.top, "live")
	testbed.Run(t, "btrfs", "-q", "subvolume", "create", p.live)
	return p
}

// dirOf is the directory of a snapshot.
func (p place) dirOf(n snapshot.Number) string {
	return filepath.Join(p.top, "snapshots", strconv.FormatUint(uint64(n), 10))
}

func (p place) snapshot(t testing.TB, n snapshot.Number) string {
	t.Helper()
	must(t, os.MkdirAll(p.dirOf(n), 0o755))
	return p.dirOf(n)
}

func (p place) tree() Tree {
	return Tree{Path: "/var", Dir: p.live, Type: "btrfs", UUID: "some", Subvolume: true}
}

func attribute(t testing.TB, file, name string) string {
	t.Helper()
	value := make([]byte, 100)
	n, err := unix.Getxattr(file, name, value)
	must(t, err)
	return string(value[:n])
}

func TestPrepare(t *testing.T) {
	p := newPlace(t)
	must(t, os.Chown(p.live, 3, 4))
	must(t, unix.Chmod(p.live, 0o2751))
	must(t, unix.Setxattr(p.live, "user.x", []byte("1"), 0))
	write(t, p.live+"/f", "before")
	c, err := Prepare(btrfs.Driver{}, p.snapshot(t, 5), p.tree(), nil, p.dirOf)
	must(t, err)
	write(t, p.live+"/f", "later")

	lower := c.Lower(p.dirOf, p.live)
	if diff := cmp.Diff([]string{p.dirOf(5) + "/shared/var"}, lower); diff != "" {
		t.Fatalf("layers (- want, + got):\n%s", diff)
	}
	if got := read(t, lower[0]+"/f"); got != "before" {
		t.Errorf("below lies %q", got)
	}
	if err := os.WriteFile(lower[0]+"/f", nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing to what lies below says %v", err)
	}
	for _, dir := range []string{p.dirOf(5) + "/capture/var", lower[0]} {
		if _, err := (btrfs.Driver{}).Info(dir); err != nil {
			t.Error(err)
		}
	}
	var st unix.Stat_t
	must(t, unix.Stat(c.Upper(), &st))
	if st.Mode&0o7777 != 0o2751 || st.Uid != 3 || st.Gid != 4 || attribute(t, c.Upper(), "user.x") != "1" {
		t.Errorf("the upper directory has mode %o and owner %d:%d", st.Mode, st.Uid, st.Gid)
	}
	if empty, err := c.Empty(); err != nil || !empty {
		t.Errorf("empty: %v, %v", empty, err)
	}
	write(t, c.Upper()+"/f", "ours")
	if empty, err := c.Empty(); err != nil || empty {
		t.Errorf("empty: %v, %v", empty, err)
	}

	loaded, err := Load(p.dirOf(5))
	must(t, err)
	if diff := cmp.Diff([]Capture{c}, loaded); diff != "" {
		t.Errorf("loaded (- want, + got):\n%s", diff)
	}
	// Snapshots are prepared in another directory than the one in which they are in the end.
	must(t, os.Rename(p.dirOf(5), p.dirOf(6)))
	loaded, err = Load(p.dirOf(6))
	must(t, err)
	if got := loaded[0].Upper(); got != p.dirOf(6)+"/capture/var/upper" {
		t.Errorf("after the move it is at %s", got)
	}
	for range 2 {
		must(t, loaded[0].Remove(btrfs.Driver{}))
	}
	for _, dir := range []string{"/capture", "/shared"} {
		if left, err := os.ReadDir(p.dirOf(6) + dir); err != nil || len(left) > 0 {
			t.Errorf("left in %s: %v, %v", dir, left, err)
		}
	}
	if loaded, err := Load(p.dirOf(6)); err != nil || len(loaded) > 0 {
		t.Errorf("loaded %v, %v", loaded, err)
	}
	if loaded, err := Load(p.dirOf(7)); err != nil || len(loaded) > 0 {
		t.Errorf("loaded from nowhere %v, %v", loaded, err)
	}
}

func TestPrepareStacked(t *testing.T) {
	p := newPlace(t)
	first, err := Prepare(btrfs.Driver{}, p.snapshot(t, 5), p.tree(), nil, p.dirOf)
	must(t, err)
	must(t, os.Chmod(first.Upper(), 0o700)) // the transaction changed the tree's own directory
	p.snapshot(t, 6)                        // captured nothing
	c, err := Prepare(btrfs.Driver{}, p.snapshot(t, 7), p.tree(), []snapshot.Number{6, 5}, p.dirOf)
	must(t, err)
	want := []string{p.dirOf(5) + "/capture/var/upper", p.dirOf(7) + "/shared/var"}
	if diff := cmp.Diff(want, c.Lower(p.dirOf, p.live)); diff != "" {
		t.Errorf("layers (- want, + got):\n%s", diff)
	}
	if st, err := os.Stat(c.Upper()); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the upper directory is %v, %v", st, err)
	}
	loaded, err := Load(p.dirOf(7))
	must(t, err)
	if diff := cmp.Diff([]Capture{c}, loaded); diff != "" {
		t.Errorf("loaded (- want, + got):\n%s", diff)
	}
}

func TestPrepareWhatCannotBeForked(t *testing.T) {
	p := newPlace(t)
	tree := p.tree()
	tree.Subvolume, tree.Path = false, "/odd name"
	c, err := Prepare(btrfs.Driver{}, p.snapshot(t, 5), tree, nil, p.dirOf)
	must(t, err)
	if diff := cmp.Diff([]string{p.live}, c.Lower(p.dirOf, p.live)); diff != "" || c.Forked {
		t.Errorf("layers (- want, + got):\n%s", diff)
	}
	if want := p.dirOf(5) + "/capture/odd%20name/before"; c.Manifest() != want {
		t.Errorf("the note belongs to %s", c.Manifest())
	}
}

// swapping is a driver for a tree with a swap file in it.
type swapping struct{ btrfs.Driver }

func (swapping) Fork(string, string, bool) error { return snapshot.ErrSwapFile }

func TestTreeWithASwapFileIsShownAsItIs(t *testing.T) {
	p := newPlace(t)
	c, err := Prepare(swapping{}, p.snapshot(t, 5), p.tree(), nil, p.dirOf)
	must(t, err)
	if diff := cmp.Diff([]string{p.live}, c.Lower(p.dirOf, p.live)); diff != "" || c.Forked {
		t.Errorf("layers (- want, + got):\n%s", diff)
	}
}

// failing is a driver whose forks fail.
type failing struct{ btrfs.Driver }

var errNoFork = errors.New("no fork today")

func (failing) Fork(string, string, bool) error { return errNoFork }

func TestPrepareLeavesNothingWhenItFails(t *testing.T) {
	p := newPlace(t)
	_, err := Prepare(failing{}, p.snapshot(t, 5), p.tree(), nil, p.dirOf)
	if !errors.Is(err, errNoFork) || !strings.Contains(err.Error(), "cannot prepare the shared tree /var") {
		t.Errorf("the error is %v", err)
	}
	for _, dir := range []string{"/capture", "/shared"} {
		if left, err := os.ReadDir(p.dirOf(5) + dir); err != nil || len(left) > 0 {
			t.Errorf("left in %s: %v, %v", dir, left, err)
		}
	}
	tree := p.tree()
	tree.ReadOnly = true
	if _, err := Prepare(btrfs.Driver{}, p.dirOf(5), tree, nil, p.dirOf); err == nil {
		t.Error("a read-only tree was prepared for writing")
	}
}

func TestSealedCaptureIsDurable(t *testing.T) {
	p := newPlace(t)
	c, err := Prepare(btrfs.Driver{}, p.snapshot(t, 5), p.tree(), nil, p.dirOf)
	must(t, err)
	write(t, c.Upper()+"/f", strings.Repeat("ours", 10_000))
	must(t, c.Flush(btrfs.Driver{}))
	after := testbed.Cut(t, p.top)
	if got := read(t, after+strings.TrimPrefix(c.Upper(), p.top)+"/f"); got != strings.Repeat("ours", 10_000) {
		t.Errorf("after a power cut it holds %d bytes", len(got))
	}
	write(t, c.Upper()+"/g", strings.Repeat("more", 10_000))
	for range 2 {
		must(t, c.Seal(btrfs.Driver{}))
	}
	after = testbed.Cut(t, p.top)
	if got := read(t, after+strings.TrimPrefix(c.Upper(), p.top)+"/g"); got != strings.Repeat("more", 10_000) {
		t.Errorf("after a power cut it holds %d bytes", len(got))
	}
	if err := os.WriteFile(c.Upper()+"/f", nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing to a sealed capture says %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(filepath.Dir(c.Upper()))); err != nil || len(left) != 1 {
		t.Errorf("beside it there is %v, %v", left, err)
	}
	must(t, c.Remove(btrfs.Driver{}))
}

func TestDamagedDescriptionIsNamed(t *testing.T) {
	p := newPlace(t)
	_, err := Prepare(btrfs.Driver{}, p.snapshot(t, 5), p.tree(), nil, p.dirOf)
	must(t, err)
	file := p.dirOf(5) + "/capture/var/tree.json"
	for _, text := range []string{"", "{", `{"tree":"/etc"}`} {
		write(t, file, text)
		if _, err := Load(p.dirOf(5)); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: %v", text, err)
		}
	}
	must(t, os.Remove(file))
	if _, err := Load(p.dirOf(5)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without it: %v", err)
	}
}

func TestCaptureFindsItsTree(t *testing.T) {
	c := Capture{Tree: "/srv", Type: "ext4", UUID: "one"}
	there := Tree{Path: "/srv", Dir: "/srv", Type: "ext4", UUID: "one"}
	change := func(f func(*Tree)) Tree {
		tree := there
		f(&tree)
		return tree
	}
	for name, test := range map[string]struct {
		tree Tree
		want string // part of the error
	}{
		"the same":            {there, ""},
		"no uuid known":       {change(func(t *Tree) { t.UUID = "" }), ""},
		"another file system": {change(func(t *Tree) { t.UUID = "two" }), "another file system"},
		"another type":        {change(func(t *Tree) { t.Type = "xfs" }), "another file system"},
		"not mounted":         {change(func(t *Tree) { t.Path = "/var" }), "nothing is mounted at /srv"},
		"a second mount":      {change(func(t *Tree) { t.Bind = "/var/srv" }), "/srv shows /var/srv"},
		"read-only":           {change(func(t *Tree) { t.ReadOnly = true }), "read-only"},
	} {
		tree, err := c.At([]Tree{{Path: "/other"}, test.tree})
		if test.want == "" {
			if err != nil || tree != test.tree {
				t.Errorf("%s: %v, %v", name, tree, err)
			}
		} else if !errors.Is(err, ErrElsewhere) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestClockIsTrustedOnlyWhileItRuns(t *testing.T) {
	now, err := Now()
	must(t, err)
	begun := Moment{Wall: now.Wall.Add(-time.Hour), Up: now.Up - time.Hour, Boot: now.Boot}
	if got := begun.Trusted(now); !got.Equal(begun.Wall) {
		t.Errorf("an hour later it says %v", got)
	}
	for name, m := range map[string]Moment{
		"set back":  {Wall: begun.Wall.Add(time.Minute), Up: begun.Up, Boot: begun.Boot},
		"set ahead": {Wall: begun.Wall.Add(-time.Minute), Up: begun.Up, Boot: begun.Boot},
		"rebooted":  {Wall: begun.Wall, Up: begun.Up, Boot: "another"},
	} {
		if got := m.Trusted(now); !got.IsZero() {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestTidyRemovesWhatACrashLeft(t *testing.T) {
	p := newPlace(t)
	dir := p.snapshot(t, 1)
	d := btrfs.Driver{}
	whole, err := Prepare(d, dir, p.tree(), nil, p.dirOf)
	must(t, err)
	write(t, whole.Upper()+"/f", "written")
	must(t, d.Fork(whole.subvolume(), whole.subvolume()+flushing, true))
	half := Capture{Dir: dir, Tree: "/half"}
	must(t, d.Create(half.subvolume()))
	must(t, d.Fork(p.live, half.Fork(), true))
	lost := Capture{Dir: dir, Tree: "/lost"} // by a power cut: nothing was written to it yet
	must(t, d.Create(lost.subvolume()))
	must(t, os.Mkdir(lost.Upper(), 0o700))
	write(t, filepath.Join(lost.subvolume(), about), "")
	kept := Kept{Dir: dir, Tree: p.tree().Path}
	_, err = kept.ForkBefore(d, p.tree())
	must(t, err)
	must(t, kept.ForkAfter(d, p.tree()))
	for range 2 {
		must(t, Tidy(d, dir))
		list, err := Load(dir)
		must(t, err)
		if len(list) != 1 || list[0].Tree != p.tree().Path || read(t, list[0].Upper()+"/f") != "written" {
			t.Errorf("there are %+v", list)
		}
		for _, path := range []string{half.subvolume(), half.Fork(), lost.subvolume(), whole.subvolume() + flushing} {
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is left: %v", path, err)
			}
		}
		for _, path := range []string{whole.Fork(), kept.Before(), kept.After()} {
			if _, err := os.Lstat(path); err != nil {
				t.Error(err)
			}
		}
	}
	must(t, RemoveKept(d, dir))
	must(t, whole.Remove(d))
	RemoveDirectories(dir)
	if Any(dir) {
		t.Error("something is left")
	}
}

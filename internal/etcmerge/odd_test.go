package etcmerge

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/testbed"
)

// What is rare: depth, length, size, names of bytes, other file systems.

func TestTimesOfFilesAreKept(t *testing.T) {
	later := file("b")
	later.mtime = sameSecond + 77
	link := object{kind: "link", owner: "0:0", target: "x", mtime: sameSecond + 99}
	trees, at := threeTrees(t, t.TempDir(), testTree{"c": file("a")}, testTree{"c": file("a")}, testTree{"c": later, "d/l": link})
	if _, err := Merge(t.Context(), trees, Options{Number: 7}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int64{"c": later.mtime, "d/l": link.mtime, "d": sameSecond} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(at["ours"], name), &st); err != nil || st.Mtim.Sec != want {
			t.Errorf("%s is of %d, want %d (%v)", name, st.Mtim.Sec, want, err)
		}
	}
}

func TestVeryDeepTreesAreMerged(t *testing.T) {
	testbed.NeedRoot(t)
	dir := t.TempDir()
	for _, name := range []string{"ancestor", "ours", "theirs"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Deeper than a path can be long.
	name := strings.Repeat("n", 200)
	var deep []string
	at, err := unix.Open(filepath.Join(dir, "theirs"), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	for range 60 {
		if err == nil {
			err = unix.Mkdirat(at, name, 0o755)
		}
		var next int
		if err == nil {
			next, err = unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		}
		unix.Close(at)
		at = next
		deep = append(deep, name)
	}
	if err == nil {
		err = unix.Symlinkat("target", at, "end")
	}
	unix.Close(at)
	if err != nil {
		t.Fatal(err)
	}
	trees := openTrees(t, filepath.Join(dir, "ancestor"), filepath.Join(dir, "ours"), filepath.Join(dir, "theirs"))
	if _, err := Merge(t.Context(), trees, Options{Number: 7}); err != nil {
		t.Fatal(err)
	}
	v, err := viewOf(trees.Ours)
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	last, err := v.openDir(strings.Join(deep, "/"))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(last)
	if target, err := readlink(last, "end"); err != nil || target != "target" {
		t.Errorf("at the end is %q, %v", target, err)
	}
	// And removed again.
	if _, err := Merge(t.Context(), Trees{trees.Ours, trees.Ours, trees.Ancestor}, Options{Number: 7}); err != nil {
		t.Fatal(err)
	}
	if left := len(readTree(t, filepath.Join(dir, "ours"))); left != 1 {
		t.Errorf("%d paths are left", left)
	}
}

func TestNamesAreBytes(t *testing.T) {
	name := "a\nb\xff\xfe"
	trees, at := threeTrees(t, t.TempDir(), testTree{name: file("a")}, testTree{name: file("b")}, testTree{name: file("c")})
	plan, err := Merge(t.Context(), trees, Options{Number: 7})
	if err != nil {
		t.Fatal(err)
	}
	compareTrees(t, readTree(t, at["ours"]), testTree{".": {kind: "dir", mode: 0o755, owner: "0:0"}, name: file("c"), name + ".txupd-7": file("b")}.complete())
	if plan.Conflicts()[0].Path != name {
		t.Errorf("the row says %q", plan.Conflicts()[0].Path)
	}
}

func TestLongestNameIsKeptAside(t *testing.T) {
	name := strings.Repeat("x", maxName)
	trees, at := threeTrees(t, t.TempDir(), testTree{name: file("a")}, testTree{name: file("b")}, testTree{name: file("c")})
	plan, err := Merge(t.Context(), trees, Options{Number: 7})
	if err != nil {
		t.Fatal(err)
	}
	if got := readTree(t, at["ours"])[plan.Conflicts()[0].Aside].content; got != "b" {
		t.Errorf("what was kept holds %q", got)
	}
}

func TestLargeFilesAreComparedAndCopied(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 40<<10)
	changed := large[:500<<10] + "X" + large[500<<10+1:]
	trees, at := threeTrees(t, t.TempDir(), testTree{"c": file(large), "d": file(large)}, testTree{"c": file(large), "d": file(large)}, testTree{"c": file(changed), "d": file(large)})
	plan, err := Merge(t.Context(), trees, Options{Number: 7})
	if err != nil {
		t.Fatal(err)
	}
	if got := said(plan.Decisions); got != "theirs c content" {
		t.Errorf("decisions: %s", got)
	}
	if readTree(t, at["ours"])["c"].content != changed {
		t.Error("it was copied wrongly")
	}
}

func TestDecisionsAsJSON(t *testing.T) {
	trees, _ := threeTrees(t, t.TempDir(), testTree{"c": file("a")}, testTree{"c": file("b")}, testTree{"c": file("c")})
	plan, err := New(t.Context(), trees, Options{Number: 7})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(plan.Decisions)
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"path":"c","rule":"lines","decision":"conflict","what":["content"],"aside":"c.txupd-7"}]`
	if string(data) != want {
		t.Errorf("%s\nwant %s", data, want)
	}
}

func TestSubvolumesInsideAreNotMerged(t *testing.T) {
	top := testbed.Loop(t, 256)
	trees, at := threeTrees(t, top, testTree{"c": file("a")}, testTree{"c": file("a")}, testTree{"c": file("b")})
	testbed.Run(t, "btrfs", "subvolume", "create", filepath.Join(at["theirs"], "nested"))
	plan, err := Merge(t.Context(), trees, Options{Number: 7})
	if err != nil {
		t.Fatal(err)
	}
	if got := said(plan.Decisions); got != "theirs c content\nskipped nested type" {
		t.Errorf("decisions: %s", got)
	}
	testbed.Run(t, "btrfs", "subvolume", "create", filepath.Join(at["ours"], "nested"))
	if _, err := New(t.Context(), trees, Options{Number: 7}); err == nil || !strings.Contains(err.Error(), "ours/nested") {
		t.Errorf("a subvolume in the target: %v", err)
	}
}

func TestWhatIsMountedIsNotSeen(t *testing.T) {
	dir := t.TempDir()
	trees, at := threeTrees(t, dir, testTree{"resolv.local": file("a"), "d/x": file("x")}, testTree{"resolv.local": file("a"), "d/x": file("x")},
		testTree{"resolv.local": file("b"), "d/x": file("x")})
	bound := filepath.Join(dir, "bound")
	if err := os.WriteFile(bound, []byte("of a container"), 0o644); err != nil {
		t.Fatal(err)
	}
	for target, source := range map[string]string{"resolv.local": bound, "d": dir} {
		full := filepath.Join(at["theirs"], target)
		if err := unix.Mount(source, full, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(full, unix.MNT_DETACH) })
	}
	if _, err := Merge(t.Context(), trees, Options{Number: 7}); err != nil {
		t.Fatal(err)
	}
	result := readTree(t, at["ours"])
	if result["resolv.local"].content != "b" || result["d/x"].content != "x" {
		t.Errorf("the result is of what was mounted: %v", result)
	}
}

func TestFullTargetIsAsItWas(t *testing.T) {
	top := testbed.Loop(t, 128)
	trees, at := threeTrees(t, top, testTree{"c": file("a")}, testTree{"c": file("a")}, testTree{"c": file("b"), "d/e": file("e")})
	// Another file system, with more than there is room for.
	theirs := filepath.Join(t.TempDir(), "theirs")
	if err := os.Mkdir(theirs, 0o755); err != nil {
		t.Fatal(err)
	}
	testTree{"c": file("b"), "d/large": file("")}.write(t, theirs)
	if err := os.Truncate(filepath.Join(theirs, "d/large"), 300<<20); err != nil {
		t.Fatal(err)
	}
	trees.Theirs = openTrees(t, at["ancestor"], at["ours"], theirs).Theirs
	before := readTree(t, at["ours"])
	if _, err := Merge(t.Context(), trees, Options{Number: 7}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("merging: %v", err)
	}
	compareTrees(t, readTree(t, at["ours"]), before)
	if err := os.Truncate(filepath.Join(theirs, "d/large"), 3); err != nil {
		t.Fatal(err)
	}
	if _, err := Merge(t.Context(), trees, Options{Number: 7}); err != nil {
		t.Fatal(err)
	}
	if got := readTree(t, at["ours"])["d/large"].content; got != "\x00\x00\x00" {
		t.Errorf("it holds %q", got)
	}
}

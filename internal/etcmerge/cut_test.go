package etcmerge

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/testbed"
)

// commitWithoutData writes out what the file system knows of files, as it does by
// itself every half a minute, but not what is in them: BTRFS_IOC_START_SYNC and
// BTRFS_IOC_WAIT_SYNC of linux/btrfs.h.
func commitWithoutData(t *testing.T, on *os.File) {
	t.Helper()
	const start, wait = 0x80089418, 0x40089416
	var transaction uint64
	for _, request := range []uintptr{start, wait} {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, on.Fd(), request, uintptr(unsafe.Pointer(&transaction))); errno != 0 {
			t.Fatal(errno)
		}
	}
}

// After a power cut at any moment every file is the old or the new one, whole,
// and merging again leads to the same result.
func TestPowerCutWhileMerging(t *testing.T) {
	top := testbed.Loop(t, 256)
	was := testTree{
		"replaced": file("old"), "merged": file("1\nx\n2\n"), "conflict": file("a"), "removed": file("a"), "removed.d/x/y": file("a"),
		"mode": file("a"), "dir.d/a": file("a"),
	}
	ours := testTree{
		"replaced": file("old"), "merged": file("1\nx\nB\n"), "conflict": file("o"), "removed": file("a"), "removed.d/x/y": file("a"),
		"mode": file("a"), "dir.d/a": file("a"),
	}
	theirs := testTree{
		"replaced": file(strings.Repeat("new", 1000)), "merged": file("A\nx\n2\n"), "conflict": file("t"), "mode": with(file("a"), func(o *object) { o.mode = 0o600 }),
		"dir.d/a": file("a"), "added.d/b/c": file(strings.Repeat("c", 100_000)),
	}
	trees, _ := threeTrees(t, top, was, ours, theirs)
	testbed.Run(t, "sync", "-f", top)

	var moments []string
	merge := func(t *testing.T, trees Trees, hook func(string) error) {
		t.Helper()
		if _, err := Recover(t.Context(), trees.Ours); err != nil {
			t.Fatal(err)
		}
		plan, err := New(t.Context(), trees, Options{Number: 7})
		if err != nil {
			t.Fatal(err)
		}
		plan.hook = hook
		if err := plan.Apply(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	open := func(t *testing.T, top string) Trees {
		return openTrees(t, filepath.Join(top, "ancestor"), filepath.Join(top, "ours"), filepath.Join(top, "theirs"))
	}

	// What it comes to, on a copy.
	reference := testbed.Cut(t, top)
	before := readTree(t, filepath.Join(reference, "ours"))
	merge(t, open(t, reference), func(moment string) error { moments = append(moments, moment); return nil })
	want := readTree(t, filepath.Join(reference, "ours"))
	if len(moments) < 10 {
		t.Fatalf("only these moments: %q", moments)
	}

	check := func(t *testing.T, moment, disk string) {
		t.Helper()
		now := readTree(t, filepath.Join(disk, "ours"))
		for name, is := range now {
			if !isStage(strings.Split(name, "/")[0]) && is.kind == "file" && is.content != before[name].content && is.content != want[name].content {
				t.Errorf("at %s %s holds %d bytes, and not what it held or will hold", moment, name, len(is.content))
			}
		}
		for _, name := range []string{"replaced", "merged", "conflict", "mode"} {
			if _, ok := now[name]; !ok {
				t.Errorf("at %s %s is missing", moment, name)
			}
		}
		again := open(t, disk)
		if moment == "applied" {
			if _, err := os.Stat(filepath.Join(disk, "ours", stageDir)); err == nil {
				t.Error("a merge that was done is not done on the disk")
			}
		} else if slices.Index(moments, moment) <= slices.Index(moments, "done") {
			if _, err := Recover(t.Context(), again.Ours); err != nil {
				t.Fatal(err)
			}
			compareTrees(t, readTree(t, filepath.Join(disk, "ours")), before)
		}
		merge(t, again, nil)
		compareTrees(t, readTree(t, filepath.Join(disk, "ours")), want)
	}

	// The disk has what was synced, or also what a commit of the file system has just written.
	number := 0
	merge(t, trees, func(moment string) error {
		number++
		if number%2 == 0 {
			commitWithoutData(t, trees.Ours)
		}
		t.Run(strings.ReplaceAll(moment, " ", "-"), func(t *testing.T) { check(t, moment, testbed.Cut(t, top)) })
		return nil
	})
	t.Run("applied", func(t *testing.T) { check(t, "applied", testbed.Cut(t, top)) })
}

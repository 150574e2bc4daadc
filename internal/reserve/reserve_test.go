package reserve_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/internal/reserve"
	"github.com/txupd/txupd/internal/testbed"
)

// TestReserveIsWhatChangesNeedOnAFullDisk: on a file system without any space
// left nothing can be renamed or forked, nor written; with what was in reserve
// all of it can.
func TestReserveIsWhatChangesNeedOnAFullDisk(t *testing.T) {
	for name, mkfs := range map[string][]string{
		"data and metadata apart": {"-d", "single", "-m", "dup"},
		"mixed":                   {"--mixed"},
		"nodes of 64 KiB":         {"-m", "single", "-n", "64k"},
	} {
		t.Run(name, func(t *testing.T) {
			top := testbed.Loop(t, 768, mkfs...)
			d := btrfs.Driver{}
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			must(os.Mkdir(filepath.Join(top, "old"), 0o700))
			must(os.Mkdir(filepath.Join(top, "old", "inside"), 0o700))
			f := reserve.At(filepath.Join(top, "reserve"))
			before, err := d.Usage(top)
			must(err)
			must(f.Take())
			must(d.Sync(top))
			after, err := d.Usage(top)
			must(err)
			held := before.Metadata() - after.Metadata()
			t.Logf("held are %d KiB of metadata", held>>10)
			if whole, err := f.Whole(); !whole || err != nil {
				t.Errorf("whole: %v, %v", whole, err)
			}
			must(f.Take()) // which does nothing

			testbed.Fill(t, top)
			changes := map[string]func() error{
				"rename": func() error { return os.Rename(filepath.Join(top, "old"), filepath.Join(top, "new")) },
				"write":  func() error { return os.WriteFile(filepath.Join(top, "file"), make([]byte, reserve.Data/4), 0o600) },
			}
			for what, change := range changes {
				if err := change(); !errors.Is(err, unix.ENOSPC) {
					t.Errorf("%s on a full file system: %v", what, err)
				}
			}
			_ = os.Remove(filepath.Join(top, "file")) // a part of it may have been written
			if released, err := f.Release(); !released || err != nil {
				t.Fatalf("released: %v, %v", released, err)
			}
			for what, change := range changes {
				if err := change(); err != nil {
					t.Errorf("%s with what was in reserve: %v", what, err)
				}
			}
			if released, err := f.Release(); released || err != nil {
				t.Errorf("released again: %v, %v", released, err)
			}
			if whole, err := f.Whole(); whole || err != nil {
				t.Errorf("whole after the release: %v, %v", whole, err)
			}
		})
	}
}

// TestWhatDoesNotFitIsNotHeld: a part of a reserve serves nobody.
func TestWhatDoesNotFitIsNotHeld(t *testing.T) {
	top := testbed.Loop(t, 256)
	testbed.Fill(t, top)
	path := filepath.Join(top, "reserve")
	if err := reserve.At(path).Take(); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("taken on a full file system: %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a part of it is there: %v", err)
	}
}

// TestAHalfMadeReserveIsMadeWhole, as a crash leaves one.
func TestAHalfMadeReserveIsMadeWhole(t *testing.T) {
	top := testbed.Loop(t, 256)
	path := filepath.Join(top, "reserve")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := reserve.At(path)
	if whole, err := f.Whole(); whole || err != nil {
		t.Errorf("an empty file is whole: %v, %v", whole, err)
	}
	if err := f.Take(); err != nil {
		t.Fatal(err)
	}
	if whole, err := f.Whole(); !whole || err != nil {
		t.Errorf("whole: %v, %v", whole, err)
	}
}

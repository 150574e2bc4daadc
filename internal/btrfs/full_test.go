package btrfs

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/snapshot"
)

// TestRemoveOnAFullFileSystem: where there is no space to rename anything a
// snapshot goes all the same, and nothing of it is left.
func TestRemoveOnAFullFileSystem(t *testing.T) {
	s, root := openLayout(t, "flat")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	booted, err := s.Booted()
	must(err)
	_, err = s.Prepare(t.Context(), snapshot.PrepareRequest{UUID: uuidOf(1), Number: 1, Parent: booted.Identity()})
	must(err)
	n, err := s.Publish(uuidOf(1), 0)
	must(err)
	made, err := s.Made(n)
	must(err)
	_, err = s.Flush(n, made[snapshot.RoleSnapshot], false)
	must(err)
	must(os.Mkdir(root+"/home/directory", 0o755))
	testbed.Fill(t, root+"/home")

	if err := os.Rename(root+"/home/directory", root+"/home/renamed"); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("there is space to rename: %v", err)
	}
	must(s.Remove(snapshot.RemoveRequest{UUID: uuidOf(1), Number: n, Subvolumes: made}))
	if _, err := os.Lstat(s.Dir(n)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its directory is there: %v", err)
	}
	left, err := s.Orphans()
	if err != nil || len(left) > 0 {
		t.Errorf("left are %+v, %v", left, err)
	}
	must(s.Remove(snapshot.RemoveRequest{UUID: uuidOf(1), Number: n, Subvolumes: made}))
}

// TestUsageOfProfiles: unallocated space counts as often as a profile writes, and
// what mixed block groups have free is the same for both.
func TestUsageOfProfiles(t *testing.T) {
	for name, c := range map[string]struct {
		mkfs           []string
		data, metadata uint64
	}{
		"single": {[]string{"-d", "single", "-m", "single"}, 1, 1},
		"dup":    {[]string{"-d", "single", "-m", "dup"}, 1, 2},
		"mixed":  {[]string{"--mixed"}, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			top := testbed.Loop(t, 256, c.mkfs...)
			u, err := Driver{}.Usage(top)
			if err != nil {
				t.Fatal(err)
			}
			if u.DataCopies != c.data || u.MetadataCopies != c.metadata {
				t.Errorf("copies are %d and %d", u.DataCopies, u.MetadataCopies)
			}
			if want := u.MetadataFree + u.Unallocated/c.metadata; u.Metadata() != want {
				t.Errorf("free for metadata are %d bytes, want %d", u.Metadata(), want)
			}
			if name == "mixed" && u.Data() != u.Metadata() {
				t.Errorf("free are %d and %d bytes", u.Data(), u.Metadata())
			}
			testbed.Fill(t, top)
			full, err := Driver{}.Usage(top)
			if err != nil {
				t.Fatal(err)
			}
			if full.Metadata() > 8<<20 {
				t.Errorf("the usage of a full one is %+v", full)
			}
		})
	}
}

package btrfs

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/snapshot"
)

func TestLayoutsAreTold(t *testing.T) {
	for _, test := range []struct {
		layout, name, booted, snapshots string
		number                          snapshot.Number
		sealed                          bool
		nested                          []string
	}{
		{"opensuse", snapshot.LayoutSUSE, "@/.snapshots/1/snapshot", "@/.snapshots", 1, false, nil},
		{"opensuse-ro", snapshot.LayoutSUSE, "@/.snapshots/1/snapshot", "@/.snapshots", 1, true, []string{"/etc"}},
		{"flat", snapshot.LayoutFlat, "@", "@snapshots", 0, false, nil},
		{"fedora", snapshot.LayoutFedora, "root", "snapshots", 0, false, nil},
		{"debian", snapshot.LayoutDebian, "@rootfs", "@snapshots", 0, false, nil},
	} {
		t.Run(test.layout, func(t *testing.T) {
			s, root := openLayout(t, test.layout)
			check := func(l snapshot.Layout, booted string, number snapshot.Number) {
				t.Helper()
				if l.Name != test.name || l.Booted.Path != booted || l.Snapshots.Path != test.snapshots ||
					l.BootedNumber != number || l.ReadOnlyRoots != test.sealed || !slices.Equal(l.Nested, test.nested) || l.SnapshotsNested {
					t.Errorf("the layout is %+v", l)
				}
			}
			check(s.Layout(), test.booted, test.number)

			// "Rebooted" into a snapshot it is the same layout.
			made := prepare(t, s, uuidOf(1))
			n, err := s.Publish(uuidOf(1), 0)
			if err != nil {
				t.Fatal(err)
			}
			id := made.Subvolumes[snapshot.RoleSnapshot]
			if _, err := s.Flush(n, id, test.sealed); err != nil {
				t.Fatal(err)
			}
			if err := s.SetDefault(id.ID); err != nil {
				t.Fatal(err)
			}
			next := filepath.Join(t.TempDir(), "next")
			testbed.Mount(t, testbed.Device(t, root), next, "")
			testbed.Mount(t, testbed.Device(t, root), filepath.Join(next, ".snapshots"), "subvol="+test.snapshots)
			s, err = snapshot.Open(next, Driver{}, snapshot.Options{})
			if err != nil {
				t.Fatal(err)
			}
			check(s.Layout(), s.Layout().Booted.Path, n)
			// And the root before it can still be forked from, where it can be reached.
			if old, ok := s.NumberOf(mustInfo(t, root)); ok {
				prepare(t, s, uuidOf(2))
				if err := s.Remove(snapshot.RemoveRequest{UUID: uuidOf(2), Number: old}); !errors.Is(err, snapshot.ErrForeign) {
					t.Errorf("removing the root that the installer made: %v", err)
				}
			}
		})
	}
}

func mustInfo(t *testing.T, path string) snapshot.Subvolume {
	t.Helper()
	sv, err := Driver{}.Info(path)
	if err != nil {
		t.Fatal(err)
	}
	return sv
}

func TestSnapshotsOnAnotherFileSystemAreRefused(t *testing.T) {
	root := testbed.Layout(t, "flat")
	at := filepath.Join(root, ".snapshots")
	if err := unix.Unmount(at, 0); err != nil {
		t.Fatal(err)
	}
	for name, mount := range map[string]func(){
		"btrfs": func() {
			other := testbed.Loop(t, 128)
			// The same ids as on the system's.
			for _, name := range []string{"a", "b", "c"} {
				if err := (Driver{}).Create(filepath.Join(other, name)); err != nil {
					t.Fatal(err)
				}
			}
			testbed.Mount(t, testbed.Device(t, other), at, "subvol=a")
		},
		"tmpfs": func() {
			if err := unix.Mount("none", at, "tmpfs", 0, ""); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			mount()
			_, err := snapshot.Open(root, Driver{}, snapshot.Options{})
			var layout *snapshot.LayoutError
			if !errors.As(err, &layout) || !strings.Contains(layout.Missing, "another file system") {
				t.Errorf("got %v", err)
			}
			if err := unix.Unmount(at, 0); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestTheRemedyHelps(t *testing.T) {
	for _, layout := range []string{"opensuse", "flat", "fedora"} {
		t.Run(layout, func(t *testing.T) {
			root := testbed.Layout(t, layout)
			if err := unix.Unmount(filepath.Join(root, ".snapshots"), 0); err != nil {
				t.Fatal(err)
			}
			if layout != "opensuse" { // where .snapshots is there, but not mounted
				top := filepath.Join(t.TempDir(), "top")
				testbed.Mount(t, testbed.Device(t, root), top, "subvolid=5")
				name := map[string]string{"flat": "@snapshots", "fedora": "snapshots"}[layout]
				if err := (Driver{}).Delete(filepath.Join(top, name), mustInfo(t, filepath.Join(top, name)).ID); err != nil {
					t.Fatal(err)
				}
			}
			_, err := snapshot.Open(root, Driver{}, snapshot.Options{})
			var missing *snapshot.LayoutError
			if !errors.As(err, &missing) {
				t.Fatalf("without .snapshots: %v", err)
			}
			commands, _, _ := strings.Cut(missing.Remedy, "and, so that")
			aside := filepath.Join(t.TempDir(), "mnt")
			if err := os.Mkdir(aside, 0o755); err != nil {
				t.Fatal(err)
			}
			testbed.Run(t, "sh", "-ec", strings.ReplaceAll(commands, "/mnt", aside))
			if _, err := snapshot.Open(root, Driver{}, snapshot.Options{}); err != nil {
				t.Errorf("after\n%s\n%v", commands, err)
			}
		})
	}
}

func TestReceivedSubvolumesStaySealed(t *testing.T) {
	top := testbed.Loop(t, 128)
	d := Driver{}
	for _, err := range []error{d.Create(filepath.Join(top, "a")), d.Fork(filepath.Join(top, "a"), filepath.Join(top, "b"), true), os.Mkdir(filepath.Join(top, "in"), 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	testbed.Run(t, "sh", "-ec", `btrfs -q send "$0" | btrfs -q receive "$1"`, filepath.Join(top, "b"), filepath.Join(top, "in"))
	received := filepath.Join(top, "in/b")
	if sv := mustInfo(t, received); sv.ReceivedUUID.IsZero() || !sv.ReadOnly {
		t.Fatalf("what was received is %+v", sv)
	}
	if err := d.SetReadOnly(received, false); err == nil || !mustInfo(t, received).ReadOnly {
		t.Errorf("it was unsealed: %v", err)
	}
	if err := d.Fork(received, filepath.Join(top, "fork"), false); err != nil {
		t.Error(err)
	}
	if sv := mustInfo(t, filepath.Join(top, "fork")); !sv.ReceivedUUID.IsZero() {
		t.Errorf("its fork is %+v", sv)
	}
}

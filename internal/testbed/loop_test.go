package testbed

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
)

func TestLoopLeavesNothingBehind(t *testing.T) {
	var device, top, image string
	t.Run("used", func(t *testing.T) {
		top = Loop(t, 128)
		image = filepath.Join(filepath.Dir(top), "btrfs.img")
		device = Device(t, top)
		if err := os.WriteFile(filepath.Join(top, "file"), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		Run(t, "btrfs", "-q", "subvolume", "create", filepath.Join(top, "@"))
		elsewhere := t.TempDir()
		Mount(t, device, elsewhere, "subvol=@")
		Run(t, "mount", "-t", "tmpfs", "none", elsewhere)
	})
	// Another test may have the device by now, but nothing below our directory.
	left, err := mountinfo.GetMounts(mountinfo.PrefixFilter(filepath.Dir(top)))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range left {
		t.Errorf("%s is still mounted at %s", m.Source, m.Mountpoint)
	}
	backing, err := os.ReadFile("/sys/block/" + filepath.Base(device) + "/loop/backing_file")
	if err == nil && strings.HasPrefix(string(backing), image) {
		t.Errorf("%s still holds %s", device, backing)
	}
}

func TestLayoutsMountTheirDefault(t *testing.T) {
	for _, name := range Layouts {
		t.Run(name, func(t *testing.T) {
			root := Layout(t, name)
			if _, err := os.Stat(filepath.Join(root, "etc/os-release")); err != nil {
				t.Error(err)
			}
			if ok, err := mountinfo.Mounted(filepath.Join(root, ".snapshots")); err != nil || !ok {
				t.Errorf(".snapshots is not mounted: %v", err)
			}
			// What a reboot would mount is what is mounted.
			again := filepath.Join(t.TempDir(), "again")
			Mount(t, Device(t, root), again, "")
			a, errA := os.Stat(filepath.Join(root, "etc/fstab"))
			b, errB := os.Stat(filepath.Join(again, "etc/fstab"))
			if errA != nil || errB != nil || !os.SameFile(a, b) {
				t.Errorf("the default subvolume is not the mounted root: %v, %v", errA, errB)
			}
			ro := os.WriteFile(filepath.Join(root, "usr/written"), nil, 0o644)
			if sealed := name == "opensuse-ro"; (ro != nil) != sealed {
				t.Errorf("writing to the root: %v", ro)
			}
			if err := os.WriteFile(filepath.Join(root, "etc/written"), nil, 0o644); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCutShowsWhatReachedTheDisk(t *testing.T) {
	top := Loop(t, 128)
	if err := os.WriteFile(filepath.Join(top, "durable"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	Run(t, "btrfs", "filesystem", "sync", top)
	if err := os.WriteFile(filepath.Join(top, "lost"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	found := Cut(t, top)
	if _, err := os.Stat(filepath.Join(found, "durable")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(found, "lost")); err == nil {
		t.Error("what was only in memory survived the cut")
	}
}

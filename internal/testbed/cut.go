// A power cut without a machine: what the disk holds now is what a reboot
// would find.

package testbed

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Cut copies the image behind the mounted Loop file system that path is the
// mount point of, as a power cut would leave it, mounts the top level of the
// copy and returns the mount point. The original goes on.
func Cut(t testing.TB, path string) string {
	t.Helper()
	dir, d := copied(t, path)
	top := d.top(t, dir)

	// Before Linux 6.7 the kernel takes a copy for the original and shows that.
	var original, copy unix.Statfs_t
	if err := unix.Statfs(path, &original); err != nil {
		t.Fatal(err)
	}
	if err := unix.Statfs(top, &copy); err != nil {
		t.Fatal(err)
	}
	if original.Fsid == copy.Fsid {
		t.Fatal("this kernel cannot mount a copy of a mounted btrfs file system (Linux 6.7 can)")
	}
	return top
}

// CutSystem is Cut for all that is mounted below root: the running root, its
// .snapshots, and a boot partition. It returns where the copy of root is mounted.
func CutSystem(t testing.TB, root string) string {
	t.Helper()
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(root))
	if err != nil {
		t.Fatal(err)
	}
	// All images first, and then what takes its time.
	disks, dirs := map[string]*disk{}, map[string]string{}
	for _, m := range mounts {
		if disks[m.Source] == nil {
			dirs[m.Source], disks[m.Source] = copied(t, m.Mountpoint)
		}
	}
	var at string
	for _, m := range mounts {
		d := disks[m.Source]
		if at == "" {
			at = filepath.Join(dirs[m.Source], "root")
		}
		target := filepath.Join(at, strings.TrimPrefix(m.Mountpoint, root))
		switch m.FSType {
		case "btrfs":
			Mount(t, d.device, target, "subvol="+m.Root)
		default:
			if err := unix.Mount(d.device, target, m.FSType, 0, ""); err != nil {
				t.Fatalf("cannot mount the copy of %s: %v", m.Mountpoint, err)
			}
		}
	}
	t.Cleanup(func() {
		for _, m := range slices.Backward(mounts) {
			if err := unmount(filepath.Join(at, strings.TrimPrefix(m.Mountpoint, root))); err != nil {
				t.Error(err)
			}
		}
		for _, d := range disks {
			if err := d.release(); err != nil {
				t.Error(err)
			}
		}
	})
	return at
}

// copied puts a copy of the image behind a mounted file system on a device.
func copied(t testing.TB, path string) (dir string, d *disk) {
	t.Helper()
	device := filepath.Base(Device(t, path))
	image, err := os.ReadFile("/sys/block/" + device + "/loop/backing_file")
	if err != nil {
		t.Fatalf("cannot find the image behind %s: %v", path, err)
	}
	dir = t.TempDir()
	name := filepath.Join(dir, "cut.img")
	Run(t, "cp", "--sparse=always", strings.TrimSpace(string(image)), name)
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if d, err = newDiskOn(file); err != nil {
		t.Fatal(err)
	}
	return dir, d
}

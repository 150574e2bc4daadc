// A power cut without a machine: what the disk holds now is what a reboot
// would find.

package testbed

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Cut copies the image behind the mounted Loop file system that path is the
// mount point of, as a power cut would leave it, mounts the top level of the
// copy and returns the mount point. The original goes on.
func Cut(t testing.TB, path string) string {
	t.Helper()
	device := filepath.Base(Device(t, path))
	image, err := os.ReadFile("/sys/block/" + device + "/loop/backing_file")
	if err != nil {
		t.Fatalf("cannot find the image behind %s: %v", path, err)
	}
	dir := t.TempDir()
	copied := filepath.Join(dir, "cut.img")
	Run(t, "cp", "--sparse=always", strings.TrimSpace(string(image)), copied)
	file, err := os.OpenFile(copied, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	d, err := newDiskOn(file)
	if err != nil {
		t.Fatal(err)
	}
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

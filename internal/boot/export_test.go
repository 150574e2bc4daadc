package boot

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// FreezeAndHang freezes the file system of dir, says so and who would thaw it, and never thaws it.
func FreezeAndHang(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	t, err := startThawer("/proc/self/exe", d)
	if err != nil {
		return err
	}
	if err := unix.IoctlSetInt(int(d.Fd()), iocFreeze, 0); err != nil {
		return err
	}
	fmt.Println("frozen", t.child.Pid)
	select {}
}

// Freeze and ThawNow are the ioctls.
func Freeze(d *os.File) error  { return unix.IoctlSetInt(int(d.Fd()), iocFreeze, 0) }
func ThawNow(d *os.File) error { return unix.IoctlSetInt(int(d.Fd()), iocThaw, 0) }

// StubOf is what a grub.cfg leads to, "" where that is not plain.
func StubOf(text []byte) string {
	r := parseStub(text)
	if r == nil {
		return ""
	}
	return fmt.Sprintf("%s%s %v", r.UUID, r.Path, r.Relative)
}

// WithGRUB is fstab with the mount of GRUB's files.
func WithGRUB(old, point, uuid string) string { return string(withGRUB([]byte(old), point, uuid)) }

// IsOwnEntry reports whether a file among the entries is ours to remove.
func IsOwnEntry(file string) bool {
	_, ours := parseEntryName(file)
	return ours
}

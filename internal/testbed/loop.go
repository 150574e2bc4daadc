// Package testbed builds the real things that suites run on: btrfs on loop
// devices, and small roots in the layouts that distributions use. Only tests
// and development tools import it.
package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// NeedRoot skips the test where it cannot work: without root or without
// mkfs.btrfs. Under CI=true that is a failure instead.
func NeedRoot(t testing.TB) {
	t.Helper()
	missing := ""
	if os.Geteuid() != 0 {
		missing = "root"
	} else if _, err := exec.LookPath("mkfs.btrfs"); err != nil {
		missing = "mkfs.btrfs (btrfs-progs)"
	}
	if missing != "" {
		unable(t, missing)
	}
}

// unable skips a test that cannot run, which CI does not allow.
func unable(t testing.TB, missing string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("this test needs %s, and CI=true lets nothing be skipped", missing)
	}
	t.Skipf("this test needs %s", missing)
}

// Loop makes a btrfs file system of sizeMiB (at least 128) on a sparse file
// behind a loop device, mounts its top level with noatime and returns the
// mount point. mkfs are further arguments of mkfs.btrfs. When the test ends, every mount of that file system and every
// mount below one is gone, and the device is free; a mount that something
// still uses fails the test.
func Loop(t testing.TB, sizeMiB int, mkfs ...string) string {
	t.Helper()
	NeedRoot(t)
	dir := t.TempDir()
	d, err := newDisk(t.Context(), filepath.Join(dir, "btrfs.img"), sizeMiB, mkfs...)
	if err != nil {
		t.Fatal(err)
	}
	return d.top(t, dir)
}

// top mounts the top level in dir until the test ends.
func (d *disk) top(t testing.TB, dir string) string {
	t.Helper()
	t.Cleanup(func() {
		if err := d.release(); err != nil {
			t.Error(err)
		}
	})
	top := filepath.Join(dir, "top")
	Mount(t, d.device, top, "subvolid=5")
	return top
}

// disk is a btrfs file system on a sparse file behind a loop device.
type disk struct {
	device string
	// Autoclear frees the device at its last close: this one, which release
	// makes, or the last unmount. Until then nobody else can get its name.
	held *os.File
}

// newDisk makes the file and the file system, with the label "system".
func newDisk(ctx context.Context, image string, sizeMiB int, mkfs ...string) (*disk, error) {
	file, err := os.OpenFile(image, os.O_CREATE|os.O_RDWR|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := file.Truncate(int64(sizeMiB) << 20); err != nil {
		return nil, fmt.Errorf("cannot make an image of %d MiB: %w", sizeMiB, err)
	}
	if err := run(ctx, slices.Concat([]string{"mkfs.btrfs", "-q", "-L", label}, mkfs, []string{image})...); err != nil {
		return nil, err
	}
	return newDiskOn(file)
}

// newDiskOn puts a file with a file system behind a loop device.
func newDiskOn(file *os.File) (*disk, error) {
	device, held, err := attach(file)
	if err != nil {
		return nil, fmt.Errorf("cannot attach %s to a loop device: %w", file.Name(), err)
	}
	return &disk{device: device, held: held}, nil
}

// label is what fstab calls the file system by.
const label = "system"

// release unmounts every mount of the disk and what is mounted below one, and
// frees the device. A mount that something still uses is detached lazily, so
// that nothing stays behind, and an error.
func (d *disk) release() error {
	defer d.held.Close()
	points, err := mountPoints(func(m *mountinfo.Info) bool { return m.Source == d.device })
	if err != nil {
		return err
	}
	for _, point := range slices.Backward(points) {
		busy := unmount(point)
		if busy == nil {
			continue
		}
		err = errors.Join(err, busy)
		if lazy := unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); lazy != nil {
			err = errors.Join(err, fmt.Errorf("cannot detach %s: %w", point, lazy))
		}
	}
	return err
}

// mountPoints lists the mounts for which is holds, and the mounts below those,
// parents first.
func mountPoints(is func(*mountinfo.Info) bool) ([]string, error) {
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, fmt.Errorf("cannot read the mounts: %w", err)
	}
	ours := map[int]bool{}
	var points []string
	for _, m := range mounts {
		// A parent comes before its children in mountinfo, save for moved mounts.
		if is(m) || ours[m.Parent] {
			ours[m.ID] = true
			points = append(points, m.Mountpoint)
		}
	}
	return points, nil
}

// lookTime is how long others may take to look at a mount of ours: whoever asks for
// the space of everything that is mounted holds each for a moment. What a test or
// its daemon has left open stays open for longer.
const lookTime = 5 * time.Second

// unmount unmounts point, which may be gone already: by a cleanup of the test's
// own, or by propagation.
func unmount(point string) error {
	for end := time.Now().Add(lookTime); ; time.Sleep(20 * time.Millisecond) {
		err := unix.Unmount(point, unix.UMOUNT_NOFOLLOW)
		if err == nil || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return fmt.Errorf("%s is still in use: %w", point, err)
		}
	}
}

// Device names the block device that the file system mounted at path is on.
func Device(t testing.TB, path string) string {
	t.Helper()
	mounts, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(mounts) == 0 {
		t.Fatalf("%s is not a mount point", path)
	}
	return mounts[0].Source
}

// Mount mounts a btrfs device with noatime and options ("subvol=@", or "" for
// the default subvolume, which is what a reboot would mount) at target, which
// is made if need be. Loop's cleanup unmounts it.
func Mount(t testing.TB, device, target, options string) {
	t.Helper()
	if err := mount(device, target, options); err != nil {
		t.Fatal(err)
	}
}

func mount(device, target, options string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(device, target, "btrfs", unix.MS_NOATIME, options); err != nil {
		return fmt.Errorf("cannot mount %s (%s) at %s: %w", device, options, target, err)
	}
	return nil
}

// Run runs a command that has to succeed and returns what it printed.
func Run(t testing.TB, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// attach gives file a free loop device. The device lasts until the returned
// file is closed and nothing has it mounted.
func attach(file *os.File) (string, *os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", nil, err
	}
	defer control.Close()
	config := unix.LoopConfig{Fd: uint32(file.Fd())}
	config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
	copy(config.Info.File_name[:len(config.Info.File_name)-1], file.Name())
	// Others take free devices at the same time: whoever configures first has it.
	for range 100 {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", nil, err
		}
		name := fmt.Sprintf("/dev/loop%d", number)
		device, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return "", nil, err
		}
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if err == nil {
			return name, device, nil
		}
		device.Close()
		if !errors.Is(err, unix.EBUSY) {
			return "", nil, err
		}
	}
	return "", nil, errors.New("others took every free loop device first")
}

// Ext4 makes an ext4 file system of sizeMiB behind a loop device and mounts it at
// target, which is made if need be, until the test ends. It returns the image.
func Ext4(t testing.TB, target string, sizeMiB int) string {
	t.Helper()
	NeedRoot(t)
	image := filepath.Join(t.TempDir(), "ext4.img")
	file, err := os.OpenFile(image, os.O_CREATE|os.O_RDWR|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(int64(sizeMiB) << 20); err != nil {
		t.Fatal(err)
	}
	Run(t, "mkfs.ext4", "-q", "-F", image)
	d, err := newDiskOn(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.release(); err != nil {
			t.Error(err)
		}
	})
	if err := os.MkdirAll(target, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(d.device, target, "ext4", unix.MS_NOATIME, ""); err != nil {
		t.Fatalf("cannot mount %s at %s: %v", d.device, target, err)
	}
	return image
}

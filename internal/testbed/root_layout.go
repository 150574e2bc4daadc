// A whole system on a loop device: a real root in a distribution's subvolume
// layout, which can be "rebooted" into whatever the default subvolume is by then.

package testbed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/moby/sys/mountinfo"
)

// MachineOptions are what a Machine may have otherwise than usual.
type MachineOptions struct {
	SizeMiB int      // of the sparse image; 4096 if 0
	Mkfs    []string // further arguments of mkfs.btrfs
	// Prepare changes the unpacked root before it is sealed and becomes the default.
	Prepare func(root string) error
}

// Machine is a system on a loop device.
type Machine struct {
	// Root is where the running root is mounted: `txupd --root`. Top is the
	// top-level subvolume, for looking at everything from outside.
	Root, Top string
	// Device and Image are what it lies on.
	Device, Image string

	dir     string
	disk    *disk
	closing sync.Once
	closed  error
}

// MountRoot unpacks a root's tarball (BuildRoot) in one of Layouts on a new loop
// btrfs and mounts it as a boot would. The caller has to Close the machine, also
// when interrupted; a process that has mounts of its own (`unshare --mount`)
// leaves nothing behind even when it is killed.
func MountRoot(ctx context.Context, tarball, layout string, opts MachineOptions) (*Machine, error) {
	l, err := layoutOf(layout)
	if err != nil {
		return nil, err
	}
	if opts.SizeMiB == 0 {
		opts.SizeMiB = 4096
	}
	dir, err := publicDir("txupd-machine-")
	if err != nil {
		return nil, err
	}
	m := &Machine{
		dir: dir, Image: filepath.Join(dir, "disk.img"),
		Top: filepath.Join(dir, "top"), Root: filepath.Join(dir, "root"),
	}
	if m.disk, err = newDisk(ctx, m.Image, opts.SizeMiB, opts.Mkfs...); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	m.Device = m.disk.device
	if err := m.install(ctx, l, tarball, opts.Prepare); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot install %s: %w", filepath.Base(tarball), err), m.Close())
	}
	return m, nil
}

func (m *Machine) install(ctx context.Context, l layout, tarball string, prepare func(string) error) error {
	if err := mount(m.Device, m.Top, "subvolid=5"); err != nil {
		return err
	}
	return l.install(ctx, m.Device, m.Top, m.Root, func(root string) error {
		if err := UnpackRoot(ctx, tarball, root); err != nil {
			return err
		}
		if err := copyResolver(root); err != nil {
			return err
		}
		if prepare == nil {
			return nil
		}
		return prepare(root)
	})
}

// copyResolver gives root the host's name servers of now, not of when it was built.
func copyResolver(root string) error {
	const path = "etc/resolv.conf"
	text, err := os.ReadFile("/" + path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(root, path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(filepath.Join(root, path), text, 0o644)
}

// Reboot unmounts the running root and mounts what is the default subvolume now,
// with the mounts of the fstab in it. It fails, and nothing has changed, where a
// process still uses the root.
func (m *Machine) Reboot() error {
	points, err := mountPoints(func(i *mountinfo.Info) bool { return i.Mountpoint == m.Root })
	if err != nil {
		return err
	}
	for i, point := range slices.Backward(points) {
		if err := unmount(point); err != nil {
			err = fmt.Errorf("cannot reboot: %w", err)
			if i < len(points)-1 {
				err = errors.Join(err, m.mountFstab())
			}
			return err
		}
	}
	if err := mount(m.Device, m.Root, ""); err != nil {
		return err
	}
	return m.mountFstab()
}

// mountFstab mounts what the root's fstab names, as far as it is not mounted.
func (m *Machine) mountFstab() error {
	file, err := os.Open(filepath.Join(m.Root, "etc/fstab"))
	if err != nil {
		return fmt.Errorf("cannot boot: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || fields[0] != "LABEL="+label || fields[1] == "/" {
			continue
		}
		target := filepath.Join(m.Root, fields[1])
		if mounted, err := mountinfo.Mounted(target); err != nil {
			return fmt.Errorf("cannot boot: %w", err)
		} else if mounted {
			continue
		}
		options := slices.DeleteFunc(strings.Split(fields[3], ","), func(o string) bool { return o == "noatime" || o == "defaults" })
		if err := mount(m.Device, target, strings.Join(options, ",")); err != nil {
			return fmt.Errorf("cannot boot: %w", err)
		}
	}
	return lines.Err()
}

// Close unmounts everything, frees the loop device and removes the image. What
// is still in use is detached and an error. A second call does nothing.
func (m *Machine) Close() error {
	m.closing.Do(func() {
		if m.disk != nil {
			m.closed = m.disk.release()
		}
		// One by one and not recursively: whatever should still be mounted there survives.
		for _, path := range []string{m.Root, m.Top, m.Image, m.dir} {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				m.closed = errors.Join(m.closed, err)
			}
		}
	})
	return m.closed
}

// RealRoot is MountRoot for tests, closed when the test ends.
func RealRoot(t testing.TB, tarball, layout string, opts MachineOptions) *Machine {
	t.Helper()
	NeedRoot(t)
	m, err := MountRoot(t.Context(), tarball, layout, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

package testbed

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
)

func TestMachineRebootsIntoTheDefaultSubvolume(t *testing.T) {
	tarball := DebianRoot(t)
	for _, name := range []string{"opensuse", "opensuse-ro", "flat"} {
		t.Run(name, func(t *testing.T) {
			m := RealRoot(t, tarball, name, MachineOptions{Prepare: func(root string) error {
				return writeTree(root, map[string]string{"/etc/prepared": "yes\n", "/home/kept": "kept\n"})
			}})
			if out, err := Chroot(t.Context(), m.Root, "dpkg-query", "-W", "-f", "${Package}", "dpkg"); err != nil || out != "dpkg" {
				t.Errorf("dpkg's database is not in the root: %q, %v", out, err)
			}
			if _, err := os.Stat(filepath.Join(m.Root, "etc/prepared")); err != nil {
				t.Error(err)
			}
			next := filepath.Join(m.Root, ".snapshots/next")
			Run(t, "btrfs", "-q", "subvolume", "snapshot", m.Root, next)
			if name == "opensuse-ro" { // forks are not recursive: the nested /etc is a stub
				Run(t, "rmdir", filepath.Join(next, "etc"))
				Run(t, "btrfs", "-q", "subvolume", "snapshot", filepath.Join(m.Root, "etc"), filepath.Join(next, "etc"))
			}
			if err := os.WriteFile(filepath.Join(next, "usr/new"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			Run(t, "btrfs", "subvolume", "set-default", next)
			if err := m.Reboot(); err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{"usr/new", "home/kept", ".snapshots/next/usr/new", "etc/prepared"} {
				if _, err := os.Stat(filepath.Join(m.Root, path)); err != nil {
					t.Errorf("after the reboot: %v", err)
				}
			}
		})
	}
}

func TestMachineThatIsInUseDoesNotReboot(t *testing.T) {
	m := RealRoot(t, DebianRoot(t), "opensuse", MachineOptions{})
	holder, err := os.Open(filepath.Join(m.Root, "etc/fstab"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Reboot(); err == nil || !strings.Contains(err.Error(), m.Root+" is still in use") {
		t.Errorf("rebooting a root with an open file: %v", err)
	}
	holder.Close()
	if ok, err := mountinfo.Mounted(filepath.Join(m.Root, ".snapshots")); !ok || err != nil {
		t.Errorf(".snapshots is not mounted after a refused reboot: %v", err)
	}
	if err := m.Reboot(); err != nil {
		t.Error(err)
	}
}

func TestClosedMachineLeavesNothing(t *testing.T) {
	m, err := MountRoot(t.Context(), DebianRoot(t), "opensuse", MachineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(m.Root)
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is still there", dir)
	}
	if points, err := mountPoints(func(i *mountinfo.Info) bool { return strings.HasPrefix(i.Mountpoint, dir) }); err != nil || len(points) > 0 {
		t.Errorf("still mounted: %v, %v", points, err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
	broken := filepath.Join(t.TempDir(), "broken.tar")
	if err := os.WriteFile(broken, []byte("not a tar"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", t.TempDir())
	if _, err := MountRoot(t.Context(), broken, "opensuse", MachineOptions{}); err == nil || !strings.Contains(err.Error(), "cannot install broken.tar") {
		t.Errorf("a broken tarball: %v", err)
	}
	if after := machines(t); len(after) > 0 {
		t.Errorf("a failed installation left %v", after)
	}
	if _, err := MountRoot(t.Context(), broken, "windows", MachineOptions{}); err == nil || !strings.Contains(err.Error(), `no layout "windows"; there are opensuse`) {
		t.Errorf("an unknown layout: %v", err)
	}
}

func machines(t *testing.T) []string {
	found, err := filepath.Glob(filepath.Join(os.TempDir(), "txupd-machine-*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

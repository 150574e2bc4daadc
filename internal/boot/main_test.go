// A machine made of a directory, a table of mounts and a few answers of blkid.

package boot_test

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

	"github.com/moby/sys/mountinfo"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/pkg/grubcfg"
)

func TestMain(m *testing.M) {
	if boot.IsThaw() {
		os.Exit(boot.Thaw())
	}
	if len(os.Args) == 3 && os.Args[1] == hangArgument {
		fmt.Fprintln(os.Stderr, boot.FreezeAndHang(os.Args[2]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const (
	rootUUID = "0f4bb5ae-2d4f-4e8b-9d4c-5d3cb4b0a1f2"
	bootUUID = "8f2c7d1e-1111-4222-8333-444455556666"
	espUUID  = "12AB-34CD"
)

// hooked is a grub.cfg that loads our menu.
const hooked = "set default=0\nif [ -s \"${config_directory}/txupd.cfg\" ]; then\n  source \"${config_directory}/txupd.cfg\"\nfi\nmenuentry x {\n}\n"

// fake is a machine in a directory.
type fake struct {
	t      *testing.T
	root   string
	vars   string
	mounts []*mountinfo.Info
	uuids  map[string]string // by device
	host   boot.Host
	ran    [][]string
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{t: t, root: t.TempDir(), vars: t.TempDir(), uuids: map[string]string{}}
	f.mount("/", "/dev/vda2", "btrfs", rootUUID, "/@rootfs")
	f.write("etc/fstab", "UUID="+rootUUID+" / btrfs defaults 0 0\n")
	f.host = boot.Host{
		Root: f.root, EFIVariables: f.vars, Self: "/proc/self/exe", Run: f.run,
		Mounts: func() ([]*mountinfo.Info, error) { return f.mounts, nil },
	}
	return f
}

func (f *fake) boot() *boot.Boot { return boot.New(f.host) }

// mount says that something is mounted; dir is the directory of it that is.
func (f *fake) mount(point, device, kind, uuid, dir string) *mountinfo.Info {
	f.t.Helper()
	m := &mountinfo.Info{
		Mountpoint: filepath.Join(f.root, point), Source: device, FSType: kind, Root: dir, Options: "rw,relatime", VFSOptions: "rw",
		Major: 4000, Minor: len(f.mounts), // no device has that
	}
	for _, other := range f.mounts {
		if other.Source == device {
			m.Minor = other.Minor
		}
	}
	f.mounts = append(f.mounts, m)
	f.uuids[device] = uuid
	if err := os.MkdirAll(m.Mountpoint, 0o755); err != nil {
		f.t.Fatal(err)
	}
	return m
}

func (f *fake) esp() *mountinfo.Info {
	f.t.Helper()
	m := f.mount("/boot/efi", "/dev/vda1", "vfat", espUUID, "/")
	f.mkdir("boot/efi/EFI")
	return m
}

// debian is GRUB after setup: its files in a subvolume of their own, and an EFI partition.
func debian(t *testing.T) *fake {
	t.Helper()
	f := newFake(t)
	f.mount("/boot/grub", "/dev/vda2", "btrfs", rootUUID, "/@txupd-grub")
	f.esp()
	f.write("boot/grub/grub.cfg", hooked)
	f.write("etc/fstab", "UUID="+rootUUID+" / btrfs defaults 0 0\nUUID="+rootUUID+" /boot/grub btrfs subvol=@txupd-grub 0 0\n")
	return f
}

func (f *fake) path(name string) string { return filepath.Join(f.root, name) }

func (f *fake) mkdir(name string) {
	f.t.Helper()
	if err := os.MkdirAll(f.path(name), 0o755); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fake) write(name, text string) {
	f.t.Helper()
	f.mkdir(filepath.Dir(name))
	if err := os.WriteFile(f.path(name), []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fake) read(name string) string {
	f.t.Helper()
	text, err := os.ReadFile(f.path(name))
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}

func (f *fake) names(dir string) []string {
	f.t.Helper()
	entries, err := os.ReadDir(f.path(dir))
	if err != nil && !os.IsNotExist(err) {
		f.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// run answers for blkid; grub-script-check is the real one, where there is one.
func (f *fake) run(ctx context.Context, argv ...string) ([]byte, error) {
	f.ran = append(f.ran, argv)
	switch argv[0] {
	case "blkid":
		if id := f.uuids[argv[len(argv)-1]]; id != "" {
			return []byte(id + "\n"), nil
		}
		return nil, errors.New("exit status 2")
	case "grub-script-check":
		out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
		if err != nil && !errors.Is(err, exec.ErrNotFound) {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return nil, err
	}
	return nil, fmt.Errorf("%s: %w", argv[0], exec.ErrNotFound)
}

// kernel puts a kernel with its modules and ramdisk into a root.
func kernel(t *testing.T, root, version string) {
	t.Helper()
	for name, text := range map[string]string{
		"boot/vmlinuz-" + version: "kernel " + version, "boot/initrd.img-" + version: "initrd " + version,
		"boot/config-" + version: "config " + version, "boot/System.map-" + version: "map " + version,
		"usr/lib/modules/" + version + "/modules.dep": "",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func number(n uint64) *uint64 { return &n }

// menu is one with the entries, the first of which is the default.
func menu(entries ...uint64) grubcfg.Menu {
	m := grubcfg.Menu{Default: entries[0]}
	for _, n := range entries {
		m.Entries = append(m.Entries, grubcfg.Entry{
			Number: n, Title: fmt.Sprintf("%d: a snapshot", n), RootUUID: rootUUID, RootPath: fmt.Sprintf("@/.snapshots/%d/snapshot", n),
			Kernel: "boot/vmlinuz-6.12.1", Initrd: []string{"boot/initrd.img-6.12.1"}, KernelVersion: "6.12.1", CommandLine: "ro quiet",
		})
	}
	return m
}

// trial is a menu with its default on trial, and the second entry to fall back to.
func trial(counter grubcfg.EnvFile, tries int, entries ...uint64) grubcfg.Menu {
	m := menu(entries...)
	m.Fallback = number(entries[1])
	m.Trial = &grubcfg.Trial{Tries: tries, Counter: counter}
	m.Once = &counter
	return m
}

// must is the value of a call that has to succeed.
func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func problems(f boot.Facts) string {
	var words []string
	for _, p := range f.Problems {
		words = append(words, fmt.Sprintf("%v: %s; %s", p.Blocks, p.What, p.Remedy))
	}
	slices.Sort(words)
	return strings.Join(words, "\n")
}

// Setting a machine up: real subvolumes and mounts, with stand-ins for GRUB's
// own programs that do what those do to the files.

package boot_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/grubcfg"
)

// installed is a machine as Debian installs it: GRUB's files in the root, the
// EFI partition in a directory.
type installed struct {
	t         *testing.T
	root, top string
	host      boot.Host
	ran       []string
	said      []string
	fail      string // the program that fails
}

func install(t *testing.T) *installed {
	t.Helper()
	root, host, _ := real(t)
	m := &installed{t: t, root: root, top: filepath.Join(filepath.Dir(root), "top"), host: host}
	m.host.CommandLine = "root=UUID=x rootflags=subvol=@rootfs ro"
	m.host.EFIVariables = t.TempDir()
	m.host.Run = m.run
	m.host.Mounts = func() ([]*mountinfo.Info, error) {
		mounts, err := mountinfo.GetMounts(nil)
		esp := &mountinfo.Info{Mountpoint: m.path("boot/efi"), Source: "/dev/none", FSType: "vfat", Root: "/", Options: "rw", Major: 4000}
		return append(mounts, esp), err
	}
	for name, text := range map[string]string{
		"etc/fstab":                            "# made by the installer\nLABEL=system / btrfs noatime,compress=zstd,subvol=@rootfs 0 1\n",
		"etc/os-release":                       "ID=debian\n",
		"boot/grub/grub.cfg":                   "menuentry old {\n}\n",
		"boot/grub/grubenv":                    string(grubcfg.NewEnv().Render()),
		"boot/grub/fonts/x.pf2":                "font",
		"boot/efi/EFI/debian/grubx64.efi":      "program",
		"boot/grub/x86_64-efi/normal.mod":      "module",
		"boot/efi/EFI/Microsoft/Boot/boot.efi": "other",
	} {
		put(t, m.path(name), text)
	}
	m.stub("/@rootfs/boot/grub")
	return m
}

func (m *installed) path(name string) string { return filepath.Join(m.root, name) }

// stub is the file that leads GRUB to its directory.
func (m *installed) stub(dir string) {
	m.t.Helper()
	id := strings.TrimSpace(testbed.Run(m.t, "blkid", "-p", "-o", "value", "-s", "UUID", testbed.Device(m.t, m.root)))
	put(m.t, m.path("boot/efi/EFI/debian/grub.cfg"), "search.fs_uuid "+id+" root\nset prefix=($root)'"+dir+"'\nconfigfile $prefix/grub.cfg\n")
}

func (m *installed) run(ctx context.Context, argv ...string) ([]byte, error) {
	if argv[0] == "blkid" && argv[len(argv)-1] == "/dev/none" {
		return []byte(espUUID), nil
	}
	known := argv[0] == "grub-install" || argv[0] == "grub-mkconfig"
	switch {
	case known && argv[1] == "--version":
		return nil, nil
	case known:
		m.ran = append(m.ran, strings.Join(argv, " "))
		if argv[0] == m.fail {
			return nil, errors.New("exit status 1: no room")
		}
		// Whatever is led to GRUB's directory now finds a menu there.
		if _, err := os.Stat(m.path("boot/grub/grub.cfg")); err != nil {
			return nil, err
		}
		mounts, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(m.path("boot/grub")))
		if err != nil || len(mounts) != 1 {
			return nil, fmt.Errorf("%d mounts at /boot/grub, %w", len(mounts), err)
		}
		if argv[0] == "grub-install" {
			m.stub(mounts[0].Root)
			return nil, os.WriteFile(m.path("boot/grub/x86_64-efi/core.efi"), []byte("new"), 0o644)
		}
		return nil, m.mkconfig(argv[2])
	case argv[0] == "debconf-show" || strings.HasPrefix(argv[0], "grub2-"):
		return nil, &exec.Error{Name: argv[0], Err: exec.ErrNotFound}
	}
	return exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
}

// mkconfig runs the hook, as grub-mkconfig does.
func (m *installed) mkconfig(output string) error {
	text, err := exec.Command(m.path(grubcfg.HookPath)).Output()
	if err != nil {
		return err
	}
	return os.WriteFile(m.path(output), append([]byte("set default=0\n"), text...), 0o400)
}

func (m *installed) setup() error {
	m.ran, m.said = nil, nil
	return boot.New(m.host).Setup(m.t.Context(), func(words string) { m.said = append(m.said, words) })
}

func (m *installed) read(name string) string {
	m.t.Helper()
	return string(must[[]byte](m.t)(os.ReadFile(m.path(name))))
}

func TestSetupMovesGRUBsFilesOutOfTheRoot(t *testing.T) {
	m := install(t)
	before := m.read("etc/fstab")
	ok(t, m.setup())
	want := []string{
		"grub-install --target=x86_64-efi --boot-directory=/boot --efi-directory=/boot/efi --no-nvram --bootloader-id=debian",
		"grub-mkconfig -o /boot/grub/.grub.cfg.txupd-new",
	}
	if diff := cmp.Diff(want, m.ran); diff != "" {
		t.Errorf("ran:\n%s", diff)
	}
	if len(m.said) < 6 || !strings.Contains(strings.Join(m.said, "\n"), "running "+want[0]) {
		t.Errorf("said:\n%s", strings.Join(m.said, "\n"))
	}
	line := "# GRUB's files are in no snapshot (txctl setup).\nLABEL=system /boot/grub btrfs noatime,compress=zstd,subvol=@txupd-grub 0 0\n"
	if got := m.read("etc/fstab"); got != before+line {
		t.Errorf("fstab:\n%s", got)
	}
	for _, name := range []string{"fonts/x.pf2", "x86_64-efi/normal.mod", "grubenv"} {
		if _, err := os.Stat(filepath.Join(m.top, "@txupd-grub", name)); err != nil {
			t.Error(err)
		}
	}
	if info := must[os.FileInfo](t)(os.Stat(m.path("boot/grub/grub.cfg"))); info.Mode().Perm() != 0o400 || !grubcfg.Hooked([]byte(m.read("boot/grub/grub.cfg"))) {
		t.Errorf("grub.cfg has mode %v:\n%s", info.Mode(), m.read("boot/grub/grub.cfg"))
	}
	// The old place is as it was.
	old := string(must[[]byte](t)(os.ReadFile(filepath.Join(m.top, "@rootfs/boot/grub/grub.cfg"))))
	if old != "menuentry old {\n}\n" {
		t.Errorf("the old grub.cfg:\n%s", old)
	}
	b := boot.New(m.host)
	f := must[boot.Facts](t)(b.Probe(t.Context()))
	if f.Err() != nil || f.InRoot || !f.Hooked || f.Mode != boot.FollowsMenu || f.CounterFile != "/boot/efi/EFI/txupd/grubenv" {
		t.Errorf("probed %+v", f)
	}
	ok(t, b.Switch(t.Context(), menu(5)))

	// A second run has nothing to do.
	ok(t, m.setup())
	if len(m.ran) != 0 || len(m.said) != 1 {
		t.Errorf("the second run ran %q and said %q", m.ran, m.said)
	}
	left := testbed.Run(t, "ls", "-A", m.top, m.path("boot/grub"), m.path("etc/grub.d"))
	if strings.Contains(left, "new") {
		t.Errorf("left behind:\n%s", left)
	}
}

func TestSetupThatFailsLeavesABootableMachineAndCanGoOn(t *testing.T) {
	for _, program := range []string{"grub-install", "grub-mkconfig"} {
		t.Run(program, func(t *testing.T) {
			m := install(t)
			fstab := m.read("etc/fstab")
			m.fail = program
			err := m.setup()
			if err == nil || !strings.Contains(err.Error(), program+" failed: exit status 1: no room") || !strings.Contains(err.Error(), `run "txctl setup" again`) {
				t.Fatalf("%v", err)
			}
			// Wherever GRUB is led, there is the menu that was.
			for _, dir := range []string{"@rootfs/boot/grub", "@txupd-grub"} {
				if text, err := os.ReadFile(filepath.Join(m.top, dir, "grub.cfg")); err != nil || string(text) != "menuentry old {\n}\n" {
					t.Errorf("%s: %q %v", dir, text, err)
				}
			}
			if m.read("etc/fstab") != fstab {
				t.Error("fstab was changed")
			}
			if mounted := must[bool](t)(mountinfo.Mounted(m.path("boot/grub"))); mounted {
				t.Error("something is still mounted")
			}
			if f := must[boot.Facts](t)(boot.New(m.host).Probe(t.Context())); f.Err() == nil {
				t.Error("transactions could begin")
			}
			m.fail = ""
			ok(t, m.setup())
		})
	}
}

func TestSetupGoesOnAfterACut(t *testing.T) {
	m := install(t)
	ok(t, m.setup())
	// As if the power had gone before fstab was written, with and without a reboot since.
	fstab, _, _ := strings.Cut(m.read("etc/fstab"), "# GRUB's files")
	for _, reboot := range []bool{false, true} {
		put(t, m.path("etc/fstab"), fstab)
		if reboot {
			testbed.Run(t, "umount", m.path("boot/grub"))
		}
		b := boot.New(m.host)
		if err := must[boot.Facts](t)(b.Probe(t.Context())).Err(); !errors.Is(err, fault.ErrNotSupported) {
			t.Errorf("reboot %v: a transaction could begin", reboot)
		}
		ok(t, m.setup())
		if len(m.ran) != 2 {
			t.Errorf("reboot %v: ran %q", reboot, m.ran)
		}
	}
	// A copy that was not complete is made anew.
	m = install(t)
	testbed.Run(t, "btrfs", "-q", "subvolume", "create", filepath.Join(m.top, "@txupd-grub.new"))
	put(t, filepath.Join(m.top, "@txupd-grub.new/half"), "x")
	ok(t, m.setup())
	if _, err := os.Stat(m.path("boot/grub/half")); err == nil {
		t.Error("what was half copied is used")
	}
}

func TestSetupChangesNothingWhereItCannotEnd(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*installed)
		want   string
	}{
		"a system that does not run": {func(m *installed) { m.host.CommandLine = "" }, "boot it first"},
		"BIOS without a disk":        {func(m *installed) { m.host.EFIVariables = "/nonexistent" }, "dpkg-reconfigure grub-pc"},
		"no GRUB on the EFI partition": {func(m *installed) {
			ok(m.t, os.RemoveAll(m.path("boot/efi/EFI/debian")))
		}, "no GRUB is installed"},
		"several systems, none of them ours": {func(m *installed) {
			ok(m.t, os.RemoveAll(m.path("boot/efi/EFI/debian")))
			put(m.t, m.path("boot/efi/EFI/one/grubx64.efi"), "x")
			put(m.t, m.path("boot/efi/EFI/two/grubx64.efi"), "x")
		}, `as one, two, and none of them is called "debian"`},
		"no EFI partition": {func(m *installed) { m.host.Mounts = nil }, "mount it at /boot/efi"},
		"no grub-mkconfig": {func(m *installed) {
			run := m.host.Run
			m.host.Run = func(ctx context.Context, argv ...string) ([]byte, error) {
				if argv[0] == "grub-mkconfig" {
					return nil, exec.ErrNotFound
				}
				return run(ctx, argv...)
			}
		}, "grub-mkconfig is not installed"},
	} {
		t.Run(name, func(t *testing.T) {
			m := install(t)
			c.change(m)
			err := m.setup()
			if !errors.Is(err, fault.ErrNotSupported) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			if _, err := os.Stat(m.path("etc/grub.d")); err == nil || len(m.ran)+len(m.said) > 0 {
				t.Errorf("it did something: ran %q, said %q", m.ran, m.said)
			}
		})
	}
}

func TestSetupInstallsGRUBWhereItWas(t *testing.T) {
	const options = "grub-install --target=x86_64-efi --boot-directory=/boot --efi-directory=/boot/efi --no-nvram "
	for name, c := range map[string]struct {
		change func(*installed)
		want   []string
	}{
		"for removable media alone": {func(m *installed) {
			ok(m.t, os.RemoveAll(m.path("boot/efi/EFI/debian")))
			put(m.t, m.path("boot/efi/EFI/BOOT/BOOTX64.EFI"), "x")
		}, []string{options + "--removable"}},
		"for removable media too": {func(m *installed) {
			put(m.t, m.path("boot/efi/EFI/BOOT/BOOTX64.EFI"), "x")
			put(m.t, m.path("boot/efi/EFI/BOOT/grub.cfg"), m.read("boot/efi/EFI/debian/grub.cfg"))
		}, []string{options + "--removable", options + "--bootloader-id=debian"}},
		"beside another system": {func(m *installed) {
			put(m.t, m.path("boot/efi/EFI/another/grubx64.efi"), "x")
		}, []string{options + "--bootloader-id=debian"}},
		"by BIOS, as debconf knows": {func(m *installed) {
			m.host.EFIVariables = "/nonexistent"
			run := m.host.Run
			m.host.Run = func(ctx context.Context, argv ...string) ([]byte, error) {
				if argv[0] == "debconf-show" {
					return []byte("  grub2/linux_cmdline: quiet\n* grub-pc/install_devices: /dev/disk/by-id/a, /dev/disk/by-id/b\n"), nil
				}
				return run(ctx, argv...)
			}
		}, []string{
			"grub-install --target=i386-pc --boot-directory=/boot /dev/disk/by-id/a", "grub-install --target=i386-pc --boot-directory=/boot /dev/disk/by-id/b",
		}},
		"by BIOS, as SUSE knows": {func(m *installed) {
			m.host.EFIVariables = "/nonexistent"
			put(m.t, m.path("etc/default/grub_installdevice"), "/dev/vda\nactivate\ngeneric_mbr\n")
		}, []string{"grub-install --target=i386-pc --boot-directory=/boot /dev/vda"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := install(t)
			c.change(m)
			ok(t, m.setup())
			if diff := cmp.Diff(append(c.want, "grub-mkconfig -o /boot/grub/.grub.cfg.txupd-new"), m.ran); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSetupOnlyHooksWhereGRUBIsInNoRoot(t *testing.T) {
	m := install(t)
	ok(t, os.RemoveAll(m.path("boot/efi")))
	ext4(t, m.path("boot"), 16)
	put(t, m.path("boot/grub/grub.cfg"), "menuentry old {\n}\n")
	ok(t, os.MkdirAll(m.path("boot/efi/EFI"), 0o755))
	m.host.Run = func(ctx context.Context, argv ...string) ([]byte, error) {
		if argv[0] == "grub-mkconfig" && argv[1] == "-o" {
			m.ran = append(m.ran, argv[0])
			return nil, m.mkconfig(argv[2])
		}
		return m.run(ctx, argv...)
	}
	ok(t, m.setup())
	if len(m.ran) != 1 || !grubcfg.Hooked([]byte(m.read("boot/grub/grub.cfg"))) {
		t.Errorf("ran %q", m.ran)
	}
	ok(t, m.setup())
	if len(m.ran) != 0 {
		t.Errorf("a second run ran %q", m.ran)
	}
}

func TestSetupIsNotNeededWithoutAMenu(t *testing.T) {
	f := newFake(t)
	var said []string
	ok(t, f.boot().Setup(t.Context(), func(words string) { said = append(said, words) }))
	if len(said) != 1 || !strings.Contains(said[0], "nothing else is needed") {
		t.Errorf("said %q", said)
	}
}

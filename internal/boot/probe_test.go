// What is concluded from what a machine looks like.

package boot_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/grubcfg"
)

func TestProbeTellsHowTheMachineBoots(t *testing.T) {
	type want struct {
		mode    boot.Mode
		loader  string
		counter *grubcfg.EnvFile
		why     string // a part of it
		problem string // a part of the one that blocks, "" if none does
	}
	onESP := &grubcfg.EnvFile{UUID: espUUID, Path: "/EFI/txupd/grubenv"}
	for name, c := range map[string]struct {
		make func(*testing.T) *fake
		want want
	}{
		"nothing but a root": {newFake, want{mode: boot.FollowsDefault, why: "mounts the default one"}},
		"a pinned root and no loader": {func(t *testing.T) *fake {
			f := newFake(t)
			f.host.CommandLine = "root=UUID=x ro rootflags=compress=zstd,subvol=@rootfs quiet"
			return f
		}, want{mode: boot.Unsupported, problem: "the kernel command line pins the root (rootflags=compress=zstd,subvol=@rootfs)"}},
		"root flags that pin nothing": {func(t *testing.T) *fake {
			f := newFake(t)
			f.host.CommandLine = "rootflags=subvol=@ rootflags=compress=zstd -- rootflags=subvol=@"
			return f
		}, want{mode: boot.FollowsDefault}},
		"a root pinned in fstab": {func(t *testing.T) *fake {
			f := newFake(t)
			f.write("etc/fstab", "# subvol=@\nUUID=x / btrfs noatime,subvol=/@rootfs 0 0\nUUID=x /home btrfs subvol=@home 0 0\n")
			return f
		}, want{mode: boot.Unsupported, problem: "/etc/fstab pins the root (subvol=/@rootfs)"}},
		"GRUB after setup": {func(t *testing.T) *fake {
			f := debian(t)
			f.host.CommandLine = "rootflags=subvol=@rootfs"
			return f
		}, want{mode: boot.FollowsMenu, loader: "grub", counter: onESP, why: "it counts trial boots in /boot/efi/EFI/txupd/grubenv"}},
		"GRUB before setup": {func(t *testing.T) *fake {
			f := newFake(t)
			f.esp()
			f.write("boot/grub/grub.cfg", "menuentry x {\n}\n")
			return f
		}, want{mode: boot.FollowsMenu, loader: "grub", counter: onESP, problem: "part of the root"}},
		"GRUB without the hook": {func(t *testing.T) *fake {
			f := debian(t)
			f.write("boot/grub/grub.cfg", "# source txupd.cfg\nmenuentry x {\n}\n")
			return f
		}, want{mode: boot.FollowsMenu, loader: "grub", counter: onESP, problem: `does not load the boot menu of txupd; run "txctl setup"`}},
		"GRUB that cannot write": {func(t *testing.T) *fake {
			f := newFake(t)
			f.mount("/boot/grub", "/dev/vda2", "btrfs", rootUUID, "/@grub")
			f.write("boot/grub/grub.cfg", hooked)
			return f
		}, want{mode: boot.FollowsMenu, loader: "grub", why: "trial boots cannot be counted (GRUB cannot write to btrfs, and no EFI system partition is mounted)"}},
		"an EFI partition that is read-only": {func(t *testing.T) *fake {
			f := debian(t)
			f.mounts[2].VFSOptions = "ro"
			return f
		}, want{mode: boot.FollowsMenu, loader: "grub", why: "trial boots cannot be counted (the EFI system partition is mounted read-only)"}},
		"a separate /boot": {func(t *testing.T) *fake {
			f := newFake(t)
			f.mount("/boot", "/dev/vda3", "ext4", bootUUID, "/")
			f.write("boot/grub2/grub.cfg", hooked)
			return f
		}, want{mode: boot.FollowsMenu, loader: "grub", counter: &grubcfg.EnvFile{UUID: bootUUID, Path: "/grub2/txupd.env"}}},
		"a separate /boot that is read-only": {func(t *testing.T) *fake {
			f := newFake(t)
			f.mount("/boot", "/dev/vda3", "ext4", bootUUID, "/").Options = "ro,relatime"
			f.write("boot/grub2/grub.cfg", hooked)
			return f
		}, want{mode: boot.FollowsMenu, loader: "grub", why: "/boot is mounted read-only", problem: "/boot, which holds GRUB's menu, is mounted read-only"}},
		"a separate /boot on xfs": {func(t *testing.T) *fake {
			f := newFake(t)
			f.mount("/boot", "/dev/vda3", "xfs", bootUUID, "/")
			f.write("boot/grub2/grub.cfg", hooked)
			return f
		}, want{mode: boot.FollowsMenu, loader: "grub", why: "GRUB cannot write to xfs"}},
		"SUSE": {func(t *testing.T) *fake {
			f := newFake(t)
			f.esp()
			f.write("boot/grub2/grub.cfg", "set btrfs_relative_path=\"y\"\nexport btrfs_relative_path\nmenuentry x {\n}\n")
			return f
		}, want{mode: boot.FollowsDefault, loader: "grub (follows the default subvolume)", why: "both follow the default subvolume"}},
		"SUSE, told by the file on the EFI partition": {func(t *testing.T) *fake {
			f := newFake(t)
			f.esp()
			f.write("boot/grub2/grub.cfg", "menuentry x {\n}\n")
			f.write("boot/efi/EFI/opensuse/grub.cfg", "set btrfs_relative_path=\"yes\"\nsearch --fs-uuid --set=root "+rootUUID+"\nset prefix=(${root})/boot/grub2\nsource \"${prefix}/grub.cfg\"\n")
			return f
		}, want{mode: boot.FollowsDefault, loader: "grub (follows the default subvolume)"}},
		"SUSE with a pinned root": {func(t *testing.T) *fake {
			f := newFake(t)
			f.host.CommandLine = "rootflags=subvol=@/.snapshots/1/snapshot"
			f.write("boot/grub2/grub.cfg", "set btrfs_relative_path=\"y\"\n")
			return f
		}, want{mode: boot.Unsupported, loader: "grub (follows the default subvolume)", problem: "pins the root"}},
		"a grub.cfg on the EFI partition alone": {func(t *testing.T) *fake {
			f := newFake(t)
			f.esp()
			f.write("boot/efi/EFI/debian/grub.cfg", hooked)
			return f
		}, want{mode: boot.FollowsMenu, loader: "grub", counter: onESP}},
		"the EFI partition leads to a place of its own": {func(t *testing.T) *fake {
			f := newFake(t)
			f.esp()
			f.mount("/srv/grub", "/dev/vda2", "btrfs", rootUUID, "/@grub")
			f.write("srv/grub/cfg/grub.cfg", hooked)
			f.write("boot/efi/EFI/debian/grub.cfg", "search.fs_uuid "+rootUUID+" root hd0,gpt2\nset prefix=($root)'/@grub/cfg'\nconfigfile $prefix/grub.cfg\n")
			return f
		}, want{mode: boot.FollowsMenu, loader: "grub", counter: onESP}},
		"GRUB reads another file": {func(t *testing.T) *fake {
			f := debian(t)
			f.write("boot/efi/EFI/debian/grub.cfg", "search.fs_uuid "+rootUUID+" root hd0,gpt2\nset prefix=($root)'/@rootfs/boot/grub'\nconfigfile $prefix/grub.cfg\n")
			return f
		}, want{mode: boot.FollowsMenu, loader: "grub", counter: onESP, problem: "GRUB reads /@rootfs/boot/grub/grub.cfg"}},
		"a move that was interrupted before fstab": {func(t *testing.T) *fake {
			f := debian(t)
			f.write("etc/fstab", "UUID=x / btrfs defaults 0 0\n")
			return f
		}, want{mode: boot.FollowsMenu, loader: "grub", counter: onESP, problem: "/etc/fstab does not mount them; run \"txctl setup\""}},
		"openSUSE beside ours": {func(t *testing.T) *fake {
			f := debian(t)
			f.write("boot/efi/EFI/opensuse/grub.cfg", "set btrfs_relative_path=\"yes\"\nsearch --fs-uuid --set=root "+bootUUID+"\nset prefix=(${root})/boot/grub2\nsource \"${prefix}/grub.cfg\"\n")
			return f
		}, want{mode: boot.FollowsMenu, loader: "grub", counter: onESP}},
		"another system's GRUB beside ours": {func(t *testing.T) *fake {
			f := debian(t)
			f.write("boot/efi/EFI/other/grub.cfg", "search.fs_uuid "+bootUUID+" root\nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n")
			f.write("boot/efi/EFI/debian/grub.cfg", "search.fs_uuid "+rootUUID+" root\nset prefix=($root)'/@txupd-grub'\nconfigfile $prefix/grub.cfg\n")
			return f
		}, want{mode: boot.FollowsMenu, loader: "grub", counter: onESP}},
	} {
		t.Run(name, func(t *testing.T) {
			f := c.make(t)
			got, err := f.boot().Probe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got.Mode != c.want.mode || got.Loader != c.want.loader || !strings.Contains(got.Why, c.want.why) {
				t.Errorf("mode %s, loader %q, because %s", got.Mode, got.Loader, got.Why)
			}
			if diff := cmp.Diff(c.want.counter, got.Counter); diff != "" {
				t.Errorf("counter:\n%s", diff)
			}
			refused := got.Err()
			switch {
			case c.want.problem == "" && refused != nil:
				t.Errorf("it refuses: %v", refused)
			case c.want.problem != "" && (refused == nil || !strings.Contains(refused.Error(), c.want.problem) || !errors.Is(refused, fault.ErrNotSupported)):
				t.Errorf("want a refusal with %q, got %v; problems:\n%s", c.want.problem, refused, problems(got))
			}
		})
	}
}

func TestProbeDescribesPartitions(t *testing.T) {
	f := newFake(t)
	f.mount("/boot", "/dev/vda3", "ext4", bootUUID, "/")
	f.esp()
	f.write("boot/grub/grub.cfg", hooked)
	got := must[boot.Facts](t)(f.boot().Probe(t.Context()))
	if got.Boot == nil || got.ESP == nil || got.Boot.Free == 0 || got.Boot.Size < got.Boot.Free {
		t.Fatalf("boot %+v, EFI partition %+v", got.Boot, got.ESP)
	}
	got.Boot.Free, got.Boot.Size, got.ESP.Free, got.ESP.Size = 0, 0, 0, 0
	want := boot.Facts{
		Mode: boot.FollowsMenu, Why: "GRUB boots what the menu says; it counts trial boots in /boot/efi/EFI/txupd/grubenv", Problems: []boot.Problem{},
		Loader: "grub", RootUUID: rootUUID, GrubDir: "/boot/grub", GrubConfig: "/boot/grub/grub.cfg", GrubFilesystem: "ext4", Hooked: true,
		Counter: &grubcfg.EnvFile{UUID: espUUID, Path: "/EFI/txupd/grubenv"}, CounterFile: "/boot/efi/EFI/txupd/grubenv", Counts: true, Once: true,
		Boot: &boot.Partition{Mount: "/boot", UUID: bootUUID, Type: "ext4", Device: "/dev/vda3"},
		ESP:  &boot.Partition{Mount: "/boot/efi", UUID: espUUID, Type: "vfat", Device: "/dev/vda1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheConfiguredGRUBDirectoryIsTheOnlyOne(t *testing.T) {
	f := debian(t)
	f.write("srv/grub/grub.cfg", hooked)
	f.host.GrubDir = "/srv/grub"
	if got := must[boot.Facts](t)(f.boot().Probe(t.Context())); got.GrubConfig != "/srv/grub/grub.cfg" {
		t.Errorf("found %s", got.GrubConfig)
	}
	f.host.GrubDir = "/srv/none"
	if _, err := f.boot().Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "/srv/none") {
		t.Errorf("a directory without a grub.cfg was accepted: %v", err)
	}
}

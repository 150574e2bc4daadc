// The texts that others write and this package reads.

package boot_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/boot"
)

func TestWhereAGrubCfgLeads(t *testing.T) {
	const debian = "search.fs_uuid " + rootUUID + " root hd0,gpt2\nset prefix=($root)'/@rootfs/boot/grub'\nconfigfile $prefix/grub.cfg\n"
	for name, c := range map[string]struct{ text, want string }{
		"Debian": {debian, rootUUID + "/@rootfs/boot/grub/grub.cfg false"},
		"Fedora": {"search --no-floppy --root-dev-only --fs-uuid --set=dev " + bootUUID + "\nset prefix=($dev)/grub2\nexport $prefix\nconfigfile $prefix/grub.cfg\n",
			bootUUID + "/grub2/grub.cfg false"},
		"openSUSE": {"set btrfs_relative_path=\"yes\"\nsearch --fs-uuid --set=root " + rootUUID + "\nset prefix=(${root})/boot/grub2\nsource \"${prefix}/grub.cfg\"\n",
			rootUUID + "/boot/grub2/grub.cfg true"},
		"an absolute path":     {"search -u " + rootUUID + "\nconfigfile /boot/grub/grub.cfg\n", rootUUID + "/boot/grub/grub.cfg false"},
		"a menu":               {"menuentry x {\n" + debian + "}\n", ""},
		"a search by file":     {"search --file --set=root /x-y\nconfigfile /boot/grub/grub.cfg\n", ""},
		"a fixed device":       {"set root=hd0,gpt2\nconfigfile /boot/grub/grub.cfg\n", ""},
		"another file":         {strings.Replace(debian, "/grub.cfg", "/custom.cfg", 1), ""},
		"a device without end": {"configfile (" + rootUUID + "/grub.cfg\n", ""},
		"nothing":              {"", ""},
	} {
		if got := boot.StubOf([]byte(c.text)); got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func FuzzWhereAGrubCfgLeads(f *testing.F) {
	f.Add([]byte("search.fs_uuid a-b root\nset prefix=($root)'/x'\nconfigfile $prefix/grub.cfg\n"))
	f.Add([]byte("search --set=root --fs-uuid\nset =\n. ${}/grub.cfg"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if got := boot.StubOf(text); strings.Contains(got, "/../") {
			t.Errorf("it leads out of its file system: %q", got)
		}
	})
}

func TestFstabIsAddedTo(t *testing.T) {
	const mark = "# GRUB's files are in no snapshot (txctl setup).\n"
	for old, want := range map[string]string{
		"":                                     mark + "UUID=id /boot/grub btrfs subvol=@txupd-grub 0 0\n",
		"UUID=x / btrfs defaults,subvol=@ 0 0": "UUID=x / btrfs defaults,subvol=@ 0 0\n" + mark + "UUID=x /boot/grub btrfs subvol=@txupd-grub 0 0\n",
		"LABEL=l\t/\tbtrfs\tro,ssd,x-y,subvolid=5": "LABEL=l\t/\tbtrfs\tro,ssd,x-y,subvolid=5\n" + mark + "LABEL=l /boot/grub btrfs ssd,subvol=@txupd-grub 0 0\n",
	} {
		got := boot.WithGRUB(old, "/boot/grub", "id")
		if got != want {
			t.Errorf("%q became %q", old, got)
		}
		if again := boot.WithGRUB(got, "/boot/grub", "id"); again != got {
			t.Errorf("%q: twice it is %q", old, again)
		}
	}
}

func TestOnlyOurOwnEntriesAreRemoved(t *testing.T) {
	for _, name := range []string{"txupd-0.conf", "txupd-7.conf", "txupd-7-trial.conf", "txupd-7-trial+3.conf", "txupd-7-trial+0-3.conf", "txupd-7-else.conf"} {
		if !boot.IsOwnEntry(name) {
			t.Errorf("%s is not known", name)
		}
	}
	for _, name := range []string{
		"txupd-.conf", "txupd-07.conf", "txupd-7", "txupd-7.conf.bak", "txupd-x.conf", "txupd-7-other.conf", "txupd-7+3.conf", "txupd-7-else+1.conf", "xtxupd-7.conf",
		"txupd-18446744073709551616.conf", "txupd--1.conf", "txupd-7-trial-trial.conf", "7.conf", "-trial.conf",
	} {
		if boot.IsOwnEntry(name) {
			t.Errorf("%s would be removed", name)
		}
	}
}

func TestABootThatIsASubvolumeIsReadFromTheTopLevel(t *testing.T) {
	f := newFake(t)
	f.mount("/boot", "/dev/vda2", "btrfs", rootUUID, "/@boot")
	f.write("boot/grub/grub.cfg", hooked)
	kernel(t, f.root, "6.12.1")
	k := stage(t, f.boot(), f.root)
	if want := "/@boot/txupd/"; k.BootUUID != rootUUID || !strings.HasPrefix(k.Kernel, want) || !strings.HasPrefix(k.Initrd[0], want) {
		t.Errorf("staged %+v", k)
	}
	if in := must[boot.Kernel](t)(f.boot().InPlace(f.root)); fmt.Sprint(in) != fmt.Sprint(boot.Kernel{
		Version: "6.12.1", Kernel: "/@boot/vmlinuz-6.12.1", Initrd: []string{"/@boot/initrd.img-6.12.1"}, BootUUID: rootUUID,
	}) {
		t.Errorf("in place %+v", in)
	}
}

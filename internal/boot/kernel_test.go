// Which kernel a root boots.

package boot_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/internal/fault"
)

// root makes a root of files; "-> target" makes a link.
func root(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		ok(t, os.MkdirAll(filepath.Dir(file), 0o755))
		if target, link := strings.CutPrefix(text, "-> "); link {
			ok(t, os.Symlink(target, file))
			continue
		}
		ok(t, os.WriteFile(file, []byte(text), 0o644))
	}
	return dir
}

func TestFindTakesTheNewestKernelThatCanBoot(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  boot.Kernel
		err   error
		words string
	}{
		"Debian": {map[string]string{
			"boot/vmlinuz-6.1.0-9-amd64": "k", "boot/initrd.img-6.1.0-9-amd64": "i", "lib/modules/6.1.0-9-amd64/x": "",
			"boot/vmlinuz-6.1.0-13-amd64": "k", "boot/initrd.img-6.1.0-13-amd64": "i", "lib/modules/6.1.0-13-amd64/x": "",
			"vmlinuz": "-> boot/vmlinuz-6.1.0-9-amd64",
		}, boot.Kernel{Version: "6.1.0-13-amd64", Kernel: "boot/vmlinuz-6.1.0-13-amd64", Initrd: []string{"boot/initrd.img-6.1.0-13-amd64"}}, nil, ""},
		"openSUSE, whose kernels are links": {map[string]string{
			"boot/vmlinuz-6.9-default": "-> ../usr/lib/modules/6.9-default/vmlinuz", "usr/lib/modules/6.9-default/vmlinuz": "k",
			"boot/initrd-6.9-default": "i", "lib": "-> usr/lib",
		}, boot.Kernel{Version: "6.9-default", Kernel: "usr/lib/modules/6.9-default/vmlinuz", Initrd: []string{"boot/initrd-6.9-default"}}, nil, ""},
		"Fedora": {map[string]string{
			"boot/vmlinuz-6.9.5-200.fc40.x86_64": "k", "boot/initramfs-6.9.5-200.fc40.x86_64.img": "i", "usr/lib/modules/6.9.5-200.fc40.x86_64/x": "",
			"boot/vmlinuz-0-rescue-abc": "k", "boot/initramfs-0-rescue-abc.img": "i",
		}, boot.Kernel{Version: "6.9.5-200.fc40.x86_64", Kernel: "boot/vmlinuz-6.9.5-200.fc40.x86_64", Initrd: []string{"boot/initramfs-6.9.5-200.fc40.x86_64.img"}}, nil, ""},
		"an uncompressed kernel, and microcode": {map[string]string{
			"boot/Image-6.6": "k", "boot/initrd-6.6": "i", "boot/intel-ucode.img": "u", "usr/lib/modules/6.6/x": "",
		}, boot.Kernel{Version: "6.6", Kernel: "boot/Image-6.6", Initrd: []string{"boot/intel-ucode.img", "boot/initrd-6.6"}}, nil, ""},
		"an absolute link": {map[string]string{
			"boot/vmlinuz-1": "-> /usr/lib/modules/1/vmlinuz", "usr/lib/modules/1/vmlinuz": "k", "boot/initrd-1": "i",
		}, boot.Kernel{Version: "1", Kernel: "usr/lib/modules/1/vmlinuz", Initrd: []string{"boot/initrd-1"}}, nil, ""},
		"nothing":                  {map[string]string{"boot/grub/grub.cfg": "x"}, boot.Kernel{}, boot.ErrNoKernel, ""},
		"no /boot":                 {nil, boot.Kernel{}, boot.ErrNoKernel, ""},
		"a link that is out":       {map[string]string{"boot/vmlinuz-1": "-> ../../../../../../etc/hostname", "lib/modules/1/x": ""}, boot.Kernel{}, boot.ErrNoKernel, ""},
		"a kernel without modules": {map[string]string{"boot/vmlinuz-7": "k", "boot/initrd-7": "i"}, boot.Kernel{}, boot.ErrIncomplete, "boot/vmlinuz-7 has no /lib/modules/7"},
		"a kernel without a ramdisk": {map[string]string{
			"boot/vmlinuz-7": "k", "lib/modules/7/x": "", "boot/vmlinuz-6": "k", "lib/modules/6/x": "", "boot/initrd-6": "i",
		}, boot.Kernel{}, boot.ErrIncomplete, "kernel 7 has no initial ramdisk"},
		"a ramdisk without content": {map[string]string{"boot/vmlinuz-7": "k", "lib/modules/7/x": "", "boot/initrd-7": ""}, boot.Kernel{}, boot.ErrIncomplete, "boot/initrd-7 is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := boot.Find(root(t, c.files))
			if !errors.Is(err, c.err) || err != nil && !strings.Contains(err.Error(), c.words) {
				t.Fatalf("error %v", err)
			}
			if err != nil {
				return
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheRunningKernelIsNamedWhereTheLoaderFindsIt(t *testing.T) {
	f := debian(t)
	kernel(t, f.root, "6.12.1")
	got := must[boot.Kernel](t)(f.boot().InPlace(f.root))
	want := boot.Kernel{Version: "6.12.1", Kernel: "boot/vmlinuz-6.12.1", Initrd: []string{"boot/initrd.img-6.12.1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	f = newFake(t)
	f.mount("/boot", "/dev/vda3", "ext4", bootUUID, "/")
	f.write("boot/grub/grub.cfg", hooked)
	kernel(t, f.root, "6.12.1")
	got = must[boot.Kernel](t)(f.boot().InPlace(f.root))
	want = boot.Kernel{Version: "6.12.1", Kernel: "/vmlinuz-6.12.1", Initrd: []string{"/initrd.img-6.12.1"}, BootUUID: bootUUID}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	// A ramdisk elsewhere than its kernel cannot be named by one file system.
	f.mount("/usr", "/dev/vda4", "ext4", "aaaaaaaa-1111-4222-8333-444455556666", "/")
	ok(t, os.Remove(f.path("boot/initrd.img-6.12.1")))
	f.write("usr/initrd", "i")
	ok(t, os.Symlink("/usr/initrd", f.path("boot/initrd.img-6.12.1")))
	if _, err := f.boot().InPlace(f.root); !errors.Is(err, fault.ErrNotSupported) {
		t.Errorf("%v", err)
	}
}

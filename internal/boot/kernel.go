// The kernel of a root: the newest that can boot it, with its modules and its
// initial ramdisks.

package boot

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/pkgmgr"
)

// Errors of Find.
var (
	// ErrNoKernel: the root has no kernel at all.
	ErrNoKernel = errors.New("no kernel in /boot")
	// ErrIncomplete: a kernel lacks what it cannot boot without.
	ErrIncomplete = errors.New("the kernel is incomplete")
)

// Kernel is what a snapshot boots.
type Kernel struct {
	Version string // the name below /lib/modules
	// Kernel and Initrd are paths in the snapshot, or in the file system BootUUID where that is set.
	Kernel   string
	Initrd   []string // in the order in which they are loaded
	BootUUID string
}

// kernelNames are what kernels are called before their version, on every architecture.
var kernelNames = []string{"vmlinuz-", "vmlinux-", "Image-"}

// initrdNames are what initial ramdisks are called around the version: by
// initramfs-tools, dracut on SUSE, dracut on Fedora.
func initrdNames(version string) []string {
	return []string{"initrd.img-" + version, "initrd-" + version, "initramfs-" + version + ".img"}
}

// microcode are the ramdisks for every kernel that grub-mkconfig puts first.
var microcode = []string{
	"intel-uc.img", "intel-ucode.img", "amd-uc.img", "amd-ucode.img", "early_ucode.cpio", "microcode.cpio",
}

// Find is the newest kernel in root/boot that has its modules in the same root,
// with its initial ramdisks. Paths have no links in them, and never lead out of
// root. It is ErrNoKernel or ErrIncomplete where there is none that can boot.
func Find(root string) (Kernel, error) {
	t, err := openTree(root)
	if err != nil {
		return Kernel{}, fmt.Errorf("cannot find the kernel: %w", err)
	}
	defer t.Close()
	k, err := find(t)
	if err != nil {
		return Kernel{}, fmt.Errorf("cannot find the kernel of %s: %w", root, err)
	}
	return k, nil
}

func find(t *tree) (Kernel, error) {
	images, err := images(t)
	if err != nil {
		return Kernel{}, err
	}
	newest, without := "", ""
	for version := range images {
		if hasModules(t, version) {
			newest = newer(newest, version)
		} else {
			without = newer(without, version)
		}
	}
	switch {
	case newest == "" && without == "":
		return Kernel{}, ErrNoKernel
	case newest == "":
		return Kernel{}, fmt.Errorf("%w: %s has no /lib/modules/%s", ErrIncomplete, images[without], without)
	}
	k := Kernel{Version: newest}
	if k.Kernel, err = regular(t, images[newest]); err != nil {
		return Kernel{}, err
	}
	k.Initrd, err = initrds(t, newest)
	return k, err
}

// images are the kernels by their versions.
func images(t *tree) (map[string]string, error) {
	names, err := t.names("boot")
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, prefix := range kernelNames {
		for _, name := range names {
			version, ok := strings.CutPrefix(name, prefix)
			if !ok || version == "" || found[version] != "" || !t.isFile("boot/"+name) {
				continue
			}
			found[version] = "boot/" + name
		}
	}
	return found, nil
}

func hasModules(t *tree, version string) bool {
	return t.isDir("lib/modules/"+version) || t.isDir("usr/lib/modules/"+version)
}

func newer(a, b string) string {
	// Kernel versions order alike in every distribution.
	if a == "" || pkgmgr.CompareVersions(b, a) > 0 {
		return b
	}
	return a
}

// initrds are the ramdisks of a version, microcode first. One of its own is
// needed: a kernel cannot find a root by its uuid without.
func initrds(t *tree, version string) ([]string, error) {
	var found []string
	for _, name := range microcode {
		if t.isFile("boot/" + name) {
			file, err := regular(t, "boot/"+name)
			if err != nil {
				return nil, err
			}
			found = append(found, file)
		}
	}
	for _, name := range initrdNames(version) {
		if t.isFile("boot/" + name) {
			file, err := regular(t, "boot/"+name)
			return append(found, file), err
		}
	}
	return nil, fmt.Errorf("%w: kernel %s has no initial ramdisk (looked for %s in /boot)", ErrIncomplete, version, strings.Join(initrdNames(version), ", "))
}

// regular is where a file of some content really lies.
func regular(t *tree, name string) (string, error) {
	real, err := t.resolve(name)
	if err != nil {
		return "", err
	}
	f, info, err := t.file(real)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info.Size() == 0 {
		return "", fmt.Errorf("%w: %s is empty", ErrIncomplete, name)
	}
	return real, nil
}

// InPlace is the kernel of the running root where it lies, without a copy: in
// the root, or on the boot partition. It is fault.ErrNotSupported where the
// loader does not read it there; Stage copies it.
func (b *Boot) InPlace(root string) (Kernel, error) {
	k, err := Find(root)
	if err != nil {
		return Kernel{}, err
	}
	ctx := context.Background()
	s, err := b.look(ctx)
	if err != nil {
		return Kernel{}, err
	}
	defer s.Close()
	files := append([]string{k.Kernel}, k.Initrd...)
	on := s.mounts.over(filepath.Join(root, files[0]))
	for i, file := range files {
		at := filepath.Join(root, file)
		m := s.mounts.over(at)
		if m == nil || m != on {
			return Kernel{}, fmt.Errorf("%w: %s and %s do not lie on one file system", fault.ErrNotSupported, k.Kernel, file)
		}
		if s.usesSystemdBoot() && m != s.systemd.boot {
			return Kernel{}, fmt.Errorf("%w: systemd-boot does not read %s", fault.ErrNotSupported, at)
		}
		if m.Mountpoint != s.root.Mountpoint {
			files[i] = inside(m, at)
		}
	}
	if on.Mountpoint != s.root.Mountpoint {
		if k.BootUUID, err = s.uuid(ctx, on); err != nil {
			return Kernel{}, err
		}
	}
	k.Kernel, k.Initrd = files[0], files[1:]
	return k, nil
}

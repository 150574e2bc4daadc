// Small roots in the subvolume layouts that distributions install.

package testbed

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Layouts are the names that Layout knows.
var Layouts = []string{"opensuse", "opensuse-ro", "flat", "fedora", "debian"}

// layout says where the parts of a system lie, from the top level.
type layout struct {
	root      string
	snapshots string
	shared    map[string]string // subvolume → where it is mounted in the root
	nested    []string          // subvolumes inside the root
	sealed    bool
	osRelease string
}

func layoutOf(name string) (layout, error) {
	suse := layout{
		root:      "@/.snapshots/1/snapshot",
		snapshots: "@/.snapshots",
		shared: map[string]string{
			"@/home": "home", "@/root": "root", "@/srv": "srv", "@/var/cache": "var/cache", "@/var/log": "var/log", "@/var/tmp": "var/tmp",
		},
		osRelease: "ID=opensuse-tumbleweed\nID_LIKE=\"opensuse suse\"\nPRETTY_NAME=\"openSUSE Tumbleweed\"\n",
	}
	suseSealed := suse
	suseSealed.nested, suseSealed.sealed = []string{"etc"}, true
	suseSealed.osRelease = "ID=opensuse-microos\nID_LIKE=\"opensuse suse\"\nPRETTY_NAME=\"openSUSE MicroOS\"\n"
	known := map[string]layout{
		"opensuse":    suse,
		"opensuse-ro": suseSealed,
		"flat": {
			root: "@", snapshots: "@snapshots", shared: map[string]string{"@home": "home"},
			osRelease: "ID=arch\nPRETTY_NAME=\"Arch Linux\"\n",
		},
		"fedora": {
			root: "root", snapshots: "snapshots", shared: map[string]string{"home": "home"},
			osRelease: "ID=fedora\nPRETTY_NAME=\"Fedora Linux\"\n",
		},
		"debian": {
			root: "@rootfs", snapshots: "@snapshots",
			osRelease: "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux\"\n",
		},
	}
	l, ok := known[name]
	if !ok {
		return layout{}, fmt.Errorf("no layout %q; there are %s", name, strings.Join(Layouts, ", "))
	}
	return l, nil
}

// Layout builds a small system in one of Layouts on a fresh Loop and returns
// where its root, the default subvolume, is mounted. `.snapshots` and the
// shared trees are mounted in it. In "opensuse-ro" the root is sealed and holds
// a writable subvolume /etc.
func Layout(t testing.TB, name string) string {
	t.Helper()
	l, err := layoutOf(name)
	if err != nil {
		t.Fatal(err)
	}
	top := Loop(t, 512)
	root := filepath.Join(filepath.Dir(top), "root")
	if err := l.install(t.Context(), Device(t, top), top, root, l.fill); err != nil {
		t.Fatalf("cannot install the layout %s: %v", name, err)
	}
	return root
}

// install makes the subvolumes of the layout below top, mounts them at root as a
// boot would, lets fill write the system there, and makes it the default.
func (l layout) install(ctx context.Context, device, top, root string, fill func(root string) error) error {
	paths := append([]string{l.snapshots, l.root}, slices.Sorted(maps.Keys(l.shared))...)
	for _, nested := range l.nested {
		paths = append(paths, filepath.Join(l.root, nested))
	}
	for _, path := range paths {
		if err := subvolume(ctx, top, path); err != nil {
			return err
		}
	}
	if l.root == "@/.snapshots/1/snapshot" {
		if err := os.WriteFile(filepath.Join(top, "@/.snapshots/1/info.xml"), []byte(snapperFirst), 0o644); err != nil {
			return err
		}
	}
	if err := mount(device, root, "subvol="+l.root); err != nil {
		return err
	}
	for at, from := range l.mounts() {
		if err := mount(device, filepath.Join(root, at), "subvol="+from); err != nil {
			return err
		}
	}
	if err := fill(root); err != nil {
		return err
	}
	if err := writeTree(root, map[string]string{"/etc/fstab": l.fstab()}); err != nil {
		return err
	}
	if l.sealed {
		if err := run(ctx, "btrfs", "property", "set", "-ts", root, "ro", "true"); err != nil {
			return err
		}
	}
	return run(ctx, "btrfs", "subvolume", "set-default", root)
}

// mounts are the subvolumes by where they are mounted in the root.
func (l layout) mounts() map[string]string {
	mounts := map[string]string{".snapshots": l.snapshots}
	for from, at := range l.shared {
		mounts[at] = from
	}
	return mounts
}

func (l layout) fstab() string {
	text := "LABEL=" + label + " / btrfs noatime 0 0\n"
	mounts := l.mounts()
	for _, at := range slices.Sorted(maps.Keys(mounts)) {
		text += fmt.Sprintf("LABEL=%s /%s btrfs noatime,subvol=/%s 0 0\n", label, at, mounts[at])
	}
	return text
}

// snapperFirst is what openSUSE's installer leaves for the root that it made.
const snapperFirst = `<?xml version="1.0"?>
<snapshot>
  <type>single</type>
  <num>1</num>
  <date>2024-05-01 10:00:00</date>
  <description>first root filesystem</description>
</snapshot>
`

// subvolume makes a subvolume, and plain directories above it where there is
// nothing yet but for a leading "@", which is a subvolume everywhere.
func subvolume(ctx context.Context, top, path string) error {
	if rest, ok := strings.CutPrefix(path, "@/"); ok && rest != "" {
		if _, err := os.Lstat(filepath.Join(top, "@")); err != nil {
			if err := run(ctx, "btrfs", "-q", "subvolume", "create", filepath.Join(top, "@")); err != nil {
				return err
			}
		}
	}
	full := filepath.Join(top, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	return run(ctx, "btrfs", "-q", "subvolume", "create", full)
}

// fill writes a root that is small but looks like one.
func (l layout) fill(root string) error {
	for _, dir := range []string{
		".snapshots", "boot", "dev", "etc", "home", "proc", "root", "run", "sys", "tmp",
		"usr/bin", "usr/lib", "usr/share/doc", "var/cache", "var/lib", "var/log",
	} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.Symlink("usr/bin", filepath.Join(root, "bin")); err != nil {
		return err
	}
	return writeTree(root, map[string]string{
		"/etc/os-release": l.osRelease,
		"/etc/hostname":   "testbed\n",
		"/usr/bin/hello":  "#!/bin/sh\necho hello\n",
		"/var/lib/state":  "state\n",
	})
}

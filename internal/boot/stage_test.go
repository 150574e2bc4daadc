// Kernels on a boot partition of their own.

package boot_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/internal/boot"
)

// separate is a machine whose /boot is a partition, with a kernel on it.
func separate(t *testing.T) *fake {
	t.Helper()
	f := newFake(t)
	f.mount("/boot", "/dev/vda3", "ext4", bootUUID, "/")
	f.write("boot/grub/grub.cfg", hooked)
	kernel(t, f.root, "6.12.1")
	return f
}

func stage(t *testing.T, b *boot.Boot, root string) boot.Kernel {
	t.Helper()
	return must[boot.Kernel](t)(b.Stage(t.Context(), root, must[boot.Kernel](t)(boot.Find(root))))
}

func TestStageCopiesByContent(t *testing.T) {
	f := separate(t)
	b := f.boot()
	one, two := t.TempDir(), t.TempDir()
	kernel(t, one, "6.12.1")
	kernel(t, two, "6.12.1")
	ok(t, os.WriteFile(filepath.Join(two, "boot/initrd.img-6.12.1"), []byte("another ramdisk"), 0o644))
	first := stage(t, b, one)
	second := stage(t, b, two)
	if first.BootUUID != bootUUID || first.Kernel != second.Kernel || first.Initrd[0] == second.Initrd[0] || first.Version != "6.12.1" {
		t.Errorf("staged %+v and %+v", first, second)
	}
	for file, want := range map[string]string{first.Kernel: "kernel 6.12.1", first.Initrd[0]: "initrd 6.12.1", second.Initrd[0]: "another ramdisk"} {
		if !strings.HasPrefix(file, "/txupd/") || f.read("boot"+file) != want {
			t.Errorf("%s holds %q", file, f.read("boot"+file))
		}
	}
	if got := f.names("boot/txupd"); len(got) != 3 {
		t.Errorf("there are %q", got)
	}
	// The entry is one that a menu accepts.
	m := menu(7)
	m.Entries[0].Kernel, m.Entries[0].Initrd, m.Entries[0].BootUUID = first.Kernel, first.Initrd, first.BootUUID
	ok(t, b.Switch(t.Context(), m))
}

func TestStageRepairsWhatIsDamaged(t *testing.T) {
	f := separate(t)
	b := f.boot()
	first := stage(t, b, f.root)
	for _, damage := range []string{"", "kernel 6.12.", "kernel 6.12.x"} {
		f.write("boot"+first.Kernel, damage)
		if again := stage(t, b, f.root); again.Kernel != first.Kernel || f.read("boot"+first.Kernel) != "kernel 6.12.1" {
			t.Errorf("%q stayed", damage)
		}
	}
}

func TestStageInTheRootCopiesNothing(t *testing.T) {
	f := debian(t)
	kernel(t, f.root, "6.12.1")
	k := must[boot.Kernel](t)(boot.Find(f.root))
	got := must[boot.Kernel](t)(f.boot().Stage(t.Context(), f.root, k))
	if diff := cmp.Diff(k, got); diff != "" {
		t.Error(diff)
	}
	ok(t, f.boot().Room(t.Context(), f.root))
	ok(t, f.boot().Sweep(t.Context(), nil))
	ok(t, f.boot().Populate(t.Context(), t.TempDir()))
}

func TestStageHeedsCancellation(t *testing.T) {
	f := separate(t)
	k := must[boot.Kernel](t)(boot.Find(f.root))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.boot().Stage(ctx, f.root, k); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if got := f.names("boot/txupd"); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
}

func TestSweepRemovesWhatNobodyNeedsAndNothingElse(t *testing.T) {
	f := separate(t)
	b := f.boot()
	kept, listed, old := t.TempDir(), t.TempDir(), t.TempDir()
	var staged []boot.Kernel
	for _, dir := range []string{kept, listed, old} {
		kernel(t, dir, "6.12.1")
		ok(t, os.WriteFile(filepath.Join(dir, "boot/initrd.img-6.12.1"), []byte(dir), 0o644))
		staged = append(staged, stage(t, b, dir))
	}
	m := menu(7)
	m.Entries[0].Kernel, m.Entries[0].Initrd, m.Entries[0].BootUUID = staged[1].Kernel, staged[1].Initrd, bootUUID
	ok(t, b.Switch(t.Context(), m))
	f.write("boot/txupd/"+strings.Repeat("a", 64)+"-other", "x")
	f.write("boot/txupd/notes", "x")
	f.write("boot/txupd/."+strings.Repeat("b", 64)+"-initrd.txupd-new", "half")
	ok(t, b.Sweep(t.Context(), staged[:1]))
	want := []string{strings.Repeat("a", 64) + "-other", "notes"}
	for _, k := range staged[:2] {
		want = append(want, filepath.Base(k.Initrd[0]))
	}
	want = append(want, filepath.Base(staged[0].Kernel))
	got := map[string]bool{}
	for _, name := range f.names("boot/txupd") {
		got[name] = true
	}
	for _, name := range want {
		if !got[name] {
			t.Errorf("%s is gone", name)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("still there: %v", got)
	}
	// When the last snapshot that needs them goes, so do they.
	ok(t, b.Switch(t.Context(), menu(8)))
	ok(t, b.Sweep(t.Context(), nil))
	if got := f.names("boot/txupd"); len(got) != 2 {
		t.Errorf("still there: %q", got)
	}
}

// TestSweepRemovesWhatACrashKeptFromBeingRenamed wherever the loader's files are.
func TestSweepRemovesWhatACrashKeptFromBeingRenamed(t *testing.T) {
	for name, c := range map[string]struct {
		machine func(*testing.T) *fake
		halves  []string
	}{
		"GRUB in the root":     {debian, []string{"boot/grub/.txupd.cfg.txupd-new"}},
		"GRUB on a partition":  {separate, []string{"boot/grub/.txupd.cfg.txupd-new", "boot/grub/.txupd.env.txupd-new"}},
		"a counter on the ESP": {func(t *testing.T) *fake { f := debian(t); f.esp(); return f }, []string{"boot/efi/EFI/txupd/.grubenv.txupd-new"}},
		"systemd-boot":         {sdboot, []string{"efi/loader/.loader.conf.txupd-new", "efi/loader/entries/.txupd-7.conf.txupd-new"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := c.machine(t)
			for _, half := range c.halves {
				f.write(half, "half")
				f.write(filepath.Join(filepath.Dir(half), ".other-new"), "not ours")
			}
			ok(t, f.boot().Sweep(t.Context(), nil))
			for _, half := range c.halves {
				if _, err := os.Lstat(f.path(half)); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s is left: %v", half, err)
				}
				if f.read(filepath.Join(filepath.Dir(half), ".other-new")) != "not ours" {
					t.Errorf("what is not ours beside %s is gone", half)
				}
			}
		})
	}
}

func TestPopulateShowsTheKernelsWhoseModulesAreThere(t *testing.T) {
	f := separate(t)
	kernel(t, f.root, "6.12.2")
	snapshot := t.TempDir()
	for _, dir := range []string{"boot", "usr/lib/modules/6.12.1"} {
		ok(t, os.MkdirAll(filepath.Join(snapshot, dir), 0o755))
	}
	ok(t, os.WriteFile(filepath.Join(snapshot, "boot/config-6.12.1"), []byte("its own"), 0o644))
	ok(t, f.boot().Populate(t.Context(), snapshot))
	got := map[string]string{}
	for _, e := range must[[]os.DirEntry](t)(os.ReadDir(filepath.Join(snapshot, "boot"))) {
		text := must[[]byte](t)(os.ReadFile(filepath.Join(snapshot, "boot", e.Name())))
		got[e.Name()] = string(text)
	}
	want := map[string]string{
		"vmlinuz-6.12.1": "kernel 6.12.1", "initrd.img-6.12.1": "initrd 6.12.1", "System.map-6.12.1": "map 6.12.1", "config-6.12.1": "its own",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if k := must[boot.Kernel](t)(boot.Find(snapshot)); k.Version != "6.12.1" {
		t.Errorf("it boots %s", k.Version)
	}
}

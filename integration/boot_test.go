// Where the boot loader has a menu of ours: what a commit, a rollback, a
// deletion make of it, on a loop device. Booting it is the machine suite's.

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/txupd/txupd/internal/btrfs"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/grubcfg"
	"github.com/txupd/txupd/pkg/journal/record"
)

const (
	kernelVersion = "6.1.0-1-amd64"
	booted        = "BOOT_IMAGE=/boot/vmlinuz root=UUID=x rootflags=subvol=@rootfs ro quiet"
)

// withGRUB makes a machine whose GRUB has a menu that loads ours, as `txctl
// setup` leaves it; extX where /boot is an ext4 partition of so many MiB, else
// GRUB's files are in a subvolume of their own.
func withGRUB(t *testing.T, partition int, o options) *system {
	t.Helper()
	o.layout, o.daemon = "debian", append([]string{"--command-line", booted}, o.daemon...)
	o.prepare = func(root string) error { return withKernel(root, kernelVersion, partition == 0) }
	s := newSystem(t, o)
	boot := filepath.Join(s.machine.Root, "boot")
	if partition == 0 {
		at := filepath.Join(s.machine.Top, "@grub")
		if err := (btrfs.Driver{}).Create(at); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(s.machine.Root, "boot/grub/keep"), "")
		testbed.Mount(t, s.machine.Device, filepath.Join(boot, "grub"), "subvol=@grub")
	} else {
		testbed.Ext4(t, boot, partition)
		for name, text := range kernelFiles(kernelVersion) {
			write(t, filepath.Join(boot, name), text)
		}
	}
	write(t, filepath.Join(boot, "grub/grub.cfg"), "set default=0\nif [ -s \"${prefix}/txupd.cfg\" ]; then\n  source \"${prefix}/txupd.cfg\"\nfi\n")
	return s
}

func kernelFiles(version string) map[string]string {
	return map[string]string{
		"vmlinuz-" + version:    "kernel " + version + strings.Repeat("k", 1<<20),
		"initrd.img-" + version: "initrd " + version + strings.Repeat("i", 2<<20),
	}
}

// withKernel gives root what boots: modules, what gives a boot its verdict, and the kernel where /boot is part of the root.
func withKernel(root, version string, inside bool) error {
	files := map[string]string{
		"usr/lib/modules/" + version + "/modules.dep": "",
		"usr/libexec/txupd":                           "",
	}
	if inside {
		for name, text := range kernelFiles(version) {
			files["boot/"+name] = text
		}
	}
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	wants := filepath.Join(root, "etc/systemd/system/multi-user.target.wants")
	if err := os.MkdirAll(wants, 0o755); err != nil {
		return err
	}
	return os.Symlink("/usr/lib/systemd/system/txupd-boot-verdict.service", filepath.Join(wants, "txupd-boot-verdict.service"))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (s *system) bootPath(name string) string { return filepath.Join(s.machine.Root, "boot", name) }

// menu reads what GRUB would, and sees that it agrees with the default subvolume.
func (s *system) menu() (grubcfg.Summary, string) {
	s.t.Helper()
	text, err := os.ReadFile(s.bootPath("grub/txupd.cfg"))
	if err != nil {
		s.t.Fatal(err)
	}
	m, err := grubcfg.ParseMenu(text)
	if err != nil {
		s.t.Fatal(err)
	}
	id, err := (btrfs.Driver{}).Default(s.machine.Root)
	if err != nil {
		s.t.Fatal(err)
	}
	sub, err := (btrfs.Driver{}).ByID(s.machine.Root, id)
	if err != nil {
		s.t.Fatal(err)
	}
	want := "@rootfs"
	if m.Default != 0 {
		want = fmt.Sprintf("/%d/snapshot", m.Default)
	}
	if !strings.HasSuffix(sub.Path, want) {
		s.t.Errorf("the menu boots %d, the default subvolume is %s", m.Default, sub.Path)
	}
	return m, string(text)
}

// staged lists the kernels on the boot partition that are ours.
func (s *system) staged() []string {
	s.t.Helper()
	names, err := filepath.Glob(s.bootPath("txupd/*"))
	if err != nil {
		s.t.Fatal(err)
	}
	return names
}

// killDaemon ends the daemon; the next call starts another.
func (s *system) killDaemon() {
	s.t.Helper()
	if pid := s.daemonPID(); pid != 0 {
		kill(s.t, pid, syscall.SIGKILL)
		s.eventually("the daemon ends", func() bool { return s.daemonPID() != pid })
	}
}

func TestCommitSwitchesTheBootMenu(t *testing.T) {
	s := withGRUB(t, 0, options{})
	doc := document[bus.Doctor](s, "doctor")
	if doc.CommitPoint != "boot-menu" || !doc.Hooked || slices.ContainsFunc(doc.Problems, func(p bus.Problem) bool { return p.Blocks }) {
		t.Fatalf("doctor: %+v", doc)
	}
	s.must("run", "-m", "it's the \"first\" $one", "--", "touch", "/usr/first")
	n := s.pending()
	m, text := s.menu()
	if m.Default != n || m.Fallback == nil || *m.Fallback != 0 || !slices.Equal(m.Entries, []uint64{n, 0}) {
		t.Errorf("after a commit of %d the menu is %+v", n, m)
	}
	for _, words := range []string{
		fmt.Sprintf("rootflags=subvol=@snapshots/%d/snapshot", n), fmt.Sprintf("/@snapshots/%d/snapshot/boot/vmlinuz-%s", n, kernelVersion),
		"rootflags=subvol=@rootfs", "/@rootfs/boot/initrd.img-" + kernelVersion, "panic=10",
	} {
		if !strings.Contains(text, words) {
			t.Errorf("the menu does not say %q", words)
		}
	}
	// GRUB cannot write to btrfs, and it is said that nothing is counted.
	if m.Tries != 0 || !strings.Contains(strings.Join(s.status().Warnings, "\n"), "cannot count trial boots") {
		t.Errorf("trial boots: %d tries, warnings %q", m.Tries, s.status().Warnings)
	}

	// They stack, roll back, and go, and the menu follows.
	s.must("run", "--", "touch", "/usr/second")
	if m, _ := s.menu(); m.Default != n+1 || !slices.Equal(m.Entries, []uint64{n + 1, n, 0}) {
		t.Errorf("after a second commit the menu is %+v", m)
	}
	s.must("rollback", fmt.Sprint(n))
	if m, _ := s.menu(); m.Default != n {
		t.Errorf("after a rollback to %d the menu is %+v", n, m)
	}
	s.must("delete", "-y", fmt.Sprint(n+1))
	if m, _ := s.menu(); m.Default != n || !slices.Equal(m.Entries, []uint64{n, 0}) {
		t.Errorf("after a deletion the menu is %+v", m)
	}
	s.must("rollback", "0")
	if m, _ := s.menu(); m.Default != 0 || m.Tries != 0 {
		t.Errorf("after a rollback to the adopted root the menu is %+v", m)
	}
	if st := s.status(); st.Pending != nil || st.RebootRequired {
		t.Errorf("with what runs as the default: %+v", st)
	}
}

// TestAnEntryFollowsTheKernelsOfItsRoot: who upgrades the running system without
// us finds the new kernel in the menu, and no entry for one that is gone.
func TestAnEntryFollowsTheKernelsOfItsRoot(t *testing.T) {
	s := withGRUB(t, 0, options{})
	s.must("run", "--", "touch", "/usr/first")
	for name, text := range kernelFiles("6.2.0") {
		write(t, s.bootPath(name), text)
	}
	write(t, filepath.Join(s.machine.Root, "usr/lib/modules/6.2.0/modules.dep"), "")
	if err := os.Remove(s.bootPath("vmlinuz-" + kernelVersion)); err != nil {
		t.Fatal(err)
	}
	s.killDaemon()
	n := s.pending()
	if m, text := s.menu(); m.Default != n || !strings.Contains(text, "/@rootfs/boot/vmlinuz-6.2.0") || strings.Contains(text, "/@rootfs/boot/vmlinuz-"+kernelVersion) {
		t.Errorf("the menu is %+v\n%s", m, text)
	}
	if rec := s.show(0); rec.Kernel != "6.2.0" || rec.BootEntry.KernelVersion != "6.2.0" {
		t.Errorf("the record of 0: kernel %s, %+v", rec.Kernel, rec.BootEntry)
	}
}

func TestASnapshotWithoutAKernelIsNotCommitted(t *testing.T) {
	s := withGRUB(t, 0, options{})
	s.must("run", "--", "touch", "/usr/first")
	before, _ := s.menu()
	s.untouched("a commit without modules", func() {
		s.expect(125, "modules", "run", "--", "rm", "-r", "/usr/lib/modules/"+kernelVersion)
	})
	if after, _ := s.menu(); after.Default != before.Default {
		t.Errorf("the menu boots %d", after.Default)
	}
}

func TestKernelsOnABootPartition(t *testing.T) {
	s := withGRUB(t, 64, options{})
	s.must("run", "--", "touch", "/usr/first")
	n := s.pending()
	rec := s.show(n)
	if rec.BootEntry == nil || rec.BootEntry.BootUUID == "" || len(s.staged()) != 2 {
		t.Fatalf("the entry is %+v, staged are %q", rec.BootEntry, s.staged())
	}
	if rec.Files.Added != 1 || len(rec.FileChanges) != 1 {
		t.Errorf("the kernels that were put into the snapshot count as changes: %+v", rec.FileChanges)
	}
	if m, _ := s.menu(); m.Tries != 3 || m.Fallback == nil || *m.Fallback != 0 {
		t.Errorf("no trial: %+v", m)
	}
	env := s.environment()
	if got, _ := env.Get(grubcfg.TriesVariable(n)); got != "3" {
		t.Errorf("the counter of %d is %q", n, got)
	}

	// The same kernel is not copied again, another one is, and goes with its last snapshot.
	s.must("run", "--", "touch", "/usr/second")
	if got := s.staged(); len(got) != 2 {
		t.Errorf("staged for the same kernel: %q", got)
	}
	script := "mkdir -p /usr/lib/modules/6.2.0 && cp /boot/initrd.img-* /boot/initrd.img-6.2.0 && echo new > /boot/vmlinuz-6.2.0"
	s.must("run", "--", "sh", "-c", script)
	third := s.pending()
	if got := s.show(third); got.BootEntry.KernelVersion != "6.2.0" || len(s.staged()) != 3 {
		t.Errorf("another kernel with the same ramdisk: %+v, staged %q", got.BootEntry, s.staged())
	}
	s.must("rollback", fmt.Sprint(n))
	s.must("delete", "-y", fmt.Sprint(third))
	if got := s.staged(); len(got) != 2 {
		t.Errorf("after the last snapshot with it is gone: %q", got)
	}
}

func (s *system) environment() *grubcfg.Env {
	s.t.Helper()
	raw, err := os.ReadFile(s.bootPath("grub/txupd.env"))
	if err != nil {
		s.t.Fatal(err)
	}
	env, err := grubcfg.ParseEnv(raw)
	if err != nil {
		s.t.Fatal(err)
	}
	return env
}

func TestAFullBootPartitionIsSeenBefore(t *testing.T) {
	s := withGRUB(t, 16, options{})
	write(t, s.bootPath("ballast"), strings.Repeat("x", 8<<20))
	s.untouched("a transaction without room for its kernel", func() {
		s.expect(125, "MiB", "run", "--", "touch", "/usr/first")
		s.expect(8, "MiB", "begin")
	})
	if exists(s.bootPath("grub/txupd.cfg")) {
		t.Error("there is a menu")
	}
	if err := os.Remove(s.bootPath("ballast")); err != nil {
		t.Fatal(err)
	}
	s.must("run", "--", "touch", "/usr/first")
	n := s.pending()
	// Deleting and going back need no room.
	write(t, s.bootPath("ballast"), strings.Repeat("x", 6<<20))
	s.must("rollback", "0")
	s.must("rollback", fmt.Sprint(n))
	s.must("rollback", "0")
	s.must("delete", "-y", fmt.Sprint(n))
}

func TestWithoutTheHookNothingBegins(t *testing.T) {
	s := withGRUB(t, 0, options{})
	write(t, s.bootPath("grub/grub.cfg"), "set default=0\n")
	s.untouched("a transaction without the hook", func() {
		s.expect(10, "txctl setup", "begin")
	})
	doc := document[bus.Doctor](s, "doctor")
	if doc.Hooked || !slices.ContainsFunc(doc.Problems, func(p bus.Problem) bool { return p.Blocks && strings.Contains(p.Remedy, "txctl setup") }) {
		t.Errorf("doctor: %+v", doc)
	}
}

func TestADamagedMenuIsWrittenAnew(t *testing.T) {
	s := withGRUB(t, 0, options{})
	s.must("run", "--", "touch", "/usr/first")
	n := s.pending()
	write(t, s.bootPath("grub/txupd.cfg"), "set default=txupd-0\n")
	s.killDaemon()
	if got := s.pending(); got != n {
		t.Errorf("%d is pending, not %d", got, n)
	}
	if m, _ := s.menu(); m.Default != n {
		t.Errorf("the menu is %+v", m)
	}
}

// TestTheLoaderGaveATrialUp: the counter is at 0 and something else was booted.
func TestTheLoaderGaveATrialUp(t *testing.T) {
	s := withGRUB(t, 64, options{})
	s.must("run", "--", "touch", "/usr/first")
	n := s.pending()
	env := s.environment()
	if err := env.Set(grubcfg.TriesVariable(n), "1"); err != nil {
		t.Fatal(err)
	}
	write(t, s.bootPath("grub/txupd.env"), string(env.Render()))
	s.killDaemon()
	if got := s.show(n); got.Verdict != record.Untried || s.pending() != n {
		t.Fatalf("with a try left %d is %s", n, got.Verdict)
	}
	if err := env.Set(grubcfg.TriesVariable(n), "0"); err != nil {
		t.Fatal(err)
	}
	write(t, s.bootPath("grub/txupd.env"), string(env.Render()))
	s.killDaemon()
	st := s.status()
	if st.Pending != nil || !strings.Contains(strings.Join(st.Warnings, "\n"), "did not come up in 3 tries") {
		t.Errorf("the status is %+v", st)
	}
	got := s.show(n)
	if got.Verdict != record.Bad || len(got.Boots) != 1 || !got.Boots[0].Left {
		t.Errorf("snapshot %d: verdict %s, boots %+v", n, got.Verdict, got.Boots)
	}
	if m, _ := s.menu(); m.Default != 0 || m.Tries != 0 {
		t.Errorf("the menu is %+v", m)
	}
	s.killDaemon()
	if again := s.show(n); len(again.Boots) != 1 {
		t.Errorf("noted again: %+v", again.Boots)
	}
}

func TestTheLoaderCouldNotLoadAKernel(t *testing.T) {
	s := withGRUB(t, 0, options{daemon: []string{"--command-line", booted + " txupd.fallback=1"}})
	s.must("run", "--", "touch", "/usr/first")
	if n := s.pending(); n != 1 {
		t.Fatalf("the first snapshot is %d", n)
	}
	s.killDaemon()
	if st := s.status(); st.Pending != nil || !strings.Contains(strings.Join(st.Warnings, "\n"), "could not load its kernel") {
		t.Errorf("the status is %+v", st)
	}
	if m, _ := s.menu(); m.Default != 0 {
		t.Errorf("the menu is %+v", m)
	}
	// Somebody who wants it all the same is not overruled by old news.
	s.must("rollback", "1")
	s.killDaemon()
	if got := s.pending(); got != 1 {
		t.Errorf("%d is pending", got)
	}
}

func TestAMenuChangedByOtherHandsIsStale(t *testing.T) {
	s := withGRUB(t, 0, options{})
	s.must("run", "--", "touch", "/usr/first")
	n := s.pending()
	old, err := os.ReadFile(s.bootPath("grub/txupd.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	s.must("run", "--", "touch", "/usr/second")
	s.must("begin")
	write(t, s.bootPath("grub/txupd.cfg"), string(old))
	s.must("exec", fmt.Sprint(n+2), "--", "touch", "/usr/third")
	s.expect(7, "boot menu", "commit", fmt.Sprint(n+2))
	if m, err := grubcfg.ParseMenu(old); err != nil || m.Default != n {
		t.Errorf("the menu is %+v, %v", m, err)
	}
}

func TestRollbackAsCommitted(t *testing.T) {
	for _, layout := range []string{"debian", "opensuse-ro"} {
		t.Run(layout, func(t *testing.T) {
			s := newSystem(t, options{layout: layout})
			s.must("run", "--", "touch", "/usr/first")
			n := s.pending()
			if layout == "debian" {
				write(t, s.inSnapshot(n, "usr/later"), "written while it ran")
			}
			s.must("rollback", "booted")
			doc := document[struct {
				Default     uint64  `json:"default"`
				AsCommitted *uint64 `json:"as_committed"`
			}](s, "rollback", fmt.Sprint(n), "--as-committed")
			if doc.Default <= n || doc.AsCommitted == nil || *doc.AsCommitted != n || s.pending() != doc.Default {
				t.Fatalf("rolled back to %+v, pending is %d", doc, s.pending())
			}
			if !exists(s.inSnapshot(doc.Default, "usr/first")) || exists(s.inSnapshot(doc.Default, "usr/later")) {
				t.Error("the new snapshot is not what the old one was when it was committed")
			}
			if rec := s.show(doc.Default); rec.Parent == nil || *rec.Parent != n || rec.Kind != "rollback" {
				t.Errorf("the record: %+v", rec)
			}
		})
	}
}

func TestBootOnceNeedsALoaderThatForgets(t *testing.T) {
	s := withGRUB(t, 0, options{})
	s.must("run", "--", "touch", "/usr/first")
	s.expect(10, "", "boot-once", "0")

	s = withGRUB(t, 64, options{})
	s.must("run", "--", "touch", "/usr/first")
	s.expect(4, "snapshot 77", "boot-once", "77")
	s.must("boot-once", "0")
	if got, _ := s.environment().Get("txupd_once"); got != "0" {
		t.Errorf("txupd_once is %q", got)
	}
	s.must("boot-once", "--cancel")
	if got, ok := s.environment().Get("txupd_once"); ok && got != "" {
		t.Errorf("taken back, txupd_once is %q", got)
	}
	if m, _ := s.menu(); m.Default != 1 {
		t.Errorf("the default is %d", m.Default)
	}
}

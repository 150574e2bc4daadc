// systemd-boot. The program itself does not run here: a few lines stand in for
// how it orders entries, takes the default and counts.

package boot_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/grubcfg"
)

// sdboot is a machine with systemd-boot on an EFI partition at /efi.
func sdboot(t *testing.T) *fake {
	t.Helper()
	f := newFake(t)
	f.mount("/efi", "/dev/vda1", "vfat", espUUID, "/")
	f.write("efi/EFI/systemd/systemd-bootx64.efi", "program")
	f.write("efi/loader/loader.conf", "# by hand\ntimeout 3\ndefault @saved\neditor no\n")
	f.write("efi/loader/entries/other.conf", "title Other\nlinux /other\n")
	return f
}

// set sets a variable of the firmware.
func (f *fake) set(name, text string) {
	f.t.Helper()
	raw := []byte{7, 0, 0, 0}
	for _, unit := range append(utf16.Encode([]rune(text)), 0) {
		raw = binary.LittleEndian.AppendUint16(raw, unit)
	}
	file := filepath.Join(f.vars, name+"-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f")
	ok(f.t, os.WriteFile(file, raw, 0o644))
}

// starts is which root systemd-boot would boot now: the first entry that
// matches the default, in its order, counted down before it starts.
func (f *fake) starts() string {
	f.t.Helper()
	pattern := ""
	for line := range strings.Lines(f.read("efi/loader/loader.conf")) {
		if words := strings.Fields(line); len(words) == 2 && words[0] == "default" {
			pattern = words[1]
		}
	}
	type entry struct {
		file string
		name grubcfg.BLSName
		grubcfg.BLSEntry
	}
	var entries []entry
	for _, file := range f.names("efi/loader/entries") {
		if strings.HasPrefix(file, ".") {
			f.t.Errorf("left behind: %s", file)
			continue
		}
		name := must[grubcfg.BLSName](f.t)(grubcfg.ParseBLSName(file))
		entries = append(entries, entry{file, name, must[grubcfg.BLSEntry](f.t)(grubcfg.ParseBLS([]byte(f.read("efi/loader/entries/" + file))))})
	}
	bad := func(e entry) int {
		if e.name.Counting && e.name.Left == 0 {
			return 1
		}
		return 0
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if bad(a) != bad(b) {
			return bad(a) - bad(b)
		}
		return strings.Compare(a.SortKey, b.SortKey)
	})
	for _, e := range entries {
		if matched := must[bool](f.t)(path.Match(pattern, e.file)); !matched {
			continue
		}
		if e.name.Counting && e.name.Left > 0 {
			next := e.name
			next.Left, next.Done = next.Left-1, next.Done+1
			ok(f.t, os.Rename(f.path("efi/loader/entries/"+e.file), f.path("efi/loader/entries/"+next.String())))
		}
		_, root, _ := strings.Cut(e.Options, ".snapshots/")
		root, _, _ = strings.Cut(root, "/")
		return root
	}
	return "nothing"
}

// onESP is a menu whose kernels are on the EFI partition.
func onESP(m grubcfg.Menu) grubcfg.Menu {
	for i := range m.Entries {
		m.Entries[i].BootUUID = espUUID
		m.Entries[i].Kernel, m.Entries[i].Initrd = "/txupd/kernel", []string{"/txupd/initrd"}
	}
	return m
}

func TestSystemdBootIsFoundAndCounts(t *testing.T) {
	f := sdboot(t)
	got := must[boot.Facts](t)(f.boot().Probe(t.Context()))
	if got.Mode != boot.FollowsMenu || got.Loader != "systemd-boot" || got.Err() != nil || !got.Counts || !got.Once || got.Counter != nil || got.Boot == nil || got.Boot.Mount != "/efi" {
		t.Errorf("probed %+v", got)
	}
	// What a person chose for every boot comes before any menu.
	f.set("LoaderEntryDefault", "other.conf")
	if err := must[boot.Facts](t)(f.boot().Probe(t.Context())).Err(); err == nil || !strings.Contains(err.Error(), "LoaderEntryDefault (other.conf)") {
		t.Errorf("%v", err)
	}
	var said []string
	ok(t, f.boot().Setup(t.Context(), func(words string) { said = append(said, words) }))
	if len(said) != 2 || must[boot.Facts](t)(f.boot().Probe(t.Context())).Err() != nil {
		t.Errorf("said %q", said)
	}
	f.set("LoaderInfo", "systemd-boot 247.3-7+deb11u4")
	if got := must[boot.Facts](t)(f.boot().Probe(t.Context())); got.Counts || !strings.Contains(got.Why, "older than 250") {
		t.Errorf("probed %+v", got)
	}
}

func TestTheLoaderThatBootedIsTheOneThatCounts(t *testing.T) {
	f := sdboot(t)
	f.mount("/boot/grub", "/dev/vda2", "btrfs", rootUUID, "/@grub")
	f.write("boot/grub/grub.cfg", hooked)
	for info, want := range map[string]string{"": "grub", "GRUB 2.12": "grub", "systemd-boot 257.4": "systemd-boot"} {
		f.set("LoaderInfo", info)
		if got := must[boot.Facts](t)(f.boot().Probe(t.Context())); got.Loader != want {
			t.Errorf("%q: %s", info, got.Loader)
		}
	}
	// One that is not mounted cannot be told anything.
	f = newFake(t)
	f.set("LoaderInfo", "systemd-boot 257.4")
	if got := must[boot.Facts](t)(f.boot().Probe(t.Context())); got.Mode != boot.Unsupported || got.Err() == nil {
		t.Errorf("probed %+v", got)
	}
}

func TestSystemdBootBootsWhatTheMenuSays(t *testing.T) {
	f := sdboot(t)
	b := f.boot()
	if st := must[boot.State](t)(b.State(t.Context())); st.Found {
		t.Errorf("a menu before there was one: %+v", st)
	}
	ok(t, b.Switch(t.Context(), onESP(menu(7, 70, 5))))
	want := boot.State{Found: true, Default: 7, Entries: []uint64{7, 70, 5}}
	if diff := cmp.Diff(want, must[boot.State](t)(b.State(t.Context()))); diff != "" {
		t.Error(diff)
	}
	if got := f.starts(); got != "7" {
		t.Errorf("it starts %s", got)
	}
	if diff := cmp.Diff([]string{"other.conf", "txupd-5.conf", "txupd-7.conf", "txupd-70.conf"}, f.names("efi/loader/entries")); diff != "" {
		t.Error(diff)
	}
	config := f.read("efi/loader/loader.conf")
	for _, line := range []string{"# by hand\n", "timeout 3\n", "editor no\n", "default txupd-7.conf\n"} {
		if !strings.Contains(config, line) {
			t.Errorf("loader.conf has no %q:\n%s", line, config)
		}
	}
	if strings.Contains(config, "@saved") {
		t.Errorf("loader.conf has two defaults:\n%s", config)
	}
	// A snapshot that is gone is gone from the menu, and others' entries stay.
	ok(t, b.Switch(t.Context(), onESP(menu(5, 7))))
	if diff := cmp.Diff([]string{"other.conf", "txupd-5.conf", "txupd-7.conf"}, f.names("efi/loader/entries")); diff != "" {
		t.Error(diff)
	}
	if got := f.starts(); got != "5" || f.read("efi/loader/loader.conf") != strings.NewReplacer(
		`"default":7`, `"default":5`, "[7,70,5]", "[5,7]", "default txupd-7.conf", "default txupd-5.conf").Replace(config) {
		t.Errorf("it starts %s, by\n%s", got, f.read("efi/loader/loader.conf"))
	}
}

func TestSystemdBootFallsBackWhenTheTriesAreUsedUp(t *testing.T) {
	for _, others := range [][]uint64{{7, 5, 0}, {5, 7, 70, 0}} { // the fallback is older, or newer
		f := sdboot(t)
		b := f.boot()
		m := onESP(trial(grubcfg.EnvFile{}, 2, others...))
		ok(t, b.Arm(m.Default, 2))
		ok(t, b.Switch(t.Context(), m))
		want := boot.State{Found: true, Default: m.Default, Fallback: m.Fallback, Trial: true, Tries: 2, Entries: others}
		if diff := cmp.Diff(want, must[boot.State](t)(b.State(t.Context()))); diff != "" {
			t.Error(diff)
		}
		tries := func(want int, known bool) {
			t.Helper()
			if left, ok, err := b.Tries(m.Default); left != want || ok != known || err != nil {
				t.Errorf("%d tries left, %v, %v", left, ok, err)
			}
		}
		trialRoot, fallbackRoot := string(grubcfg.EntryID(others[0]))[6:], string(grubcfg.EntryID(others[1]))[6:]
		tries(2, true)
		first := f.starts()
		tries(1, true)
		// Writing the menu again does not give tries back.
		ok(t, b.Switch(t.Context(), m))
		tries(1, true)
		got := []string{first, f.starts(), f.starts(), f.starts()}
		if diff := cmp.Diff([]string{trialRoot, trialRoot, fallbackRoot, fallbackRoot}, got); diff != "" {
			t.Error(diff)
		}
		tries(0, true)
		ok(t, b.Arm(m.Default, 3))
		tries(3, true)
		// A good verdict: no count, and then no trial.
		ok(t, b.Disarm(m.Default))
		tries(0, false)
		if got := f.starts(); got != trialRoot {
			t.Errorf("after a good verdict it starts %s", got)
		}
		m.Trial = nil
		ok(t, b.Switch(t.Context(), m))
		for _, name := range f.names("efi/loader/entries") {
			if strings.Contains(name, "-trial") || strings.Contains(name, "-else") {
				t.Errorf("left behind: %s", name)
			}
		}
		if got := f.starts(); got != trialRoot {
			t.Errorf("it starts %s", got)
		}
	}
}

func TestSystemdBootsFilesHaveToAgree(t *testing.T) {
	for what, harm := range map[string]func(*fake){
		"the default was changed": func(f *fake) {
			f.write("efi/loader/loader.conf", strings.Replace(f.read("efi/loader/loader.conf"), "default txupd-7", "default txupd-5", 1))
		},
		"another default was added": func(f *fake) { f.write("efi/loader/loader.conf", f.read("efi/loader/loader.conf")+"default x\n") },
		"an entry is gone":          func(f *fake) { ok(f.t, os.Remove(f.path("efi/loader/entries/txupd-5.conf"))) },
		"half a comment":            func(f *fake) { f.write("efi/loader/loader.conf", "# txupd-menu: {\"def\ndefault txupd-7.conf\n") },
	} {
		f := sdboot(t)
		ok(t, f.boot().Switch(t.Context(), onESP(menu(7, 5))))
		harm(f)
		if st, err := f.boot().State(t.Context()); !errors.Is(err, grubcfg.ErrMenuChanged) {
			t.Errorf("%s: %+v, %v", what, st, err)
		}
	}
}

func TestSystemdBootNeedsItsKernelsOnItsPartition(t *testing.T) {
	f := sdboot(t)
	b := f.boot()
	before := f.read("efi/loader/loader.conf")
	if err := b.Switch(t.Context(), menu(7, 5)); err == nil {
		t.Error("kernels in the root were accepted")
	}
	if f.read("efi/loader/loader.conf") != before || len(f.names("efi/loader/entries")) != 1 {
		t.Error("something was changed")
	}
	kernel(t, f.root, "6.12.1")
	if _, err := b.InPlace(f.root); !errors.Is(err, fault.ErrNotSupported) {
		t.Errorf("in place: %v", err)
	}
	k := stage(t, b, f.root)
	if k.BootUUID != espUUID || f.read("efi"+k.Kernel) != "kernel 6.12.1" {
		t.Errorf("staged %+v", k)
	}
	// The kernels of its entries stay.
	m := menu(7)
	m.Entries[0].BootUUID, m.Entries[0].Kernel, m.Entries[0].Initrd = espUUID, k.Kernel, k.Initrd
	ok(t, b.Switch(t.Context(), m))
	ok(t, b.Sweep(t.Context(), nil))
	if got := f.names("efi/txupd"); len(got) != 2 {
		t.Errorf("there are %q", got)
	}
}

func TestKernelsGoToTheExtendedBootPartition(t *testing.T) {
	f := sdboot(t)
	f.mount("/boot", "/dev/vda3", "vfat", "55AA-0001", "/")
	k := stage(t, f.boot(), func() string { dir := t.TempDir(); kernel(t, dir, "6.12.1"); return dir }())
	if k.BootUUID != "55AA-0001" || f.read("boot"+k.Kernel) != "kernel 6.12.1" {
		t.Errorf("staged %+v", k)
	}
	m := menu(7)
	m.Entries[0].BootUUID, m.Entries[0].Kernel, m.Entries[0].Initrd = k.BootUUID, k.Kernel, k.Initrd
	ok(t, f.boot().Switch(t.Context(), m))
	if !strings.Contains(f.read("efi/loader/loader.conf"), "default txupd-7.conf") || len(f.names("boot/loader/entries")) != 1 {
		t.Errorf("entries are %q", f.names("boot/loader/entries"))
	}
}

func TestOnceIsAskedOfSystemdBoot(t *testing.T) {
	f := sdboot(t)
	b := f.boot()
	ok(t, b.Switch(t.Context(), onESP(menu(7, 5))))
	if err := b.Once(number(6)); !errors.Is(err, fault.ErrNotFound) {
		t.Errorf("a snapshot that is not in the menu: %v", err)
	}
	ok(t, b.Once(number(5)))
	variable := filepath.Join(f.vars, "LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f")
	raw := must[[]byte](t)(os.ReadFile(variable))
	if want := "\x07\x00\x00\x00t\x00x\x00u\x00p\x00d\x00-\x005\x00.\x00c\x00o\x00n\x00f\x00\x00\x00"; string(raw) != want {
		t.Errorf("the firmware has %q", raw)
	}
	if got := must[*uint64](t)(b.OnceIs()); got == nil || *got != 5 {
		t.Errorf("%v", got)
	}
	ok(t, b.Once(nil))
	ok(t, b.Once(nil))
	if got := must[*uint64](t)(b.OnceIs()); got != nil {
		t.Errorf("%v", *got)
	}
	// What somebody else asked for is not ours to take back.
	f.set("LoaderEntryOneShot", "auto-reboot-to-firmware-setup")
	ok(t, b.Once(nil))
	if _, err := os.Stat(variable); err != nil {
		t.Error(err)
	}
	f.host.EFIVariables = "/nonexistent"
	if err := f.boot().Once(number(5)); !errors.Is(err, fault.ErrNotSupported) {
		t.Errorf("without a firmware: %v", err)
	}
}

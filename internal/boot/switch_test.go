// Replacing the menu, reading it back, and the counter beside it.

package boot_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/internal/boot"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/grubcfg"
)

func TestSwitchIsWhatStateReads(t *testing.T) {
	f := debian(t)
	b := f.boot()
	if st := must[boot.State](t)(b.State(t.Context())); st.Found {
		t.Errorf("a menu before there was one: %+v", st)
	}
	counter := must[boot.Facts](t)(b.Probe(t.Context())).Counter
	for _, c := range []struct {
		menu grubcfg.Menu
		want boot.State
	}{
		{menu(5), boot.State{Found: true, Default: 5, Entries: []uint64{5}}},
		{trial(*counter, 3, 7, 5, 0), boot.State{Found: true, Default: 7, Fallback: number(5), Trial: true, Tries: 3, Entries: []uint64{7, 5, 0}}},
		{menu(0, 7), boot.State{Found: true, Entries: []uint64{0, 7}}},
	} {
		ok(t, b.Switch(t.Context(), c.menu))
		if diff := cmp.Diff(c.want, must[boot.State](t)(b.State(t.Context()))); diff != "" {
			t.Error(diff)
		}
	}
	if diff := cmp.Diff([]string{"grub.cfg", "txupd.cfg"}, f.names("boot/grub")); diff != "" {
		t.Errorf("something stayed behind:\n%s", diff)
	}
}

func TestAMenuThatGRUBRefusesChangesNothing(t *testing.T) {
	f := debian(t)
	b := f.boot()
	ok(t, b.Switch(t.Context(), menu(5)))
	before := f.read("boot/grub/txupd.cfg")
	refusing := f.host
	refusing.Run = func(ctx context.Context, argv ...string) ([]byte, error) {
		if argv[0] == "grub-script-check" {
			return nil, errors.New("syntax error at line 3")
		}
		return f.run(ctx, argv...)
	}
	err := boot.New(refusing).Switch(t.Context(), menu(7, 5))
	if err == nil || !strings.Contains(err.Error(), "syntax error at line 3") {
		t.Errorf("%v", err)
	}
	if err := b.Switch(t.Context(), grubcfg.Menu{}); err == nil {
		t.Error("an empty menu was accepted")
	}
	if f.read("boot/grub/txupd.cfg") != before || len(f.names("boot/grub")) != 2 {
		t.Errorf("changed, or something stayed behind: %v", f.names("boot/grub"))
	}
}

func TestGRUBsOwnParserIsAskedWhereItIs(t *testing.T) {
	f := debian(t)
	ok(t, f.boot().Switch(t.Context(), menu(5)))
	asked := false
	for _, argv := range f.ran {
		asked = asked || argv[0] == "grub-script-check" && strings.HasPrefix(argv[1], f.path("boot/grub/"))
	}
	if !asked {
		t.Errorf("ran %q", f.ran)
	}
	// Elsewhere the menu is written without.
	without := f.host
	without.Run = func(ctx context.Context, argv ...string) ([]byte, error) {
		if strings.Contains(argv[0], "script-check") {
			return nil, &exec.Error{Name: argv[0], Err: exec.ErrNotFound}
		}
		return f.run(ctx, argv...)
	}
	ok(t, boot.New(without).Switch(t.Context(), menu(7, 5)))
}

func TestAChangedMenuIsNotTrusted(t *testing.T) {
	f := debian(t)
	b := f.boot()
	ok(t, b.Switch(t.Context(), menu(7, 5)))
	f.write("boot/grub/txupd.cfg", strings.Replace(f.read("boot/grub/txupd.cfg"), "set default='txupd-7'", "set default='txupd-5'", 1))
	if st, err := b.State(t.Context()); !errors.Is(err, grubcfg.ErrMenuChanged) {
		t.Errorf("%+v, %v", st, err)
	}
	ok(t, b.Switch(t.Context(), menu(7, 5)))
	if st := must[boot.State](t)(b.State(t.Context())); st.Default != 7 {
		t.Errorf("%+v", st)
	}
}

func TestSwitchNeedsALoaderWithAMenu(t *testing.T) {
	suse := newFake(t)
	suse.write("boot/grub2/grub.cfg", "set btrfs_relative_path=\"y\"\n")
	for name, f := range map[string]*fake{"none": newFake(t), "SUSE": suse} {
		if err := f.boot().Switch(t.Context(), menu(5)); !errors.Is(err, fault.ErrNotSupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// editenv is what GRUB's own tool finds in the block.
func editenv(t *testing.T, file string) string {
	t.Helper()
	tool, err := exec.LookPath("grub-editenv")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("grub-editenv is not installed (the package grub-common)")
		}
		t.Skip("grub-editenv is not installed (the package grub-common)")
	}
	out, err := exec.Command(tool, file, "list").CombinedOutput()
	if err != nil {
		t.Fatalf("grub-editenv: %v\n%s", err, out)
	}
	return string(out)
}

func TestTriesAreKeptWhereGRUBCountsThem(t *testing.T) {
	f := debian(t)
	b := f.boot()
	const file = "boot/efi/EFI/txupd/grubenv"
	if left, known, err := b.Tries(7); left != 0 || known || err != nil {
		t.Errorf("before: %d %v %v", left, known, err)
	}
	ok(t, b.Disarm(7))
	ok(t, b.Arm(7, 3))
	if got := editenv(t, f.path(file)); got != "txupd_tries_7=3\n" {
		t.Errorf("GRUB finds %q", got)
	}
	if left, known, err := b.Tries(7); left != 3 || !known || err != nil {
		t.Errorf("armed: %d %v %v", left, known, err)
	}
	if _, known, _ := b.Tries(70); known {
		t.Error("the tries of another snapshot count")
	}
	// GRUB writes, and others keep their variables.
	out, err := exec.Command("grub-editenv", f.path(file), "set", "txupd_tries_7=0", "next_entry=x").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if left, known, err := b.Tries(7); left != 0 || !known || err != nil {
		t.Errorf("counted down: %d %v %v", left, known, err)
	}
	ok(t, b.Disarm(7))
	ok(t, b.Disarm(7))
	if got := editenv(t, f.path(file)); got != "next_entry=x\n" {
		t.Errorf("after: %q", got)
	}
	if left, known, err := b.Tries(7); left != 0 || known || err != nil {
		t.Errorf("disarmed: %d %v %v", left, known, err)
	}
}

func TestTheCounterIsOverwrittenInPlace(t *testing.T) {
	f := debian(t)
	b := f.boot()
	ok(t, b.Arm(7, 3))
	before := must[os.FileInfo](t)(os.Stat(f.path("boot/efi/EFI/txupd/grubenv")))
	ok(t, b.Arm(7, 2))
	after := must[os.FileInfo](t)(os.Stat(f.path("boot/efi/EFI/txupd/grubenv")))
	if !os.SameFile(before, after) || after.Size() != grubcfg.EnvSize {
		t.Error("another file is in its place")
	}
}

func TestADamagedCounterIsMadeAnew(t *testing.T) {
	f := debian(t)
	b := f.boot()
	f.write("boot/efi/EFI/txupd/grubenv", "half a blo")
	if _, _, err := b.Tries(7); !errors.Is(err, grubcfg.ErrNotEnv) {
		t.Errorf("it was read: %v", err)
	}
	ok(t, b.Arm(7, 2))
	if left, known, err := b.Tries(7); left != 2 || !known || err != nil {
		t.Errorf("%d %v %v", left, known, err)
	}
}

func TestOldCountersAreForgottenButThoseOfTheMenu(t *testing.T) {
	f := debian(t)
	b := f.boot()
	counter := must[boot.Facts](t)(b.Probe(t.Context())).Counter
	ok(t, b.Arm(3, 1))
	ok(t, b.Arm(5, 2))
	ok(t, b.Switch(t.Context(), trial(*counter, 2, 5, 0)))
	ok(t, b.Arm(7, 3))
	if got := editenv(t, f.path("boot/efi/EFI/txupd/grubenv")); got != "txupd_tries_5=2\ntxupd_tries_7=3\n" {
		t.Errorf("there is %q", got)
	}
}

func TestWithoutAWritableFileNothingIsArmed(t *testing.T) {
	f := newFake(t)
	f.mount("/boot/grub", "/dev/vda2", "btrfs", rootUUID, "/@txupd-grub")
	f.write("boot/grub/grub.cfg", hooked)
	b := f.boot()
	ok(t, b.Switch(t.Context(), menu(7, 5)))
	for what, err := range map[string]error{"arm": b.Arm(7, 3), "once": b.Once(number(5))} {
		if !errors.Is(err, fault.ErrNotSupported) {
			t.Errorf("%s: %v", what, err)
		}
	}
	ok(t, b.Disarm(7))
	ok(t, b.Once(nil))
	if _, known, err := b.Tries(7); known || err != nil {
		t.Errorf("%v %v", known, err)
	}
	if err := debian(t).boot().Arm(7, 21); !errors.Is(err, fault.ErrInvalidArgument) {
		t.Errorf("21 tries: %v", err)
	}
}

func TestOnceIsAskedOfGRUB(t *testing.T) {
	f := debian(t)
	b := f.boot()
	if err := b.Once(number(5)); !errors.Is(err, fault.ErrNotSupported) {
		t.Errorf("without a menu: %v", err)
	}
	ok(t, b.Switch(t.Context(), menu(7, 5)))
	if err := b.Once(number(5)); !errors.Is(err, fault.ErrNotSupported) {
		t.Errorf("a menu that would not heed it: %v", err)
	}
	counter := must[boot.Facts](t)(b.Probe(t.Context())).Counter
	ok(t, b.Switch(t.Context(), trial(*counter, 2, 7, 5, 0)))
	if err := b.Once(number(6)); !errors.Is(err, fault.ErrNotFound) {
		t.Errorf("a snapshot that is not in the menu: %v", err)
	}
	is := func(want *uint64) {
		t.Helper()
		if diff := cmp.Diff(want, must[*uint64](t)(b.OnceIs())); diff != "" {
			t.Error(diff)
		}
	}
	is(nil)
	ok(t, b.Once(number(0)))
	is(number(0))
	if got := editenv(t, f.path("boot/efi/EFI/txupd/grubenv")); got != "txupd_once=0\n" {
		t.Errorf("GRUB finds %q", got)
	}
	ok(t, b.Once(nil))
	is(nil)
	// GRUB leaves it empty.
	ok(t, b.Once(number(5)))
	if out, err := exec.Command("grub-editenv", f.path("boot/efi/EFI/txupd/grubenv"), "set", "txupd_once=").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	is(nil)
}

func TestLinksLeadNowhereElse(t *testing.T) {
	f := newFake(t)
	outside := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(outside, "grub.cfg"), []byte(hooked), 0o644))
	f.mkdir("boot")
	ok(t, os.Symlink(outside, f.path("boot/grub")))
	if got := must[boot.Facts](t)(f.boot().Probe(t.Context())); got.Loader != "" {
		t.Errorf("a grub.cfg outside of the root was found: %+v", got)
	}
	// Absolute links are those of the system itself.
	f.write("usr/grub/grub.cfg", hooked)
	ok(t, os.Remove(f.path("boot/grub")))
	ok(t, os.Symlink("/usr/grub", f.path("boot/grub")))
	if got := must[boot.Facts](t)(f.boot().Probe(t.Context())); got.GrubDir != "/usr/grub" {
		t.Errorf("found %q", got.GrubDir)
	}
}

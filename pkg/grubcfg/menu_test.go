// What the menu says, that GRUB accepts it, and that no text of a person
// becomes a part of it.

package grubcfg_test

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/txupd/txupd/pkg/grubcfg"
)

const (
	rootUUID = "0f4bb5ae-2d4f-4e8b-9d4c-5d3cb4b0a1f2"
	bootUUID = "8f2c7d1e-1111-4222-8333-444455556666"
	espUUID  = "12AB-34CD"
)

func entry(number uint64, title string) grubcfg.Entry {
	return grubcfg.Entry{
		Number: number, Title: title, RootUUID: rootUUID,
		RootPath:      "@/.snapshots/" + strings.TrimPrefix(string(grubcfg.EntryID(number)), "txupd-") + "/snapshot",
		Kernel:        "boot/vmlinuz-6.12.1",
		Initrd:        []string{"boot/initrd.img-6.12.1"},
		KernelVersion: "6.12.1",
		CommandLine:   "root=/dev/vda rootflags=subvol=@,compress=zstd ro quiet console=ttyS0",
	}
}

func adopted() grubcfg.Entry {
	e := entry(0, "Debian, as installed")
	e.RootPath = "@rootfs"
	return e
}

func number(n uint64) *uint64 { return &n }

func trialMenu(tries int) grubcfg.Menu {
	return grubcfg.Menu{
		Default: 7, Fallback: number(5),
		Trial:   &grubcfg.Trial{Tries: tries, Counter: grubcfg.EnvFile{UUID: espUUID, Path: "/EFI/txupd/grubenv"}},
		Entries: []grubcfg.Entry{entry(7, "7: install htop (2026-11-23, 6.12.1)"), entry(5, "5: it's good"), adopted()},
	}
}

func onceMenu(tries int) grubcfg.Menu {
	m := trialMenu(tries)
	m.Once = &grubcfg.EnvFile{UUID: espUUID, Path: "/EFI/txupd/grubenv"}
	return m
}

func stagedMenu() grubcfg.Menu {
	e := entry(9, "9: staged")
	e.BootUUID = bootUUID
	e.Kernel = "/txupd/1f3a/vmlinuz"
	e.Initrd = []string{"/txupd/77aa/ucode.img", "/txupd/9c1b/initrd"}
	bare := entry(8, "8: no initrd, root at the top level")
	bare.RootPath, bare.Initrd, bare.CommandLine = "", nil, ""
	return grubcfg.Menu{Default: 9, Entries: []grubcfg.Entry{e, bare}}
}

func TestMenuIsAsRecordedAndGRUBAcceptsIt(t *testing.T) {
	check := tool(t, "grub-script-check")
	good := trialMenu(1)
	good.Trial = nil
	for name, m := range map[string]grubcfg.Menu{
		"trial.cfg": trialMenu(3), "trial-once.cfg": trialMenu(1), "good.cfg": good, "staged.cfg": stagedMenu(), "once.cfg": onceMenu(3),
	} {
		got, err := m.Render()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, got)
		checkScript(t, check, got)
	}
}

func TestMenuRefuses(t *testing.T) {
	change := func(edit func(*grubcfg.Menu)) grubcfg.Menu {
		m := trialMenu(3)
		edit(&m)
		return m
	}
	first := func(edit func(*grubcfg.Entry)) grubcfg.Menu {
		return change(func(m *grubcfg.Menu) { edit(&m.Entries[0]) })
	}
	for _, c := range []struct {
		want string
		menu grubcfg.Menu
	}{
		{"needs an entry", grubcfg.Menu{}},
		{"boot entry of snapshot 7: it has no kernel", first(func(e *grubcfg.Entry) { e.Kernel = "" })},
		{"has no title", first(func(e *grubcfg.Entry) { e.Title = " -\n" })},
		{"id of an entry", first(func(e *grubcfg.Entry) { e.Title = "txupd-5" })},
		{`file system "" is no uuid`, first(func(e *grubcfg.Entry) { e.RootUUID = "" })},
		{"is no uuid", first(func(e *grubcfg.Entry) { e.RootUUID = "x'; reboot" })},
		{"boot file system", first(func(e *grubcfg.Entry) { e.BootUUID = "hd0" })},
		{"not clean", first(func(e *grubcfg.Entry) { e.Kernel = "../5/snapshot/boot/vmlinuz" })},
		{"not clean", first(func(e *grubcfg.Entry) { e.RootPath = "@/" })},
		{"a path is empty", first(func(e *grubcfg.Entry) { e.Initrd = []string{""} })},
		{"control characters", first(func(e *grubcfg.Entry) { e.Kernel = "boot/a\nb" })},
		{"cannot be said", first(func(e *grubcfg.Entry) { e.RootPath = "@,ro" })},
		{"cannot be said", first(func(e *grubcfg.Entry) { e.RootPath = "@ init=/bin/sh" })},
		{"control characters", first(func(e *grubcfg.Entry) { e.CommandLine = "a\nb" })},
		{"does not end", first(func(e *grubcfg.Entry) { e.CommandLine = `a="b c` })},
		{"two entries", change(func(m *grubcfg.Menu) { m.Entries[1].Number = 7 })},
		{"its default, snapshot 6", change(func(m *grubcfg.Menu) { m.Default = 6 })},
		{"its fallback, snapshot 6", change(func(m *grubcfg.Menu) { m.Fallback = number(6) })},
		{"default and its fallback", change(func(m *grubcfg.Menu) { m.Fallback = number(7) })},
		{"none to fall back to", change(func(m *grubcfg.Menu) { m.Fallback = nil })},
		{"0 tries", change(func(m *grubcfg.Menu) { m.Trial.Tries = 0 })},
		{"21 tries", change(func(m *grubcfg.Menu) { m.Trial.Tries = 21 })},
		{"is no uuid", change(func(m *grubcfg.Menu) { m.Trial.Counter.UUID = "" })},
		{"a path is empty", change(func(m *grubcfg.Menu) { m.Trial.Counter.Path = "" })},
		{"other characters", change(func(m *grubcfg.Menu) { m.Trial.Counter.Path = "/a$b" })},
		{"boot once", change(func(m *grubcfg.Menu) { m.Once = &grubcfg.EnvFile{UUID: espUUID} })},
	} {
		text, err := c.menu.Render()
		if err == nil || !strings.Contains(err.Error(), c.want) || text != nil {
			t.Errorf("want an error with %q, got %v", c.want, err)
		}
	}
}

// words cuts a line of GRUB script that has only plain words and single quotes.
func words(t tester, line string) []string {
	t.Helper()
	var all []string
	var word strings.Builder
	in := false
	for i := 0; i < len(line); {
		switch c := line[i]; {
		case c == '\'':
			end := strings.IndexByte(line[i+1:], '\'')
			if end < 0 {
				t.Fatalf("a quote does not end: %s", line)
			}
			word.WriteString(line[i+1 : i+1+end])
			in = true
			i += end + 2
		case c == '\\':
			word.WriteByte(line[i+1])
			in = true
			i += 2
		case c == ' ':
			if in {
				all = append(all, word.String())
				word.Reset()
				in = false
			}
			i++
		case strings.IndexByte("$\"`;|&<>()#*?", c) >= 0:
			t.Fatalf("%q outside of quotes: %s", c, line)
		default:
			word.WriteByte(c)
			in = true
			i++
		}
	}
	if in {
		all = append(all, word.String())
	}
	return all
}

func TestNoTitleOrCommandLineBreaksOut(t *testing.T) {
	check := tool(t, "grub-script-check")
	hostile := rapid.OneOf(
		rapid.StringOfN(rapid.RuneFrom([]rune(`'"\${}()[];|&<>#*?-=! `+"\n\t\rab%")), 1, 40, -1),
		rapid.String(),
		rapid.SampledFrom([]string{`'; reboot; echo '`, "' {\n}\nreboot\n#", `--id txupd-5`, `$(x) ${root}`, "é\xff\x00", `\'`, "'"}),
	)
	rapid.Check(t, func(t *rapid.T) {
		m := trialMenu(rapid.IntRange(1, grubcfg.MaxTries).Draw(t, "tries"))
		m.Entries = m.Entries[:1]
		e := &m.Entries[0]
		e.Title = hostile.Draw(t, "title")
		e.CommandLine = hostile.Draw(t, "command line")
		e.Kernel = "boot/" + hostile.Draw(t, "kernel")
		m.Entries = append(m.Entries, entry(5, "5"))
		plain := trialMenu(m.Trial.Tries)
		plain.Entries = plain.Entries[:2]
		text, err := m.Render()
		if err != nil {
			return
		}
		want, err := plain.Render()
		if err != nil {
			t.Fatal(err)
		}
		if ours, theirs := bytes.Count(text, []byte("\n")), bytes.Count(want, []byte("\n")); ours != theirs {
			t.Fatalf("%d lines instead of %d:\n%s", ours, theirs, text)
		}
		checkScript(t, check, text)
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			if title, ok := strings.CutPrefix(line, "menuentry "); ok {
				got := words(t, title)
				if len(got) != 10 || got[1] != "--class" || got[7] != "--id" || got[9] != "{" || strings.HasPrefix(got[0], "-") {
					t.Fatalf("the title became more than a title: %q", got)
				}
			}
			if arguments, ok := strings.CutPrefix(line, "if linux "); ok {
				kernel, rest, _ := strings.Cut(strings.TrimSuffix(arguments, "; then"), " ${txupd_note} ")
				got := append(words(t, kernel), words(t, rest)...)
				if !strings.HasPrefix(got[1], "root=UUID="+rootUUID) || !strings.HasPrefix(got[2], "rootflags=") {
					t.Fatalf("the root is not pinned first: %q", got)
				}
			}
		}
	})
}

// randomMenu is often, not always, one that can be rendered.
func randomMenu(t *rapid.T) grubcfg.Menu {
	path := rapid.StringMatching(`[a-zA-Z0-9._@+ ~'-]{1,12}(/[a-zA-Z0-9_]{1,8}){0,3}`)
	var m grubcfg.Menu
	numbers := rapid.SliceOfNDistinct(rapid.Uint64(), 2, 6, rapid.ID).Draw(t, "numbers")
	for _, n := range numbers {
		e := entry(n, "snapshot "+rapid.String().Draw(t, "title"))
		e.Kernel = path.Draw(t, "kernel")
		e.Initrd = rapid.SliceOfN(path, 0, 3).Draw(t, "initrd")
		e.CommandLine = rapid.StringMatching(`([a-z.]{1,6}(=[a-z0-9,:'\\]{1,8})? ){0,5}`).Draw(t, "command line")
		if rapid.Bool().Draw(t, "staged") {
			e.BootUUID = bootUUID
		}
		m.Entries = append(m.Entries, e)
	}
	m.Default = numbers[0]
	if rapid.Bool().Draw(t, "fallback") {
		m.Fallback = &numbers[1]
		if rapid.Bool().Draw(t, "trial") {
			m.Trial = trialMenu(rapid.IntRange(1, grubcfg.MaxTries).Draw(t, "tries")).Trial
		}
	}
	if rapid.Bool().Draw(t, "once") {
		m.Once = onceMenu(1).Once
	}
	return m
}

func TestRandomMenusAreAcceptedByGRUB(t *testing.T) {
	check := tool(t, "grub-script-check")
	rapid.Check(t, func(t *rapid.T) {
		m := randomMenu(t)
		text, err := m.Render()
		if err != nil {
			if strings.Contains(err.Error(), "not clean") {
				return // a part that is "." or ".."
			}
			t.Fatal(err)
		}
		checkScript(t, check, text)
		if got := bytes.Count(text, []byte("\nmenuentry ")); got != len(m.Entries) {
			t.Fatalf("%d entries for %d snapshots", got, len(m.Entries))
		}
		again, err := m.Render()
		if err != nil || !bytes.Equal(text, again) {
			t.Fatalf("the same menu became other bytes (%v)", err)
		}
	})
}

// What is read from the running system and from others' files, whatever it says.

package grubcfg_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/internal/testbed/judge"
	"github.com/txupd/txupd/pkg/grubcfg"
)

// FuzzCommandLine: what is taken over is the same when it is taken over again,
// names no root, and a parameter that is added reaches the kernel and not init.
func FuzzCommandLine(f *testing.F) {
	for _, seed := range []string{"", "--", "quiet --", "-- panic=1", `a="b -- c" -- d`, `"root=x y" ro`, `"panic"=3`, "panic=1\t\npanic=2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, proc string) {
		line := grubcfg.CommandLine(proc)
		if again := grubcfg.CommandLine(line); again != line {
			t.Fatalf("%q becomes %q, and that %q", proc, line, again)
		}
		for _, name := range []string{"root", "initrd", "BOOT_IMAGE", "txupd.fallback"} {
			if value, found := grubcfg.Parameter(line, name); found {
				t.Errorf("%q still says %s=%s", line, name, value)
			}
		}
		if flags, _ := grubcfg.Parameter(line, "rootflags"); strings.Contains(","+flags, ",subvol=") || strings.Contains(","+flags, ",subvolid=") {
			t.Errorf("%q still names a subvolume", line)
		}
		if strings.Count(line, `"`)%2 != 0 {
			return // the kernel takes all that follows for the value, and Entry.Validate refuses it
		}
		more := grubcfg.WithParameters(line, "panic=10", "rd.shell=0")
		if value, _ := grubcfg.Parameter(more, "panic"); value != "10" {
			t.Errorf("%q with panic=10 is %q, where it is %q", line, more, value)
		}
		if kept := grubcfg.CommandLine(strings.Replace(more, "panic=10 rd.shell=0", "", 1)); kept != line {
			t.Errorf("%q with more parameters is %q: the rest is %q", line, more, kept)
		}
		if _, init, found := strings.Cut(" "+line+" ", " -- "); found && !strings.Contains(line, `"`) && !strings.HasSuffix(" "+more+" ", " -- "+init) {
			t.Errorf("%q with more parameters for the kernel is %q: init gets others", line, more)
		}
	})
}

// FuzzMenuText: no text of a person or of a package becomes a part of the script.
func FuzzMenuText(f *testing.F) {
	f.Add("7: it's $(reboot) \"${x}\"\n}", `a="b c" d='e' \ $f -- g`, "boot/vmlinuz", "boot/initrd.img")
	f.Add("--id x", "rootflags=subvol=@,ro", "a'; reboot; echo '", "é")
	check := judge.Tool(f, "grub-script-check")
	f.Fuzz(func(t *testing.T, title, commandLine, kernel, initrd string) {
		m := onceMenu(3)
		e := &m.Entries[0]
		e.Title, e.CommandLine, e.Kernel, e.Initrd = title, commandLine, kernel, []string{initrd}
		text, err := m.Render()
		if err != nil {
			if text != nil || !strings.HasPrefix(err.Error(), "cannot render txupd.cfg: boot entry of snapshot 7") {
				t.Errorf("refused, with %d bytes of text: %v", len(text), err)
			}
			return
		}
		plain, err := onceMenu(3).Render()
		if err != nil {
			t.Fatal(err)
		}
		if ours, theirs := bytes.Count(text, []byte("\n")), bytes.Count(plain, []byte("\n")); ours != theirs {
			t.Fatalf("%d lines instead of %d:\n%s", ours, theirs, text)
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			if title, ok := strings.CutPrefix(line, "menuentry "); ok {
				if got := words(t, title); len(got) != 10 || got[1] != "--class" || got[9] != "{" || strings.HasPrefix(got[0], "-") {
					t.Fatalf("the title became more than a title: %q", got)
				}
			}
			if arguments, ok := strings.CutPrefix(line, "if initrd "); ok {
				if got := words(t, strings.TrimSuffix(arguments, "; then")); len(got) != 1 {
					t.Fatalf("one ramdisk became %q", got)
				}
			}
			if arguments, ok := strings.CutPrefix(line, "if linux "); ok {
				kernel, rest, _ := strings.Cut(strings.TrimSuffix(arguments, "; then"), " ${txupd_note} ")
				got := append(words(t, kernel), words(t, rest)...)
				if len(got) < 3 || !strings.HasPrefix(got[1], "root=UUID=") || !strings.HasPrefix(got[2], "rootflags=") {
					t.Fatalf("the root is not pinned first: %q", got)
				}
			}
		}
		if got, err := grubcfg.ParseMenu(text); err != nil || !cmp.Equal(got, m.Summary()) {
			t.Fatalf("read back as %+v (%v)", got, err)
		}
		if check != "" && judge.Asked(title, commandLine, kernel, initrd) {
			checkScript(t, check, text)
		}
	})
}

// FuzzSealedMenu: what has the right seal is read as JSON says, and not with one
// byte changed. Seals are made here: mutations alone would find none.
func FuzzSealedMenu(f *testing.F) {
	for _, m := range []grubcfg.Menu{trialMenu(3), stagedMenu()} {
		said, err := json.Marshal(m.Summary())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(said, []byte("set default=0\n"), uint16(100))
	}
	f.Add([]byte(`{"default":-1}`), []byte{}, uint16(0))
	f.Add([]byte(`{"entries":null} sha256:`), []byte("\n"), uint16(80))
	f.Fuzz(func(t *testing.T, said, script []byte, at uint16) {
		if bytes.ContainsAny(said, "\n") || bytes.Contains(said, []byte(" sha256:")) {
			return // Go's JSON on one line has neither
		}
		sum := sha256.Sum256(slices.Concat(said, []byte("\n"), script))
		head := "# Written by txupd. It is replaced as a whole; changes are lost.\n# txupd-menu: "
		text := slices.Concat([]byte(head), said, []byte(" sha256:"+hex.EncodeToString(sum[:])+"\n"), script)
		var want grubcfg.Summary
		readable := json.Unmarshal(said, &want) == nil
		got, err := grubcfg.ParseMenu(text)
		switch {
		case (err == nil) != readable:
			t.Fatalf("%q: %v", said, err)
		case err == nil && !cmp.Equal(got, want):
			t.Fatalf("%q is read as %+v", said, got)
		case err != nil && (!errors.Is(err, grubcfg.ErrMenuChanged) || !cmp.Equal(got, grubcfg.Summary{})):
			t.Fatalf("%q: %v, with an answer: %+v", said, err, got)
		}
		text[int(at)%len(text)] ^= 1
		if _, err := grubcfg.ParseMenu(text); err == nil {
			t.Fatalf("with byte %d changed it is read all the same", int(at)%len(text))
		}
	})
}

// FuzzHooked: only a line that names our menu and is no comment hooks it in, and
// one that does is found whatever stands around it.
func FuzzHooked(f *testing.F) {
	f.Add("set default=0\nif [ -s \"${config_directory}/txupd.cfg\" ]; then\n  source \"${config_directory}/txupd.cfg\"\nfi\n")
	f.Add("menuentry 'source txupd.cfg' {\n# source txupd.cfg\n. ($root)/txupd.cfg # x\n}")
	f.Fuzz(func(t *testing.T, text string) {
		if grubcfg.Hooked([]byte(text)) {
			var others, comments strings.Builder
			for line := range strings.Lines(text) {
				comments.WriteString("# " + line)
				if !strings.Contains(line, "txupd.cfg") {
					others.WriteString(line)
				}
			}
			if grubcfg.Hooked([]byte(others.String())) || grubcfg.Hooked([]byte(comments.String())) {
				t.Errorf("hooked without a line that says so: %q", text)
			}
		}
		for _, hook := range []string{"source txupd.cfg", "\tsource \"${prefix}/txupd.cfg\"\r"} {
			if !grubcfg.Hooked([]byte(text + "\n" + hook + "\n")) {
				t.Errorf("%q is not found below %q", hook, text)
			}
		}
	})
}

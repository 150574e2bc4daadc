// What is taken over from the running command line, and that it reaches the
// next kernel unchanged, boot after boot.

package grubcfg_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/txupd/txupd/pkg/grubcfg"
)

func TestCommandLineIsTakenOverWithoutItsRoot(t *testing.T) {
	for _, c := range []struct{ name, proc, want string }{
		{"empty", "", ""},
		{"GRUB on Debian", "BOOT_IMAGE=/@rootfs/boot/vmlinuz-6.1 root=UUID=ab ro rootflags=subvol=@rootfs quiet\n", "ro quiet"},
		{"openSUSE", "BOOT_IMAGE=/boot/vmlinuz root=UUID=ab splash=silent security=apparmor", "splash=silent security=apparmor"},
		{"systemd-boot", `initrd=\ab\6.12\initrd root=UUID=ab rootflags=subvol=root rw`, "rw"},
		{"other root flags", "rootflags=compress=zstd,subvol=@,ssd,subvolid=256,degraded x", "rootflags=compress=zstd,ssd,degraded x"},
		{"only a subvolume id", "rootflags=subvolid=256 x", "x"},
		{"quoted root flags", `"rootflags=subvol=@,ssd" x`, "rootflags=ssd x"},
		{"root flags with a blank", `rootflags="x-a=b c,subvol=@ d,ssd" y`, `"rootflags=x-a=b c,ssd" y`},
		{"quotes kept", `dyndbg="file a.c +p" "b=c d" e`, `dyndbg="file a.c +p" "b=c d" e`},
		{"root in quotes", `a="x root=/dev/sda y" root=/dev/sdb`, `a="x root=/dev/sda y"`},
		{"other names", "rootwait rootdelay=3 rootfstype=btrfs resume=UUID=cd noinitrd rd.root=1", "rootwait rootdelay=3 rootfstype=btrfs resume=UUID=cd noinitrd rd.root=1"},
		{"arguments of init", "root=a quiet -- root=b initrd=c", "quiet -- root=b initrd=c"},
		{"blanks", "  a\t\tb  \n", "a b"},
		{"a fallback", "root=a txupd.fallback=7 quiet", "quiet"},
		{"twice", "root=a root=b console=tty0 console=ttyS0", "console=tty0 console=ttyS0"},
	} {
		if diff := cmp.Diff(c.want, grubcfg.CommandLine(c.proc)); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
		if once := grubcfg.CommandLine(c.proc); grubcfg.CommandLine(once) != once {
			t.Errorf("%s: taken over again it becomes %q", c.name, grubcfg.CommandLine(once))
		}
	}
}

// booted is /proc/cmdline after GRUB 2.06 booted the first entry of a menu.
func booted(t tester, m grubcfg.Menu) string {
	t.Helper()
	text, err := m.Render()
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(text), "\tif linux ")
	line, _, _ = strings.Cut(strings.Replace(line, " ${txupd_note}", "", 1), "; then\n")
	arguments := words(t, line)
	proc := []string{"BOOT_IMAGE=" + arguments[0]}
	for _, a := range arguments[1:] {
		var word strings.Builder
		for _, c := range []byte(a) {
			if strings.IndexByte(`\'"`, c) >= 0 {
				word.WriteByte('\\')
			}
			word.WriteByte(c)
		}
		if strings.Contains(a, " ") {
			proc = append(proc, `"`+word.String()+`"`)
		} else {
			proc = append(proc, word.String())
		}
	}
	return strings.Join(proc, " ")
}

func one(commandLine string) grubcfg.Menu {
	e := entry(7, "7")
	e.CommandLine = commandLine
	return grubcfg.Menu{Default: 7, Entries: []grubcfg.Entry{e}}
}

func TestParametersAreTheKernelsAndNotInits(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"", "p=1 q"},
		{"quiet", "quiet p=1 q"},
		{"quiet -- single", "quiet p=1 q -- single"},
		{"quiet --", "quiet p=1 q --"},
		{"-- single", "p=1 q -- single"},
		{`a="x -- y" b`, `a="x -- y" b p=1 q`},
	} {
		if got := grubcfg.WithParameters(c.line, "p=1", "q"); got != c.want {
			t.Errorf("%q becomes %q, want %q", c.line, got, c.want)
		}
	}
	for _, c := range []struct {
		line, want string
		found      bool
	}{
		{"a p=1 b", "1", true}, {"p=1 p=2", "2", true}, {"p", "", true}, {`"p=1 2"`, "1 2", true}, {`p="1"`, "1", true},
		{"quiet -- p=1", "", false}, {`a="x p=1 y"`, "", false}, {"xp=1", "", false},
	} {
		if value, found := grubcfg.Parameter(c.line, "p"); value != c.want || found != c.found {
			t.Errorf("%q says p=%q, %v", c.line, value, found)
		}
	}
}

func TestTheKernelSeesItsParametersThroughGRUB(t *testing.T) {
	const root = "BOOT_IMAGE=/@/.snapshots/7/snapshot/boot/vmlinuz-6.12.1 root=UUID=" + rootUUID + " rootflags="
	for _, c := range []struct{ name, line, want string }{
		{"plain", "ro quiet", "subvol=@/.snapshots/7/snapshot ro quiet"},
		{"root flags are one word", "rootflags=ssd,subvol=@ ro rootflags=compress=zstd", "ssd,compress=zstd,subvol=@/.snapshots/7/snapshot ro"},
		{"a value with blanks", `dyndbg="file a.c +p"`, `subvol=@/.snapshots/7/snapshot "dyndbg=file a.c +p"`},
		{"characters of scripts", "a=$b;c {d} e|f #g", "subvol=@/.snapshots/7/snapshot a=$b;c {d} e|f #g"},
		{"init has its own", "quiet -- rootflags=x root=y", "subvol=@/.snapshots/7/snapshot quiet -- rootflags=x root=y"},
	} {
		if diff := cmp.Diff(root+c.want, booted(t, one(c.line))); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
	}
}

func TestACommandLineDoesNotChangeFromBootToBoot(t *testing.T) {
	text := rapid.StringMatching(`([a-z.-]{1,6}(=[a-z0-9:'\\$ ,"=]{0,12})?( |  ))+`)
	rapid.Check(t, func(t *rapid.T) {
		line := text.Draw(t, "command line")
		if strings.Count(line, `"`)%2 != 0 {
			line += `"`
		}
		first := booted(t, one(grubcfg.CommandLine(line)))
		if strings.Count(first, `"`)%2 != 0 {
			t.Skip("GRUB has no way to say it")
		}
		second := booted(t, one(grubcfg.CommandLine(first)))
		if diff := cmp.Diff(first, second); diff != "" {
			t.Fatal(diff)
		}
	})
}

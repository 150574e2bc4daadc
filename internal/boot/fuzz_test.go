// The texts of firmware, loaders and distributions that are read here, whatever they say.

package boot

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"

	"github.com/txupd/txupd/internal/testbed/judge"
	"github.com/txupd/txupd/pkg/grubcfg"
)

// FuzzFstab: fields are what libmount takes for them, and a line that is added
// is found, changes no other and is not added again.
func FuzzFstab(f *testing.F) {
	f.Add([]byte("UUID=x / btrfs"))
	f.Add([]byte(" # / x y\n/dev/a\u00a0b / btrfs ro,,subvol=@\r\nx /boot/grub y subvol=@txupd-grub"))
	findmnt := judge.Tool(f, "findmnt")
	f.Fuzz(func(t *testing.T, text []byte) {
		lines := parseFstab(text)
		for _, l := range lines {
			for _, field := range []string{l.device, l.point, l.kind, l.options} {
				if strings.ContainsAny(field, " \t\n") || field == "" && field != l.options {
					t.Fatalf("%+v", l)
				}
			}
		}
		const point = "/boot/grub"
		more := withGRUB(text, point, "0f4bb5ae")
		if !strings.HasPrefix(string(more), string(text)) {
			t.Fatalf("%q was changed to %q", text, more)
		}
		if !inFstab(more, point) {
			t.Fatalf("it is not in %q", more)
		}
		if again := withGRUB(more, point, "other"); string(again) != string(more) {
			t.Fatalf("%q was added to again: %q", more, again)
		}
		if added := parseFstab(more); !slices.Equal(added[:len(lines)], lines) || len(added) > len(lines)+1 {
			t.Fatalf("%+v became %+v", lines, added)
		}
		if findmnt != "" && isPlainFstab(text) && judge.Asked(string(text)) {
			agreeOnFstab(t, findmnt, text, lines)
		}
	})
}

// isPlainFstab: of other texts findmnt shows the fields in another form, or refuses them.
func isPlainFstab(text []byte) bool {
	for line := range strings.Lines(string(text)) {
		fields := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\n", r) })
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) != 4 && len(fields) != 6 || !path.IsAbs(fields[1]) || strings.Trim(strings.Join(fields[4:], ""), "0123456789") != "" {
			return false
		}
	}
	return utf8.Valid(text) && !strings.ContainsFunc(string(text), func(r rune) bool {
		return strings.ContainsRune("\\\"\r", r) || r == 0x7f || r < ' ' && r != '\n' && r != '\t'
	})
}

func agreeOnFstab(t *testing.T, findmnt string, text []byte, lines fstab) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "fstab")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(findmnt, "--tab-file", file, "--json", "--list", "--output", "SOURCE,TARGET,FSTYPE,OPTIONS").Output()
	var doc struct {
		Filesystems []struct{ Source, Target, Fstype, Options string }
	}
	if len(out) > 0 {
		if err := json.Unmarshal(out, &doc); err != nil {
			t.Fatalf("findmnt: %v\n%s", err, out)
		}
	} else if len(lines) > 0 {
		t.Fatalf("findmnt finds nothing (%v) where %+v was found in %q", err, lines, text)
	}
	var theirs, ours []string
	for _, fs := range doc.Filesystems {
		theirs = append(theirs, strings.Join([]string{fs.Source, fs.Target, fs.Fstype, fs.Options}, " "))
	}
	for _, l := range lines {
		ours = append(ours, strings.Join([]string{l.device, l.point, l.kind, l.options}, " "))
	}
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Fatalf("%q: -findmnt +we:\n%s", text, diff)
	}
}

// FuzzStub: what a short grub.cfg leads to is a clean path on a file system that
// it names, and no text asks for more memory than it has bytes.
func FuzzStub(f *testing.F) {
	f.Add([]byte("search --fs-uuid --set=x $y -u a-b\nset y=${x}$x\nconfigfile ($y)/..//grub.cfg"), "a-b", "/boot/grub")
	f.Add([]byte("set a=0123456789\n"+strings.Repeat("set a=$a$a\n", 60)+"configfile $a/grub.cfg\n"), "a-b", "/")
	f.Fuzz(func(t *testing.T, text []byte, uuid, dir string) {
		if r := parseStub(text); r != nil {
			if !path.IsAbs(r.Path) || path.Clean(r.Path) != r.Path || path.Base(r.Path) != "grub.cfg" || !strings.Contains(r.UUID, "-") {
				t.Errorf("%q leads to %+v", text, *r)
			}
			if len(r.Path)+len(r.UUID) > 2*longestWord {
				t.Errorf("%d bytes lead to %d", len(text), len(r.Path)+len(r.UUID))
			}
		}
		plain := func(s string) bool {
			return len(s) < longestWord/2 && !strings.ContainsFunc(s, func(r rune) bool {
				return r == '-' && strings.HasPrefix(s, "-") || strings.ContainsRune(`$()'"=`, r) || r <= ' ' || r > '~'
			})
		}
		if !plain(uuid) || !plain(dir) || !strings.Contains(uuid, "-") || !strings.HasPrefix(dir, "/") {
			return
		}
		for _, stub := range []string{
			"search.fs_uuid %[1]s root hd0,gpt2\nset prefix=($root)'%[2]s'\nconfigfile $prefix/grub.cfg\n",
			"search --no-floppy --root-dev-only --fs-uuid --set=dev %[1]s\nset prefix=($dev)%[2]s\nexport $prefix\nconfigfile $prefix/grub.cfg\n",
			"search --fs-uuid --set=root %[1]s\nset prefix=(${root})%[2]s\nsource \"${prefix}/grub.cfg\"\n",
		} {
			want := reference{UUID: uuid, Path: path.Join(dir, "grub.cfg")}
			if got := parseStub(fmt.Appendf(nil, stub, uuid, dir)); got == nil || *got != want {
				t.Errorf("%q is not found in\n"+stub, want, uuid, dir)
			}
		}
	})
}

// FuzzEFIVariable: text that is written is read, and any other bytes are text or an error that names the variable.
func FuzzEFIVariable(f *testing.F) {
	f.Add([]byte{7, 0, 0, 0, 'a', 0, 0, 0xd8, 0, 0}, "txupd-7.conf")
	f.Add([]byte{7, 0, 0}, "\U0001f600\ufffd")
	dir := f.TempDir()
	b := New(Host{EFIVariables: dir})
	f.Fuzz(func(t *testing.T, raw []byte, text string) {
		if err := os.WriteFile(b.variableFile("Any"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		got, found, err := b.variable("Any")
		switch {
		case err != nil && (found || got != "" || !strings.Contains(err.Error(), "variable Any")):
			t.Errorf("%q, %v, with the error %v", got, found, err)
		case err == nil && (!found || !utf8.ValidString(got) || strings.ContainsRune(got, 0) || len(got) > 3*len(raw)):
			t.Errorf("%x is read as %q, %v", raw, got, found)
		}
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return
		}
		// A write replaces the whole of a variable, but only a part of a plain file.
		if err := errors.Join(os.Remove(b.variableFile("Any")), b.setVariable("Any", text)); err != nil {
			t.Fatal(err)
		}
		if got, found, err := b.variable("Any"); err != nil || got != text || found != (text != "") {
			t.Fatalf("%q is read as %q, %v, %v", text, got, found, err)
		}
	})
}

// FuzzLoaderInfo: only a systemd-boot that is too old is said not to fall back.
func FuzzLoaderInfo(f *testing.F) {
	f.Add("systemd-boot 249.11-0ubuntu3", uint16(249), "~rc1")
	f.Add("GRUB 2.12", uint16(250), "")
	f.Fuzz(func(t *testing.T, info string, version uint16, rest string) {
		if s := (site{loaderInfo: info}); !s.fallsBack() {
			digits := strings.TrimLeft(strings.TrimPrefix(info, "systemd-boot "), "0123456789")
			digits = strings.TrimSuffix(strings.TrimPrefix(info, "systemd-boot "), digits)
			if n, err := strconv.Atoi(digits); err != nil || n >= entrySortKeys {
				t.Errorf("%q is too old", info)
			}
		}
		if rest != "" && rest[0] >= '0' && rest[0] <= '9' {
			return
		}
		s := site{loaderInfo: fmt.Sprintf("systemd-boot %d%s", version, rest)}
		if got := s.fallsBack(); got != (version >= entrySortKeys) {
			t.Errorf("%q: %v", s.loaderInfo, got)
		}
	})
}

// FuzzEntryName: a name that is taken for ours is one that we give, and says what it says to systemd-boot.
func FuzzEntryName(f *testing.F) {
	for _, name := range []string{"txupd-7.conf", "txupd-7-trial+2-1.conf", "txupd-07-else.conf", "txupd-+7.conf", "txupd-18446744073709551615-trial+00.conf"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, file string) {
		n, ours := parseEntryName(file)
		if !ours {
			return
		}
		id := "txupd-" + strconv.FormatUint(n.number, 10) + n.role
		rest, ok := strings.CutPrefix(file, id)
		if !ok || n.file != file || string(n.count.ID) != id {
			t.Fatalf("%q is %+v", file, n)
		}
		if count := strings.Trim(strings.TrimSuffix(rest, ".conf"), "+-0123456789"); count != "" || rest != ".conf" && n.role != trialSuffix {
			t.Errorf("%q is ours, with %q behind its id", file, rest)
		}
	})
}

// FuzzLoaderConfig: what is put into a loader.conf is read from it, the other
// lines stay, and a text that says another default is not believed.
func FuzzLoaderConfig(f *testing.F) {
	f.Add([]byte("timeout 3\ndefault x.conf\r\n#default y\n preferred z"), uint64(7), uint64(5), 3)
	f.Add([]byte("# txupd-menu: {\"default\":5,\"fallback\":4,\"entries\":[5]}\n# txupd-menu: {\"default\":6}\ndefault txupd-6.conf"), uint64(0), uint64(0), 0)
	f.Fuzz(func(t *testing.T, text []byte, number, fallback uint64, tries int) {
		if m, found, err := defaultIn(text); err != nil && (found || !errors.Is(err, grubcfg.ErrMenuChanged)) {
			t.Errorf("%v, %v with %+v", err, found, m)
		} else if found {
			// Only the last line of its kind counts.
			last := text[strings.LastIndex(string(text), summaryMark):]
			if again, _, err := defaultIn([]byte(string(last) + "\ndefault " + defaultPattern(m))); err != nil || !cmp.Equal(again, m) {
				t.Errorf("%q says %+v, and its end alone %+v (%v)", text, m, again, err)
			}
		}
		m := grubcfg.Summary{Default: number, Tries: tries, Entries: []uint64{number, fallback}}
		if fallback != number {
			m.Fallback = &fallback
		}
		out, err := withDefault(text, m)
		if err != nil {
			t.Fatal(err)
		}
		if got, found, err := defaultIn(out); err != nil || !found || !cmp.Equal(got, m) {
			t.Fatalf("%+v is read as %+v, %v, %v from\n%s", m, got, found, err, out)
		}
		if again, err := withDefault(out, m); err != nil || string(again) != string(out) {
			t.Fatalf("written twice it is (%v)\n%s\nnot\n%s", err, again, out)
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimRight(line, "\r\n")
			if !isDefaultLine(line) && !strings.HasPrefix(line, summaryMark) && !strings.Contains(string(out), line+"\n") {
				t.Fatalf("%q is lost in\n%s", line, out)
			}
		}
	})
}

// FuzzInstallDevices: what becomes an argument of grub-install is the name of a device that the text holds.
func FuzzInstallDevices(f *testing.F) {
	f.Add("* grub-pc/install_devices: /dev/../etc/shadow, /dev/, /dev/a b,/dev/vda")
	f.Add("/dev/sda\x00\n/dev/sd\u2028a")
	f.Fuzz(func(t *testing.T, text string) {
		for _, devices := range [][]string{answeredDevices(text), listedDevices(text)} {
			for _, d := range devices {
				if !strings.HasPrefix(d, "/dev/") || len(d) <= len("/dev/") || !strings.Contains(text, d) || strings.Contains(d+"/", "/../") || strings.ContainsAny(d, " \t\n\x00\x1b") {
					t.Errorf("%q", d)
				}
			}
		}
	})
}

// FuzzMountTable: of any table that the kernel could show, a path lies on the
// last of the mounts that are nearest above it, and its place there is not outside.
func FuzzMountTable(f *testing.F) {
	f.Add("1 0 0:1 / / rw - btrfs /dev/a rw\n2 1 0:2 /@x /a rw - ext4 /dev/b ro\n3 1 0:3 / /a rw - vfat c rw\n", "/a/b")
	f.Add("1 0 0:1 /a\\040b /\\011 ro shared:1 - x y z", "/\t/.")
	f.Fuzz(func(t *testing.T, text, at string) {
		mounts, err := mountinfo.GetMountsFromReader(strings.NewReader(text), nil)
		if err != nil || !path.IsAbs(at) || path.Clean(at) != at {
			return
		}
		for _, m := range mounts {
			if !path.IsAbs(m.Mountpoint) || path.Clean(m.Mountpoint) != m.Mountpoint || !path.IsAbs(m.Root) || path.Clean(m.Root) != m.Root {
				return // the kernel shows clean paths
			}
		}
		var want *mountinfo.Info
		for above := at; want == nil; above = path.Dir(above) {
			for _, m := range slices.Backward(mounts) {
				if m.Mountpoint == above {
					want = m
					break
				}
			}
			if above == "/" {
				break
			}
		}
		got := mountTable(mounts).over(at)
		if got != want {
			t.Fatalf("%s lies on %+v, not on %+v", at, got, want)
		}
		if got == nil {
			return
		}
		if place := inside(got, at); !within(place, got.Root) || strings.TrimPrefix(place, strings.TrimSuffix(got.Root, "/")) != strings.TrimPrefix(at, strings.TrimSuffix(got.Mountpoint, "/")) && place != got.Root {
			t.Fatalf("%s on %+v is %s of it", at, got, place)
		}
	})
}

// FuzzPinnedBy: what a snapshot is booted with names its root, and what is taken
// over from it names none.
func FuzzPinnedBy(f *testing.F) {
	f.Add("root=UUID=x rootflags=subvol=@,ssd ro -- rootflags=subvol=y")
	f.Add(`a="b rootflags=subvol=c d" rootflags=subvolid=5 rootflags=ssd`)
	f.Fuzz(func(t *testing.T, line string) {
		if pins := pinnedBy(line); pins != "" && !strings.Contains(strings.ReplaceAll(line, `"`, ""), pins) {
			t.Errorf("%q pins %q", line, pins)
		}
		if pins := pinnedBy(grubcfg.CommandLine(line)); pins != "" {
			t.Errorf("%q, taken over as %q, still pins %q", line, grubcfg.CommandLine(line), pins)
		}
		if strings.Count(line, `"`)%2 == 0 {
			if pinned := grubcfg.WithParameters(line, "rootflags=subvol=@/x"); pinnedBy(pinned) != "rootflags=subvol=@/x" {
				t.Errorf("%q pins %q", pinned, pinnedBy(pinned))
			}
		}
	})
}

// What package managers print and keep, whatever packages make of it.

package pkgmgr

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/txupd/txupd/internal/testbed/judge"
)

// FuzzOutcome: whatever was printed, success is what the status says, and a name
// that is said to be missing could have been asked for.
func FuzzOutcome(f *testing.F) {
	f.Add([]byte("E: Unable to locate package \x1b[2J\nE: Package 'a\nb' has no installation candidate\nE: Version '7' for '--x' was not found\n"), 100)
	f.Add([]byte("No provider of 'a b' found.\nPackage '\u009b' not found.\nNo provider of 'c' found."), 104)
	f.Fuzz(func(t *testing.T, output []byte, status int) {
		if len(output) > 8<<10 {
			return // every command is asked about, and a run that takes ten seconds counts as one that hangs
		}
		for _, m := range []Manager{apt{}, zypper{}, zypper{rolling: true}} {
			for _, c := range slices.Concat(m.Add([]string{"update"}, Options{Refresh: true}), m.Update(Options{}), m.Remove([]string{"refresh"}, Options{})) {
				o := m.Outcome(c.Argv, status, output)
				if len(o.Missing) > 0 {
					if err := CheckNames(o.Missing); err != nil {
						t.Fatalf("%s, status %d: %v", m.Name(), status, err)
					}
					for _, name := range o.Missing {
						if base, _, _ := strings.Cut(name, "="); !bytes.Contains(output, []byte(base)) || !strings.Contains(o.Note, name) {
							t.Fatalf("%s: %q is missing in %q: %s", m.Name(), name, output, o.Note)
						}
					}
				}
				if strings.ContainsFunc(o.Note, unicode.IsControl) || o.Note == "" && !o.OK {
					t.Fatalf("%s, status %d: %q", m.Name(), status, o.Note)
				}
				if o.OK && (o.Locked || len(o.Missing) > 0) || o.OK && status < 0 || o.Again && !o.OK {
					t.Fatalf("%s, status %d: %+v", m.Name(), status, o)
				}
				if last := verb(c.Argv); status == 0 && !o.OK && (m.Name() != "apt" || last != "update") {
					t.Fatalf("%s %s succeeded, and is %+v", m.Name(), last, o)
				}
				if m.Name() == "apt" && status != 0 && o.OK {
					t.Fatalf("apt failed with status %d, and is %+v", status, o)
				}
			}
		}
	})
}

// FuzzDpkgParagraph: what stands in a status file is read, among whatever other
// fields; and what dpkg would not accept is an error with its line.
func FuzzDpkgParagraph(f *testing.F) {
	f.Add("libc6", "amd64", "2.41-12", "GNU C Library\nShared libraries\n.", uint8(0))
	f.Add(strings.Repeat("x", maxName+1), "all", "1", "", uint8(5))
	f.Add("", "all", "1", "Package: evil\nStatus: install ok installed", uint8(5))
	states := []string{"installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending", "config-files", "half-installed", "not-installed"}
	f.Fuzz(func(t *testing.T, name, arch, version, description string, state uint8) {
		if strings.ContainsAny(name+arch+version+description, "\n\r") && strings.ContainsAny(name+arch+version, "\n\r") {
			return // it would be another file
		}
		status := states[int(state)%len(states)]
		text := "Package: first\nStatus: install ok installed\nArchitecture: all\nVersion: 0\n\n" +
			"pacKage: " + name + "\nStatus: hold ok " + status + "\nConffiles:\n /etc/x 00\nArchitecture:" + arch + "\nVersion:\t" + version + "\n" +
			"Description: " + strings.ReplaceAll(description, "\n", "\n ") + "\n"
		db := &dpkgStatus{index: map[string][]int{}}
		err := db.parse([]byte(text), "status")
		trim := func(s string) string { return strings.TrimRight(strings.TrimLeft(s, " \t"), " \t") }
		want := dpkgEntry{name: trim(name), arch: trim(arch), version: trim(version), state: status}
		if why := want.problem(); why != "" {
			if err == nil || !strings.HasPrefix(err.Error(), "status, line 6: ") {
				t.Fatalf("%+v: %v", want, err)
			}
			return
		}
		if err != nil {
			t.Fatalf("%+v: %v", want, err)
		}
		if len(want.name) > maxName {
			t.Fatalf("a name of %d bytes", len(want.name))
		}
		if got := db.entries[len(db.entries)-1]; got != want || want.name != "first" && len(db.entries) != 2 {
			t.Fatalf("read as %+v, written as %+v", got, want)
		}
	})
}

// FuzzAutomatic: a package is automatic if its paragraph or line says so, and no other is.
func FuzzAutomatic(f *testing.F) {
	f.Add([]byte("Package: a\nArchitecture: amd64\nAuto-Installed: 1\n\nPackage: b\nAuto-Installed: 0\n\n"), "libfoo2", "arm64")
	f.Add([]byte("\n\nAuto-Installed: 1\n\n"), "a", "all")
	f.Fuzz(func(t *testing.T, data []byte, name, arch string) {
		for mark := range parseAutomatic(data) {
			name, _, _ := strings.Cut(mark, ":")
			if !bytes.Contains(data, []byte(name)) || !bytes.Contains(data, []byte("Auto-Installed:")) {
				t.Errorf("%q is automatic by %q", mark, data)
			}
		}
		for line := range automaticNames(data) {
			if !bytes.Contains(data, []byte(line)) {
				t.Errorf("%q is automatic by %q", line, data)
			}
		}
		if e := (dpkgEntry{name: name, arch: arch, version: "1"}); name == "" || arch == "" || e.problem() != "" || strings.Contains(name, ":") {
			return
		}
		more := fmt.Appendf(slices.Clip(data), "\n\nPackage: %s\nArchitecture: %s\nAuto-Installed: 1\n\nPackage: %[1]s-dev\nArchitecture: %[2]s\nAuto-Installed: 0\n", name, arch)
		marks := parseAutomatic(more)
		if !marks.has(dpkgEntry{name: name, arch: arch}) {
			t.Errorf("%s:%s is not automatic by %q", name, arch, more)
		}
		if e := (dpkgEntry{name: name + "-dev", arch: arch}); marks.has(e) && !parseAutomatic(data).has(e) {
			t.Errorf("%s-dev:%s is automatic by %q", name, arch, more)
		}
		if !automaticNames([]byte("x\n" + name + "\n"))[name] {
			t.Errorf("%s is not automatic", name)
		}
	})
}

var (
	debVersion = regexp.MustCompile(`^([0-9]{1,5}:)?[0-9][A-Za-z0-9.+~]*(-[A-Za-z0-9.+~]+)?$`)
	rpmVersion = regexp.MustCompile(`^[A-Za-z0-9._+~^]+$`)
)

// FuzzVersionsInOrder: both orders lead nowhere in a circle, and are those of dpkg and rpm.
func FuzzVersionsInOrder(f *testing.F) {
	f.Add("1:1.0-1", "1.0~rc1", "1.0")
	f.Add("1.0^git", "1.0^", "1.0a")
	dpkg, rpm := judge.Tool(f, "dpkg"), judge.Tool(f, "rpm")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if len(a)+len(b)+len(c) > 1000 {
			return // other programs get them as arguments
		}
		for name, compare := range map[string]func(a, b string) int{"deb": compareDeb, "rpm": compareRPM, "kernel": CompareVersions} {
			sorted := []string{a, b, c}
			slices.SortFunc(sorted, compare)
			if compare(sorted[0], sorted[2]) > 0 || compare(sorted[0], sorted[1]) > 0 || compare(sorted[1], sorted[2]) > 0 {
				t.Errorf("%s: %q go in a circle", name, sorted)
			}
		}
		if dpkg != "" && debVersion.MatchString(a) && debVersion.MatchString(b) && judge.Asked("deb", a, b) {
			operator := map[int]string{-1: "lt-nl", 0: "eq", 1: "gt-nl"}[sign(compareDeb(a, b))]
			if out, err := exec.Command(dpkg, "--compare-versions", a, operator, b).CombinedOutput(); err != nil {
				t.Errorf("dpkg does not agree that %q is %s %q: %v %s", a, operator, b, err, out)
			}
		}
		if rpm != "" && rpmVersion.MatchString(a) && rpmVersion.MatchString(b) && judge.Asked("rpm", a, b) {
			out, err := exec.Command(rpm, "--eval", fmt.Sprintf("%%{lua: print(rpm.vercmp('%s','%s'))}", a, b)).Output()
			if got := fmt.Sprint(sign(compareRPMPart(a, b))); err != nil || got != strings.TrimSpace(string(out)) {
				t.Errorf("compare(%q, %q) = %s, and rpm says %s (%v)", a, b, got, out, err)
			}
		}
	})
}

// FuzzNeed: what managers say of space is what they wrote there, in bytes, and
// no number of theirs makes less than nothing of it.
func FuzzNeed(f *testing.F) {
	f.Add([]byte("'http://x/a.deb' a.deb 9223372036854775807 SHA256:0\n'http://x/b.deb' b.deb 9223372036854775807 \n"), "9223372036854775807", uint32(7), uint32(0))
	f.Add([]byte("The following packages will be upgraded:\n  htop*\nAfter this operation, 99999999999999999999 TB of additional disk space will be used.\n"), "-5", uint32(0), uint32(1))
	f.Add([]byte(`<stream><install-summary download-size="-1" space-usage-diff="3" space-usage-installed="-9223372036854775808"/></stream>`), "4", uint32(1), uint32(2))
	f.Add([]byte("After this operation, .,. kB disk space will be freed.\n"), "x", uint32(2180), uint32(500))
	root := f.TempDir()
	if err := os.MkdirAll(filepath.Join(root, dpkgDir), 0o755); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, answer []byte, size string, kilobytes, download uint32) {
		if strings.ContainsAny(size, "\r\n") {
			return
		}
		status := "Package: htop\nStatus: install ok installed\nVersion: 1\nInstalled-Size: " + size + "\n\n" +
			"Package: vim\nStatus: install ok installed\nVersion: 1\nInstalled-Size: 100\n"
		if err := os.WriteFile(filepath.Join(root, dpkgDir, "status"), []byte(status), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, m := range []Manager{apt{}, zypper{}} {
			n, err := m.Need(t.Context(), Root{Dir: root}, answer)
			if err == nil && (n.Download < 0 || n.Written < 0) || err != nil && n != (Need{}) {
				t.Errorf("%s: %+v, %v", m.Name(), n, err)
			}
		}
		said := fmt.Sprintf("The following packages will be upgraded:\n  vim\nAfter this operation, %d kB of additional disk space will be used.\n'http://x/%%27a' a %d SHA256:0\n", kilobytes, download)
		want := Need{Download: int64(download), Written: int64(kilobytes)*1000 + 100<<10}
		if n, err := (apt{}).Need(t.Context(), Root{Dir: root}, []byte(said)); err != nil || n != want {
			t.Errorf("apt: %+v, %v, want %+v", n, err, want)
		}
		said = fmt.Sprintf("<?xml version='1.0'?><stream><message>%d</message><install-summary download-size=\"%d\" space-usage-diff=\"-1\" space-usage-installed=\"%d\"/></stream>", kilobytes, download, kilobytes)
		want.Written = int64(kilobytes)
		if n, err := (zypper{}).Need(t.Context(), Root{}, []byte(said)); err != nil || n != want {
			t.Errorf("zypper: %+v, %v, want %+v", n, err, want)
		}
	})
}

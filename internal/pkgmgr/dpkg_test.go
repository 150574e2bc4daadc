package pkgmgr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const statusText = `Package: htop
Status: install ok installed
Priority: optional
Architecture: amd64
Version: 3.2.2-2
Conffiles:
 /etc/htoprc 0123456789abcdef0123456789abcdef
Description: interactive processes viewer
 Version: this is no field
 .
 Package: nor is this

Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 2.36-9

Package: libc6
Status: install ok installed
Architecture: i386
Multi-Arch: same
Version: 2.36-9

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1.0

Package: never
Status: purge ok not-installed
Architecture: amd64

Package: half
Status: install ok half-configured
Architecture: all
Version: 2:0.1

Package: broken
Status: install reinstreq half-installed
Architecture: all
Version: 1


Package: held
Status: hold ok triggers-pending
Architecture: amd64
Version: 7
`

func TestInstalledReadsTheStatusFile(t *testing.T) {
	root := writeRoot(t, map[string]string{
		"var/lib/dpkg/status": statusText,
		"var/lib/apt/extended_states": "Package: libc6\nArchitecture: i386\nAuto-Installed: 1\n\n" +
			"Package: half\nArchitecture: amd64\nAuto-Installed: 1\n\nPackage: htop\nArchitecture: amd64\nAuto-Installed: 0\n",
	})
	got, err := (apt{}).Installed(t.Context(), Root{Dir: root})
	if err != nil {
		t.Fatal(err)
	}
	want := []Package{
		{"half", "all", "2:0.1", Dependency},
		{"held", "amd64", "7", Requested},
		{"htop", "amd64", "3.2.2-2", Requested},
		{"libc6", "amd64", "2.36-9", Requested},
		{"libc6", "i386", "2.36-9", Dependency},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("installed (-want +got):\n%s", diff)
	}
}

func TestInstalledMergesTheJournalOfAnInterruptedRun(t *testing.T) {
	entry := func(name, state, arch, version string) string {
		return fmt.Sprintf("Package: %s\nStatus: install ok %s\nArchitecture: %s\nVersion: %s\n", name, state, arch, version)
	}
	root := writeRoot(t, map[string]string{
		"var/lib/dpkg/status":        statusText,
		"var/lib/dpkg/updates/0000":  entry("htop", "unpacked", "amd64", "3.3"),
		"var/lib/dpkg/updates/0001":  entry("new", "unpacked", "all", "1"),
		"var/lib/dpkg/updates/0002":  entry("htop", "installed", "amd64", "3.3"),
		"var/lib/dpkg/updates/0010":  entry("half", "installed", "amd64", "3"), // no longer for all architectures
		"var/lib/dpkg/updates/0011":  entry("held", "not-installed", "amd64", ""),
		"var/lib/dpkg/updates/0012":  entry("libc6", "installed", "i386", "2.37") + "Multi-Arch: same\n",
		"var/lib/dpkg/updates/tmp.i": "half a li",
	})
	got, err := (apt{}).Installed(t.Context(), Root{Dir: root})
	if err != nil {
		t.Fatal(err)
	}
	want := []Package{
		{"half", "amd64", "3", Requested},
		{"htop", "amd64", "3.3", Requested},
		{"libc6", "amd64", "2.36-9", Requested},
		{"libc6", "i386", "2.37", Requested},
		{"new", "all", "1", Requested},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("installed (-want +got):\n%s", diff)
	}
}

func TestInstalledRefusesADamagedDatabase(t *testing.T) {
	for name, test := range map[string]struct{ status, want string }{
		"no name":      {"Status: install ok installed\nVersion: 1\n", "line 1: a paragraph without a package name"},
		"no version":   {statusText + "\nPackage: x\nStatus: install ok installed\n", "package x has no version"},
		"no field":     {"Package: x\nnonsense\n", "line 2: neither a field"},
		"a terminal's": {"Package: x\nStatus: install ok installed\nVersion: 1\x1b[2J\n", "control character"},
	} {
		t.Run(name, func(t *testing.T) {
			root := writeRoot(t, map[string]string{"var/lib/dpkg/status": test.status})
			_, err := (apt{}).Installed(t.Context(), Root{Dir: root})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// The database of the machine that runs the tests, and dpkg's own reading of it.
func TestInstalledIsWhatDpkgQuerySays(t *testing.T) {
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		skip(t, "dpkg-query")
	}
	out, err := exec.Command("dpkg-query", "-W", "-f", "${Package}\t${Architecture}\t${Version}\t${db:Status-Status}\n").Output()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if (dpkgEntry{state: fields[3]}).present() {
			want = append(want, strings.Join(fields[:3], " "))
		}
	}
	packages, err := (apt{}).Installed(t.Context(), Root{Dir: "/"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range packages {
		got = append(got, p.Name+" "+p.Arch+" "+p.Version)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("installed (-dpkg-query +got):\n%s", diff)
	}
}

func TestOwnersKnowsMergedUsrAndDiversions(t *testing.T) {
	root := writeRoot(t, map[string]string{
		"bin":                                 "-> usr/bin",
		"lib":                                 "-> /usr/lib",
		"var/lib/dpkg/diversions":             "/usr/bin/perf\n/usr/bin/perf.old\nwrapper\n/bin/local\n/bin/local.distrib\n:\n",
		"var/lib/dpkg/info/dash.list":         "/.\n/bin\n/bin/dash\n/usr\n/usr/share\n/usr/share/doc/dash\n",
		"var/lib/dpkg/info/linux-perf.list":   "/.\n/usr\n/usr/bin\n/usr/bin/perf\n/usr/bin/local\n",
		"var/lib/dpkg/info/wrapper.list":      "/usr/bin/perf\n",
		"var/lib/dpkg/info/libc6:amd64.list":  "/usr/lib/libc.so.6\n/usr/share/doc/libc6\n",
		"var/lib/dpkg/info/libc6:i386.list":   "/usr/lib32/libc.so.6\n/usr/share/doc/libc6\n",
		"var/lib/dpkg/info/dash.postinst":     "/usr/bin/not-a-list\n",
		"var/lib/dpkg/info/name with sp.list": "/usr/share/a b\n",
	})
	got, err := (apt{}).Owners(t.Context(), Root{Dir: root}, []string{
		"/usr/bin/dash", "/bin/dash", "/usr/bin/perf", "/usr/bin/perf.old", "/usr/bin/local", "/usr/bin/local.distrib",
		"/lib/libc.so.6", "/usr/lib32/libc.so.6", "/usr/share/doc/libc6", "/usr", "/usr/bin/not-a-list", "/etc/nobody", "", "relative",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"/usr/bin/dash": "dash", "/bin/dash": "dash",
		"/usr/bin/perf": "wrapper", "/usr/bin/perf.old": "linux-perf", "/usr/bin/local.distrib": "linux-perf",
		"/lib/libc.so.6": "libc6", "/usr/lib32/libc.so.6": "libc6", "/usr/share/doc/libc6": "libc6",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
}

func TestReadingStopsWhenCancelled(t *testing.T) {
	root := writeRoot(t, map[string]string{
		"var/lib/dpkg/status": statusText, "var/lib/dpkg/updates/0000": statusText, "var/lib/dpkg/info/a.list": "/a\n",
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (apt{}).Installed(ctx, Root{Dir: root}); !errors.Is(err, context.Canceled) {
		t.Errorf("Installed: %v", err)
	}
	if _, err := (apt{}).Owners(ctx, Root{Dir: root}, []string{"/a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("Owners: %v", err)
	}
}

// parse(render(x)) == x
func TestStatusParsesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries := rapid.SliceOfDistinct(rapid.Custom(func(t *rapid.T) dpkgEntry {
			return dpkgEntry{
				name:          rapid.StringMatching(`[a-z0-9][a-z0-9+.-]{1,5}`).Draw(t, "name"),
				arch:          rapid.SampledFrom([]string{"amd64", "i386"}).Draw(t, "arch"),
				version:       rapid.StringMatching(`[0-9][0-9a-z.+~:-]{0,6}`).Draw(t, "version"),
				state:         rapid.SampledFrom([]string{"installed", "config-files", "unpacked"}).Draw(t, "state"),
				coinstallable: true,
			}
		}), func(e dpkgEntry) string { return e.name + ":" + e.arch }).Draw(t, "entries")
		var text strings.Builder
		for _, e := range entries {
			fmt.Fprintf(&text, "Package: %s\nStatus: install ok %s\nArchitecture: %s\nMulti-Arch: same\nVersion: %s\nDescription: x\n y:\n\n", e.name, e.state, e.arch, e.version)
		}
		db := &dpkgStatus{index: map[string][]int{}}
		if err := db.parse([]byte(text.String()), "status"); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(entries, db.entries) {
			t.Fatalf("got %v, want %v", db.entries, entries)
		}
	})
}

func FuzzDpkgStatus(f *testing.F) {
	f.Add([]byte(statusText))
	f.Add([]byte("Package:\x00\n: \n\r\n x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		db := &dpkgStatus{index: map[string][]int{}}
		if db.parse(data, "status") != nil {
			return
		}
		for _, e := range db.entries {
			if e.name == "" || e.present() && e.version == "" || strings.ContainsAny(e.name+e.version+e.arch, "\n\t\x1b") {
				t.Errorf("accepted %+v", e)
			}
		}
	})
}

func FuzzDpkgLists(f *testing.F) {
	f.Add([]byte("/.\n/bin/a\n"), []byte("/bin/a\n/bin/b\n:\n"))
	f.Fuzz(func(t *testing.T, list, diversions []byte) {
		merged := aliases{"/bin": "/usr/bin"}
		diverted, err := parseDiversions(diversions, merged)
		if err != nil {
			return
		}
		found := newOwnership(merged, []string{"/usr/bin/a", "/bin/b", ""})
		scanList(list, "p", diverted, found)
		for path, owner := range found.result() {
			if owner != "p" || !bytes.Contains(append(list, diversions...), []byte(path[strings.LastIndexByte(path, '/')+1:])) {
				t.Errorf("%q is owned by %q", path, owner)
			}
		}
	})
}

func BenchmarkStatusOf2000Packages(b *testing.B) {
	var text strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&text, "Package: package-%d\nStatus: install ok installed\nPriority: optional\nSection: libs\nInstalled-Size: 12345\n"+
			"Maintainer: Some Body <some.body@example.org>\nArchitecture: amd64\nMulti-Arch: same\nSource: source-%d\nVersion: 1:2.%d-3+b1\n", i, i, i)
		text.WriteString("Depends: libc6 (>= 2.34), libfoo1 (>= 1.2.3), libbar2 (>= 2.3.4~), debconf (>= 0.5) | debconf-2.0\n")
		text.WriteString("Description: one line of words\n" + strings.Repeat(" Many more words that describe it at some length, as they do in Debian.\n", 15) + "\n")
	}
	root := Root{Dir: writeRoot(b, map[string]string{"var/lib/dpkg/status": text.String()})}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		packages, err := (apt{}).Installed(b.Context(), root)
		if err != nil || len(packages) != 2000 {
			b.Fatal(len(packages), err)
		}
	}
}

// BenchmarkOwners looks for 1,000 paths in the lists of the machine that runs it.
func BenchmarkOwners(b *testing.B) {
	if _, err := os.Stat("/var/lib/dpkg/info"); err != nil {
		b.Skip("no dpkg here")
	}
	paths := []string{"/usr/bin/env"}
	for i := range 999 {
		paths = append(paths, fmt.Sprintf("/usr/share/nothing/%d", i))
	}
	for b.Loop() {
		owners, err := (apt{}).Owners(b.Context(), Root{Dir: "/"}, paths)
		if err != nil || owners["/usr/bin/env"] != "coreutils" {
			b.Fatal(owners, err)
		}
	}
}

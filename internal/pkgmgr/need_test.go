package pkgmgr

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/testbed"
)

// needs asks the real manager what commands would take, all of them together.
func (s system) needs(commands []Command) Need {
	s.t.Helper()
	var sum Need
	for _, c := range commands {
		estimate, ok := s.manager.Estimate(c)
		if !ok {
			continue
		}
		var out bytes.Buffer
		status, err := s.inside(s.t.Context(), estimate, &out, nil, nil)
		answer := out.Bytes()
		if err != nil || status != 0 {
			s.t.Fatalf("%q: %d, %v\n%s", estimate.Argv, status, err, answer)
		}
		n, err := s.manager.Need(s.t.Context(), s.root(), answer)
		if err != nil {
			s.t.Fatalf("%v\n%s", err, answer)
		}
		sum.Download += n.Download
		sum.Written += n.Written
	}
	return sum
}

// about compares sizes: managers round what they say.
func about(got, want int64) bool { return got >= want-want/50 && got <= want+want/50 }

func (s system) needsAbout(what string, commands []Command, want int64) {
	s.t.Helper()
	before := s.installed()
	if got := s.needs(commands); !about(got.Written, want) {
		s.t.Errorf("%s writes %d bytes, want about %d", what, got.Written, want)
	}
	// zypper's second run notes for the first time what was asked for: no change of packages.
	if changes := Diff(s.manager, before, s.installed()); len(changes) > 0 {
		s.t.Errorf("%s: asking for the size changed packages: %+v", what, changes)
	}
}

func TestAptTellsWhatItWrites(t *testing.T) {
	sized := func(version, kibibytes string) testbed.Deb {
		return testbed.Deb{Name: "large", Version: version, Fields: map[string]string{"Installed-Size": kibibytes}}
	}
	second := sized("1.0", "70000")
	second.Name = "second"
	s := newDebian(t, sized("1.0", "30000"), second)
	m := s.manager
	s.needsAbout("adding two", m.Add([]string{"large", "second"}, Options{}), 100_000<<10)
	s.does(m.Add([]string{"large", "second"}, Options{}))
	s.needsAbout("adding what is there", m.Add([]string{"large"}, Options{}), 0)
	s.publishDebs(sized("2.0", "20000"))
	// Smaller than what it replaces, which the snapshot before keeps.
	s.needsAbout("an update", m.Update(Options{})[1:], 20_000<<10)
	s.needsAbout("removing", m.Remove([]string{"second"}, Options{}), 0)
	s.needsAbout("a dry run", m.Add([]string{"large"}, Options{DryRun: true}), 0)
}

func TestZypperTellsWhatItWrites(t *testing.T) {
	tool := testbed.Rpm{Name: "tool", Files: map[string]string{"/usr/share/tool": strings.Repeat("x", 3_000_000)}}
	s := newSUSE(t, tool)
	m := s.manager
	s.needsAbout("adding", m.Add([]string{"tool"}, Options{}), 3_000_000)
	if got := s.needs(m.Add([]string{"tool"}, Options{})); got.Download < 1000 || got.Download > 100_000 {
		t.Errorf("a compressed package is a download of %d bytes", got.Download)
	}
	s.does(m.Add([]string{"tool"}, Options{}))
	tool.Version = "2.0"
	tool.Files = map[string]string{"/usr/share/tool": strings.Repeat("x", 2_000_000)}
	s.publishRPMs(tool)
	s.needsAbout("an update", m.Update(Options{}), 2_000_000)
	s.needsAbout("removing", m.Remove([]string{"tool"}, Options{}), 0)
}

func TestWhatAptSaysOfSpaceIsRead(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	if err := os.MkdirAll(filepath.Join(root, dpkgDir), 0o755); err != nil {
		t.Fatal(err)
	}
	status := "Package: htop\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\nInstalled-Size: 400\n\n" +
		"Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\nVersion: 1\nInstalled-Size: 10000\n\n" +
		"Package: libc6\nStatus: install ok installed\nArchitecture: i386\nMulti-Arch: same\nVersion: 1\nInstalled-Size: 9000\n\n" +
		"Package: odd\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\nInstalled-Size: much\n\n"
	if err := os.WriteFile(filepath.Join(root, dpkgDir, "status"), []byte(status), 0o644); err != nil {
		t.Fatal(err)
	}
	const uris = "'http://deb.debian.org/a_1%2b_all.deb' a_1+_all.deb 1000 SHA256:00\n'file:/srv/b.deb' b.deb 5000 SHA256:00\n'https://x/c.deb' c.deb 20 \n"
	for name, c := range map[string]struct {
		answer string
		want   Need
	}{
		"nothing":  {"0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n", Need{}},
		"download": {uris, Need{Download: 1020}},
		"new":      {"After this operation, 2180 kB of additional disk space will be used.\n" + uris, Need{1020, 2_180_000}},
		"new, large, with commas": {
			"After this operation, 1,234 MB of additional disk space will be used.\n", Need{Written: 1_234_000_000}},
		"bytes": {"After this operation, 0 B of additional disk space will be used.\n", Need{}},
		"upgrade": {
			"The following packages will be upgraded:\n  htop libc6:i386\n  odd\n1 upgraded.\nAfter this operation, 1024 B disk space will be freed.\n",
			Need{Written: 9400<<10 - 1024}},
		"removal with upgrade": {
			"The following packages will be REMOVED:\n  htop*\nThe following packages will be DOWNGRADED:\n  libc6\nAfter this operation, 5.5 GB of additional disk space will be used.\n",
			Need{Written: 5_500_000_000 + (400+19000)<<10}},
		"more is freed than there was": {"After this operation, 3 TB disk space will be freed.\n", Need{}},
	} {
		got, err := apt{}.Need(t.Context(), Root{Dir: root}, []byte(c.answer))
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
		}
	}
}

func TestWhatZypperSaysOfSpaceIsRead(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		want   Need
		fails  bool
	}{
		"nothing": {`<?xml version='1.0'?><stream><message type="info">Nothing to do.</message></stream>`, Need{}, false},
		"new": {`<?xml version='1.0'?><stream><install-summary download-size="10" space-usage-diff="-3" space-usage-installed="500" space-usage-removed="503"/></stream>`,
			Need{10, 500}, false},
		"old":        {`<stream><install-summary download-size="10" space-usage-diff="20"/></stream>`, Need{10, 20}, false},
		"old, freed": {`<stream><install-summary download-size="10" space-usage-diff="-20"/></stream>`, Need{10, 0}, false},
		"not XML":    {`<stream><install-summary download-size="10"`, Need{}, true},
		"no numbers": {`<stream><install-summary download-size="some"/></stream>`, Need{}, true},
	} {
		got, err := zypper{}.Need(t.Context(), Root{}, []byte(c.answer))
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestAFullDiskIsTold(t *testing.T) {
	for words, want := range map[string]bool{
		"dpkg: error processing archive x.deb (--unpack):\n cannot copy extracted data for './usr/x' to '/usr/x.dpkg-new': failed to write (No space left on device)": true,
		"E: You don't have enough free space in /var/cache/apt/archives/.":                                                                                            true,
		"error: installing package tool-1.0-1.noarch needs 2MB on the / filesystem":                                                                                   true,
		"installing package x needs 12KB more space on the /usr filesystem":                                                                                           true,
		"E: Unable to locate package x": false,
	} {
		for _, m := range []Manager{apt{}, zypper{}} {
			if got := m.Outcome([]string{"x", "install"}, 100, []byte(words)).NoSpace; got != want {
				t.Errorf("%s of %q: %v", m.Name(), words, got)
			}
		}
	}
}

// TestARealFullDiskIsTold, by the package manager on a file system that is full.
func TestARealFullDiskIsTold(t *testing.T) {
	testbed.NeedRoot(t)
	s := newDebian(t, testbed.Deb{Name: "large", Files: map[string]string{"/srv/small/data": strings.Repeat("0123456789abcdef", 1<<18)}})
	small := filepath.Join(s.dir, "srv/small")
	testbed.Ext4(t, small, 2)
	var words bytes.Buffer
	c := s.manager.Add([]string{"large"}, Options{})[0]
	status, err := s.inside(t.Context(), c, &words, &words, nil)
	if err != nil {
		t.Fatal(err)
	}
	if o := s.manager.Outcome(c.Argv, status, words.Bytes()); o.OK || !o.NoSpace {
		t.Errorf("%+v\n%s", o, words.Bytes())
	}
}

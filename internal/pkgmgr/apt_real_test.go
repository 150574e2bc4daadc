package pkgmgr

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/journal/record"
)

func newDebian(t *testing.T, debs ...testbed.Deb) system {
	t.Helper()
	testbed.NeedTools(t, "unshare", "dpkg-deb", "dpkg-scanpackages")
	s := newSystem(t, testbed.DebianRoot(t))
	if s.manager != (apt{}) {
		t.Fatalf("a Debian is served by %s", s.manager.Name())
	}
	s.publishDebs(debs...)
	return s
}

func (s system) publishDebs(debs ...testbed.Deb) {
	s.t.Helper()
	if err := testbed.UseDebRepo(s.t.Context(), s.dir, debs...); err != nil {
		s.t.Fatal(err)
	}
}

func helloDebs() []testbed.Deb {
	return []testbed.Deb{
		{
			Name: "hello", Depends: "libhello", Conffiles: []string{"/etc/hello.conf"},
			Files: map[string]string{"/usr/bin/hello": "#!/bin/sh\necho 1.0\n", "/etc/hello.conf": "greeting\n"},
		},
		{Name: "libhello", Files: map[string]string{"/usr/lib/libhello": "1.0"}},
		{Name: "other++", Files: map[string]string{"/usr/share/other/file": "1.0"}},
	}
}

func TestAptChangesAreExact(t *testing.T) {
	s := newDebian(t, helloDebs()...)
	m := s.manager
	added := []record.PackageChange{
		{Name: "hello", Arch: "all", Change: record.Added, New: "1.0", Reason: Requested},
		{Name: "libhello", Arch: "all", Change: record.Added, New: "1.0", Reason: Dependency},
	}
	s.changes("dry run of add", m.Add([]string{"hello"}, Options{DryRun: true}), done)
	s.changes("add", m.Add([]string{"hello"}, Options{}), done, added...)
	s.changes("add again", m.Add([]string{"hello"}, Options{}), done)
	s.changes("add a name with a plus", m.Add([]string{"other++"}, Options{}), done,
		record.PackageChange{Name: "other++", Arch: "all", Change: record.Added, New: "1.0", Reason: Requested})
	s.changes("remove it", m.Remove([]string{"other++"}, Options{}), done,
		record.PackageChange{Name: "other++", Arch: "all", Change: record.Removed, Old: "1.0", Reason: Requested})

	wantOwners := map[string]string{"/usr/bin/hello": "hello", "/etc/hello.conf": "hello", "/usr/lib/libhello": "libhello", "/usr/bin/env": "coreutils", "/usr/bin/sh": "dash"}
	if diff := cmp.Diff(wantOwners, s.owners("/usr/bin/hello", "/etc/hello.conf", "/usr/lib/libhello", "/usr/bin/env", "/usr/bin/sh", "/etc/hostname", "/usr", "/nowhere")); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}

	s.write("/etc/hello.conf", "mine\n")
	newer := helloDebs()[0]
	newer.Version, newer.Files["/etc/hello.conf"] = "2.0~rc1-1", "another greeting\n"
	s.publishDebs(newer)
	s.changes("dry run of update", m.Update(Options{DryRun: true}), done)
	s.changes("update", m.Update(Options{}), done,
		record.PackageChange{Name: "hello", Arch: "all", Change: record.Upgraded, Old: "1.0", New: "2.0~rc1-1", Reason: Requested})
	if conf, err := os.ReadFile(filepath.Join(s.dir, "etc/hello.conf")); err != nil || string(conf) != "mine\n" {
		t.Errorf("the administrator's configuration became %q, %v", conf, err)
	}
	s.changes("update again", m.Update(Options{}), done)
	s.changes("an older version", m.Add([]string{"hello=1.0"}, Options{}), done,
		record.PackageChange{Name: "hello", Arch: "all", Change: record.Downgraded, Old: "2.0~rc1-1", New: "1.0", Reason: Requested})

	s.changes("dry run of remove", m.Remove([]string{"hello"}, Options{DryRun: true}), done)
	s.changes("remove", m.Remove([]string{"hello"}, Options{}), done,
		record.PackageChange{Name: "hello", Arch: "all", Change: record.Removed, Old: "1.0", Reason: Requested})
	s.changes("remove again", m.Remove([]string{"hello"}, Options{}), done)
}

func TestAptFailuresSayWhatIsWrong(t *testing.T) {
	broken := testbed.Deb{Name: "broken", Scripts: map[string]string{"postinst": "#!/bin/sh\nexit 3\n"}}
	s := newDebian(t, append(helloDebs(), testbed.Deb{Name: "plus"}, broken)...)
	m := s.manager
	s.changes("missing", m.Add([]string{"nosuch", "hello"}, Options{}), Outcome{Missing: []string{"nosuch"}, Note: "package nosuch was not found"})
	s.changes("no regular expressions", m.Add([]string{"hel.o"}, Options{}), Outcome{Missing: []string{"hel.o"}, Note: "package hel.o was not found"})
	s.changes("missing version", m.Add([]string{"hello=9"}, Options{}), Outcome{Missing: []string{"hello=9"}, Note: "package hello=9 was not found"})
	s.changes("missing architecture", m.Add([]string{"hello:arm64"}, Options{}), Outcome{Missing: []string{"hello:arm64"}, Note: "package hello:arm64 was not found"})
	s.changes("remove what does not exist", m.Remove([]string{"nosuch"}, Options{}), Outcome{Missing: []string{"nosuch"}, Note: "package nosuch was not found"})
	s.changes("remove does not install", m.Remove([]string{"plus+"}, Options{}), Outcome{Missing: []string{"plus+"}, Note: "package plus+ was not found"})
	s.changes("a script fails", m.Add([]string{"broken"}, Options{}), Outcome{Note: "apt reported an error"},
		record.PackageChange{Name: "broken", Arch: "all", Change: record.Added, New: "1.0", Reason: Requested})
	s.changes("out of the way", m.Remove([]string{"broken"}, Options{}), done,
		record.PackageChange{Name: "broken", Arch: "all", Change: record.Removed, Old: "1.0", Reason: Requested})

	unlock := s.lock("var/cache/apt/archives/lock")
	s.changes("archives in use", m.Add([]string{"hello"}, Options{}), Outcome{Locked: true, Note: "another process is using apt"})
	unlock()

	source := testbed.AptSource(testbed.RepoPath)
	s.write("etc/apt/sources.list", source+"deb [trusted=yes] http://127.0.0.1:1/ ./\n")
	s.changes("one source is down", m.Update(Options{})[:1], Outcome{OK: true, Note: "some package sources could not be read; their old lists were used"})
	s.write("etc/apt/sources.list", "deb [trusted=yes] http://127.0.0.1:1/ ./\n")
	s.changes("all sources are down", m.Update(Options{}), Outcome{Note: "no package source could be read"})
	s.write("etc/apt/sources.list", source+"deb [trusted=yes] file:/nowhere ./\n")
	s.changes("a source is gone", m.Update(Options{}), Outcome{Note: "apt reported an error"})
}

// lock takes a lock as apt does, as another process would.
func (s system) lock(name string) (unlock func()) {
	s.t.Helper()
	f, err := os.OpenFile(filepath.Join(s.dir, name), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		s.t.Fatal(err)
	}
	return func() { f.Close() }
}

// dpkg is the judge of who owns what: every path of a real Debian that exactly
// one package owns.
func TestOwnersAreThoseOfDpkg(t *testing.T) {
	s := newDebian(t, helloDebs()...)
	var paths []string
	for _, dir := range []string{"usr/bin", "usr/sbin", "usr/lib/x86_64-linux-gnu", "etc", "usr/share"} {
		files, err := os.ReadDir(filepath.Join(s.dir, dir))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for _, f := range files {
			paths = append(paths, "/"+dir+"/"+f.Name())
		}
	}
	want := map[string]string{}
	// dpkg knows the path that the package says, which may be an alias.
	query := []string{"dpkg-query", "--search"}
	for _, path := range paths {
		query = append(query, path, strings.TrimPrefix(path, "/usr"))
	}
	out, _, err := s.run(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		packages, path, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		if strings.HasPrefix(packages, "diversion ") {
			continue
		}
		if !strings.HasPrefix(path, "/usr/") && !slices.Contains(paths, path) {
			path = "/usr" + path
		}
		var names []string
		for name := range strings.SplitSeq(packages, ", ") {
			name, _, _ = strings.Cut(name, ":")
			names = append(names, name)
		}
		if slices.Contains(paths, path) && len(slices.Compact(names)) == 1 {
			want[path] = names[0]
		}
	}
	if len(want) < 300 {
		t.Fatalf("dpkg knows the owners of %d of %d paths", len(want), len(paths))
	}
	if diff := cmp.Diff(want, s.owners(paths...)); diff != "" {
		t.Errorf("owners (-dpkg +got):\n%s", diff)
	}
}

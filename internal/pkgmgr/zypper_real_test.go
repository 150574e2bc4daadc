package pkgmgr

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/journal/record"
)

func newSUSE(t *testing.T, rpms ...testbed.Rpm) system {
	t.Helper()
	testbed.NeedTools(t, "unshare", "rpmbuild", "createrepo_c")
	s := newSystem(t, testbed.ZypperRoot(t))
	if s.manager != (zypper{rolling: true, database: "usr/lib/sysimage/rpm"}) {
		t.Fatalf("a Tumbleweed is served by %#v", s.manager)
	}
	s.publishRPMs(rpms...)
	return s
}

func (s system) publishRPMs(rpms ...testbed.Rpm) {
	s.t.Helper()
	if err := testbed.UseRpmRepo(s.t.Context(), s.dir, rpms...); err != nil {
		s.t.Fatal(err)
	}
}

func helloRPMs() []testbed.Rpm {
	return []testbed.Rpm{
		{Name: "hello", Requires: []string{"libhello"}, Files: map[string]string{"/usr/bin/hello": "#!/bin/sh\necho 1.0\n", "/usr/share/hello/file": ""}},
		{Name: "libhello", Files: map[string]string{"/usr/lib/libhello": "1.0"}},
		{Name: "other++"},
	}
}

func TestZypperChangesAreExact(t *testing.T) {
	s := newSUSE(t, helloRPMs()...)
	m := s.manager
	s.changes("dry run of add", m.Add([]string{"hello"}, Options{DryRun: true}), done)
	s.changes("add", m.Add([]string{"hello"}, Options{}), done,
		record.PackageChange{Name: "hello", Arch: "noarch", Change: record.Added, New: "1.0-1", Reason: Requested},
		record.PackageChange{Name: "libhello", Arch: "noarch", Change: record.Added, New: "1.0-1", Reason: Dependency})
	s.changes("add again", m.Add([]string{"hello"}, Options{Refresh: true}), done)
	s.changes("add by capability", m.Add([]string{"other++>=0.5"}, Options{}), done,
		record.PackageChange{Name: "other++", Arch: "noarch", Change: record.Added, New: "1.0-1", Reason: Requested})

	wantOwners := map[string]string{"/usr/bin/hello": "hello", "/bin/hello": "hello", "/usr/share/hello/file": "hello", "/usr/lib/libhello": "libhello"}
	asked := []string{"/usr/bin/hello", "/bin/hello", "/usr/share/hello/file", "/usr/lib/libhello", "/usr/bin/env", "/usr", "/nowhere"}
	if diff := cmp.Diff(wantOwners, s.owners(asked...)); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
	for len(asked) <= maxAskedPaths {
		asked = append(asked, "/usr/bin/env")
	}
	if diff := cmp.Diff(wantOwners, s.owners(asked...)); diff != "" {
		t.Errorf("owners of many (-want +got):\n%s", diff)
	}

	newer := helloRPMs()[0]
	newer.Version = "1.10"
	s.publishRPMs(newer)
	s.changes("dry run of update", m.Update(Options{DryRun: true}), done)
	s.changes("update", m.Update(Options{}), done,
		record.PackageChange{Name: "hello", Arch: "noarch", Change: record.Upgraded, Old: "1.0-1", New: "1.10-1", Reason: Requested})
	s.changes("update again", m.Update(Options{}), done)
	s.changes("Leap's update", zypper{}.Update(Options{}), done)
	s.changes("an older version", m.Add([]string{"hello=1.0"}, Options{}), done,
		record.PackageChange{Name: "hello", Arch: "noarch", Change: record.Downgraded, Old: "1.10-1", New: "1.0-1", Reason: Requested})

	s.changes("dry run of remove", m.Remove([]string{"hello"}, Options{DryRun: true}), done)
	s.changes("remove", m.Remove([]string{"hello", "other++"}, Options{}), done,
		record.PackageChange{Name: "hello", Arch: "noarch", Change: record.Removed, Old: "1.0-1", Reason: Requested},
		record.PackageChange{Name: "other++", Arch: "noarch", Change: record.Removed, Old: "1.0-1", Reason: Requested})
}

func TestZypperKeepsSeveralKernels(t *testing.T) {
	kernel := testbed.Rpm{Name: "kernel-default", Version: "6.1", Provides: []string{"multiversion(kernel)"}}
	s := newSUSE(t, kernel)
	s.write("etc/zypp/zypp.conf", "[main]\nmultiversion = provides:multiversion(kernel)\n")
	s.changes("the first", s.manager.Add([]string{"kernel-default"}, Options{}), done,
		record.PackageChange{Name: "kernel-default", Arch: "noarch", Change: record.Added, New: "6.1-1", Reason: Requested})
	kernel.Version = "6.10"
	s.publishRPMs(kernel)
	s.changes("the second", s.manager.Update(Options{}), done,
		record.PackageChange{Name: "kernel-default", Arch: "noarch", Change: record.Added, New: "6.10-1", Reason: Requested})
}

func TestZypperFailuresSayWhatIsWrong(t *testing.T) {
	s := newSUSE(t, append(helloRPMs(), testbed.Rpm{Name: "broken", Scripts: map[string]string{"post": "exit 3"}}, testbed.Rpm{Name: "lonely", Requires: []string{"nothing-has-this"}})...)
	m := s.manager
	missing := Outcome{Missing: []string{"nosuch"}, Note: "package nosuch was not found"}
	s.changes("missing", m.Add([]string{"nosuch", "hello"}, Options{}), missing)
	s.changes("missing version", m.Add([]string{"hello>9"}, Options{}), Outcome{Missing: []string{"hello>9"}, Note: "package hello>9 was not found"})
	s.changes("remove what does not exist", m.Remove([]string{"nosuch"}, Options{}), missing)
	s.changes("remove what is not installed", m.Remove([]string{"hello"}, Options{}), Outcome{Missing: []string{"hello"}, Note: "package hello was not found"})
	s.changes("cannot be installed", m.Add([]string{"lonely"}, Options{}), Outcome{Note: "zypper reported a problem"})
	s.changes("a script fails", m.Add([]string{"broken"}, Options{}), Outcome{Note: "a package's script failed"},
		record.PackageChange{Name: "broken", Arch: "noarch", Change: record.Added, New: "1.0-1", Reason: Requested})

	s.write("etc/zypp/repos.d/gone.repo", "[gone]\nname=gone\nenabled=1\nautorefresh=1\nbaseurl=dir:///nowhere\ngpgcheck=0\n")
	leftOut := Outcome{OK: true, Note: "some repositories could not be refreshed and were left out"}
	s.changes("one repository is gone", m.Add([]string{"libhello"}, Options{Refresh: true}), leftOut,
		record.PackageChange{Name: "libhello", Arch: "noarch", Change: record.Added, New: "1.0-1", Reason: Requested})
	s.changes("Leap updates from the others", zypper{}.Update(Options{}), leftOut)
	s.changes("Tumbleweed does not guess", m.Update(Options{}), Outcome{Note: "zypper reported a problem"})
	if err := os.Remove(filepath.Join(s.dir, "etc/zypp/repos.d/testbed.repo")); err != nil {
		t.Fatal(err)
	}
	s.changes("all are gone", zypper{}.Update(Options{}), Outcome{Note: "zypper reported a problem"})
	if err := os.Remove(filepath.Join(s.dir, "etc/zypp/repos.d/gone.repo")); err != nil {
		t.Fatal(err)
	}
	s.changes("none defined", m.Update(Options{}), Outcome{Note: "no repositories are defined"})
}

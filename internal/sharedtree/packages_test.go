// Real package managers on shared trees.

package sharedtree

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/snapshot"
)

// newMachine is a real root in which /opt and /srv/app are subvolumes of their own.
func newMachine(t *testing.T, tarball string, prepare func(root string) error) system {
	t.Helper()
	m := testbed.RealRoot(t, tarball, "flat", testbed.MachineOptions{Prepare: prepare})
	s := system{root: m.Root, top: m.Top}
	for at, subvolume := range map[string]string{"/opt": "@opt", "/srv/app": "@app"} {
		must(t, s.driver.Create(filepath.Join(m.Top, subvolume)))
		testbed.Mount(t, m.Device, m.Root+at, "subvol="+subvolume)
	}
	return s
}

// versions of a package that does on shared trees what packages do.
func versions() []testbed.Deb {
	script := `#!/bin/sh
set -e
case "$1" in
configure)
	mkdir -p /srv/app/state
	echo "configured after $2" >>/srv/app/state/log
	if [ -d /opt/app/old ]; then mv /opt/app/old /opt/app/moved; fi
	;;
esac
`
	purge := "#!/bin/sh\nset -e\nif [ \"$1\" = purge ]; then rm -rf /srv/app/state; fi\n"
	make := func(version string, files map[string]string) testbed.Deb {
		return testbed.Deb{
			Name: "app", Version: version, Files: files, Scripts: map[string]string{"postinst": script, "postrm": purge}, Conffiles: []string{"/opt/app/app.conf"},
		}
	}
	return []testbed.Deb{
		make("1.0", map[string]string{
			"/opt/app/bin/app": "#!/bin/sh\necho one\n", "/opt/app/app.conf": "one\n", "/opt/app/only-one": "one\n", "/opt/app/old/data": "data\n", "/srv/app/shipped": "one\n",
		}),
		make("2.0", map[string]string{
			"/opt/app/bin/app": "#!/bin/sh\necho two\n", "/opt/app/app.conf": "two\n", "/opt/app/only-two": "two\n", "/srv/app/shipped": "two\n",
		}),
	}
}

func TestDebianPackageOnSharedTrees(t *testing.T) {
	tarball := testbed.DebianRoot(t)
	testbed.NeedTools(t, "dpkg-deb", "dpkg-scanpackages")
	s := newMachine(t, tarball, func(root string) error { return testbed.UseDebRepo(t.Context(), root, versions()...) })
	file := func(version string) string { return testbed.RepoPath + "/app_" + version + "_all.deb" }

	s.transact(t, 1, nil, "dpkg -i "+file("1.0")+" >/dev/null")
	if left, err := os.ReadDir(s.root + "/opt"); err != nil || len(left) > 0 {
		t.Fatalf("/opt holds %v, %v before the hand-over", left, err)
	}
	s.give(t, 1)
	for name, want := range map[string]string{
		"/opt/app/app.conf": "one\n", "/opt/app/moved/data": "data\n", "/srv/app/shipped": "one\n", "/srv/app/state/log": "configured after \n",
	} {
		if got := read(t, s.root+name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if st, err := os.Stat(s.root + "/opt/app/bin/app"); err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("the program: %v, %v", st, err)
	}

	// What the administrator and the running program do in the meantime.
	list := s.transactAfter(t, 2, 1, "dpkg --force-confold -i "+file("2.0")+" >/dev/null")
	write(t, s.root+"/srv/app/state/log", "the program wrote\n")
	write(t, s.root+"/srv/app/state/data", "the program's data\n")
	write(t, s.root+"/opt/app/plugin", "by hand\n")
	if len(list) != 2 {
		t.Fatalf("captured: %v", list)
	}
	rows := s.give(t, 2)
	for name, want := range map[string]string{
		"/opt/app/bin/app": "#!/bin/sh\necho two\n", "/opt/app/only-two": "two\n", "/srv/app/shipped": "two\n", "/opt/app/plugin": "by hand\n",
		"/srv/app/state/log": "the program wrote\n", "/srv/app/state/log.txupd-2": "configured after \nconfigured after 1.0\n", "/srv/app/state/data": "the program's data\n",
	} {
		if got := read(t, s.root+name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if _, err := os.Lstat(s.root + "/opt/app/only-one"); !os.IsNotExist(err) {
		t.Errorf("what the new version lacks is still there: %v", err)
	}
	if !strings.Contains(rows, "/srv/app/state/log kept\n") {
		t.Errorf("rows:\n%s", rows)
	}

	s.transactAfter(t, 3, 2, "dpkg --purge app >/dev/null 2>&1")
	s.give(t, 3)
	for name, want := range map[string]bool{
		"/opt/app/bin": false, "/opt/app/app.conf": false, "/opt/app/plugin": true, "/srv/app/shipped": false, "/srv/app/state": false,
	} {
		if _, err := os.Lstat(s.root + name); (err == nil) != want {
			t.Errorf("%s after the removal: %v", name, err)
		}
	}
}

// transactAfter is a transaction that started from another one's root, whose captures were handed over.
func (s system) transactAfter(t testing.TB, n, parent snapshot.Number, script string) []Capture {
	t.Helper()
	s.from = s.dirOf(parent) + "/snapshot"
	return s.transact(t, n, nil, script)
}

func TestRpmPackageOnSharedTrees(t *testing.T) {
	tarball := testbed.ZypperRoot(t)
	testbed.NeedTools(t, "rpmbuild", "createrepo_c")
	script := "mkdir -p /srv/app/state; echo \"post $1\" >>/srv/app/state/log\n"
	version := func(v string, files map[string]string) testbed.Rpm {
		return testbed.Rpm{Name: "app", Version: v, Files: files, Scripts: map[string]string{"post": script}}
	}
	s := newMachine(t, tarball, func(root string) error {
		return testbed.UseRpmRepo(t.Context(), root,
			version("1.0", map[string]string{"/opt/app/app": "one\n", "/opt/app/only-one": "one\n", "/srv/app/shipped": "one\n"}),
			version("2.0", map[string]string{"/opt/app/app": "two\n", "/opt/app/only-two": "two\n", "/srv/app/shipped": "two\n"}))
	})
	s.transact(t, 1, nil, "zypper --non-interactive install app-1.0 >/dev/null")
	// Stacked, before anything is handed over.
	s.transact(t, 2, []snapshot.Number{1}, "zypper --non-interactive update app >/dev/null; [ ! -e /opt/app/only-one ]")
	write(t, s.root+"/srv/app/mine", "by hand\n")
	said := s.give(t, 1) + s.give(t, 2)
	if strings.Contains(said, "kept") {
		t.Errorf("rows:\n%s", said)
	}
	for name, want := range map[string]string{
		"/opt/app/app": "two\n", "/opt/app/only-two": "two\n", "/srv/app/shipped": "two\n", "/srv/app/state/log": "post 1\npost 2\n", "/srv/app/mine": "by hand\n",
	} {
		if got := read(t, s.root+name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if _, err := os.Lstat(s.root + "/opt/app/only-one"); !os.IsNotExist(err) {
		t.Errorf("what the new version lacks is still there: %v", err)
	}
}

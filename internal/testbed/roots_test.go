package testbed

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDebianRootInstallsFromARepositoryOfOurs(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	Unpack(t, DebianRoot(t), root)
	NeedTools(t, "dpkg-deb", "dpkg-scanpackages")
	greeter := Deb{
		Name: "greeter", Depends: "greeter-data (>= 1)",
		Files:     map[string]string{"/usr/bin/greet": "#!/bin/sh\ncat /usr/share/greeter/text\n", "/etc/greeter.conf": "a=1\n"},
		Conffiles: []string{"/etc/greeter.conf"},
		Scripts:   map[string]string{"postinst": "#!/bin/sh\ntouch /var/lib/greeter-configured\n"},
	}
	data := func(version, text string) Deb {
		return Deb{Name: "greeter-data", Version: version, Files: map[string]string{"/usr/share/greeter/text": text}}
	}
	if err := UseDebRepo(t.Context(), root, greeter, data("1.0", "hello\n")); err != nil {
		t.Fatal(err)
	}
	in := func(argv ...string) string {
		t.Helper()
		out, err := Chroot(t.Context(), root, argv...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	in("apt-get", "install", "-qq", "--yes", "greeter")
	if got := in("greet"); got != "hello\n" {
		t.Errorf("greet says %q", got)
	}
	if _, err := os.Stat(filepath.Join(root, "var/lib/greeter-configured")); err != nil {
		t.Errorf("the maintainer script did not run: %v", err)
	}
	if info, err := os.Stat(root); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("installing changed the mode of the root: %v, %v", info.Mode(), err)
	}
	if err := UseDebRepo(t.Context(), root, data("2:1.1", "hello again\n")); err != nil {
		t.Fatal(err)
	}
	in("apt-get", "upgrade", "-qq", "--yes")
	if got := in("greet"); got != "hello again\n" {
		t.Errorf("after the upgrade greet says %q", got)
	}
	if got := in("dpkg-query", "-W", "-f", "${Version}", "greeter-data"); got != "2:1.1" {
		t.Errorf("the database says %q", got)
	}
}

func TestZypperRootInstallsFromARepositoryOfOurs(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	Unpack(t, ZypperRoot(t), root)
	NeedTools(t, "rpmbuild", "createrepo_c")
	greeter := Rpm{
		Name: "greeter", Requires: []string{"greeter-data >= 1"},
		Files:   map[string]string{"/usr/bin/greet": "#!/bin/sh\ncat /usr/share/greeter/text\n"},
		Scripts: map[string]string{"post": "touch /var/lib/greeter-configured"},
	}
	data := func(version, text string) Rpm {
		return Rpm{Name: "greeter-data", Version: version, Files: map[string]string{"/usr/share/greeter/text": text}}
	}
	if err := UseRpmRepo(t.Context(), root, greeter, data("1.0", "hello\n")); err != nil {
		t.Fatal(err)
	}
	in := func(argv ...string) string {
		t.Helper()
		out, err := Chroot(t.Context(), root, argv...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	out := in("zypper", "--non-interactive", "install", "greeter")
	if got := in("greet"); got != "hello\n" {
		t.Errorf("greet says %q; zypper said\n%s", got, out)
	}
	if strings.Contains(out, "Warning") {
		t.Errorf("zypper is not content with the root:\n%s", out)
	}
	if _, err := os.Stat(filepath.Join(root, "var/lib/greeter-configured")); err != nil {
		t.Errorf("the scriptlet did not run: %v", err)
	}
	if err := UseRpmRepo(t.Context(), root, data("1.1", "hello again\n")); err != nil {
		t.Fatal(err)
	}
	in("zypper", "--non-interactive", "update")
	if got := in("rpm", "-q", "--qf", "%{VERSION}", "greeter-data"); got != "1.1" {
		t.Errorf("the database says %q", got)
	}
	for _, foreign := range []string{"usr/bin/dpkg", "usr/bin/apt-get", "var/lib/dpkg/status"} {
		if _, err := os.Lstat(filepath.Join(root, foreign)); err == nil {
			t.Errorf("the root still has /%s", foreign)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "usr/lib/sysimage/rpm/rpmdb.sqlite")); err != nil {
		t.Errorf("the rpm database is elsewhere: %v", err)
	}
}

func TestCacheBuildsOnceAndServesTheOldWhenABuildFails(t *testing.T) {
	t.Setenv("TXUPD_CACHE", t.TempDir())
	builds, fail := 0, error(nil)
	c := cached{name: "thing", inputs: []string{"a"}, maxAge: time.Hour}
	c.build = func(_ context.Context, path, scratch string) error {
		builds++
		if fail != nil {
			return fail
		}
		return os.WriteFile(path, []byte("x"), 0o644)
	}
	first, err := c.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.get(t.Context())
	if err != nil || again != first || builds != 1 {
		t.Errorf("the second call gave %q, %v after %d builds; want %q after one", again, err, builds, first)
	}
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(first, old, old); err != nil {
		t.Fatal(err)
	}
	fail = errors.New("no network")
	if again, err = c.get(t.Context()); err != nil || again != first || builds != 2 {
		t.Errorf("an outdated file and a failing build gave %q, %v after %d builds", again, err, builds)
	}
	c.inputs = []string{"a", "b"}
	if _, err := c.get(t.Context()); !errors.Is(err, fail) {
		t.Errorf("other inputs and a failing build gave %v", err)
	}
	fail = nil
	ancient := time.Now().Add(-2 * staleAfter)
	if err := os.Chtimes(first, ancient, ancient); err != nil {
		t.Fatal(err)
	}
	if other, err := c.get(t.Context()); err != nil || other == first {
		t.Errorf("other inputs gave %q, %v", other, err)
	}
	if _, err := os.Stat(first); err == nil {
		t.Error("what nobody used for months is still in the cache")
	}
}

func TestCacheWaitsForWhoeverBuildsTheSame(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TXUPD_CACHE", dir)
	unlock, err := lock(t.Context(), filepath.Join(dir, "thing.lock"))
	if err != nil {
		t.Fatal(err)
	}
	c := cached{name: "thing", build: func(context.Context, string, string) error {
		return errors.New("built although somebody else had done so")
	}}
	done := make(chan error, 1)
	go func() {
		_, err := c.get(t.Context())
		done <- err
	}()
	if err := os.WriteFile(filepath.Join(dir, c.key()+"-thing"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	unlock()
	if err := <-done; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	unlock, err = lock(ctx, filepath.Join(dir, "thing.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	cancel()
	if _, err := lock(ctx, filepath.Join(dir, "thing.lock")); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting for the lock ended with %v when cancelled", err)
	}
}

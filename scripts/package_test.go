package scripts

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/txupd/txupd/internal/testbed"
)

// TestPackagesComeAndGo: installed into a fresh root they work, with the units
// enabled; removed they leave nothing.
func TestPackagesComeAndGo(t *testing.T) {
	testbed.NeedTools(t, "mmdebstrap", "unshare", "rpm")
	bin := t.TempDir()
	if err := os.Chmod(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("make", "--no-print-directory", "-C", "..", "packages", "BIN="+bin).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Run("deb", func(t *testing.T) {
		r := freshRoot(t, testbed.RootSpec{Name: "debian-init", Include: []string{"ca-certificates", "dbus", "systemd"}})
		before := r.files()
		r.run("dpkg", "--install", r.bring(bin, "*.deb"))
		r.installed()
		if out := r.run("dpkg", "--verify", "txupd"); out != "" {
			t.Errorf("dpkg finds it changed:\n%s", out)
		}
		wants := "etc/systemd/system/boot-complete.target.requires/txupd-boot-check.service"
		if target, err := os.Readlink(filepath.Join(r.dir, wants)); err != nil || target != "/usr/lib/systemd/system/txupd-boot-check.service" {
			t.Errorf("its units are not enabled: %s leads to %q, %v", wants, target, err)
		}
		// An update leaves what somebody has disabled.
		r.run("systemctl", "disable", "txupd-state.service")
		r.run("dpkg", "--install", r.bring(bin, "*.deb"))
		if out, err := r.try("systemctl", "is-enabled", "txupd-state.service"); err == nil {
			t.Errorf("an update enabled what was disabled: %s", out)
		}
		r.run("dpkg", "--purge", "txupd")
		r.same(before)
	})
	t.Run("rpm", func(t *testing.T) {
		r := freshRoot(t, testbed.Zypper())
		// What others' packages bring on a system of rpms, and this one from Debian lacks.
		for _, dir := range []string{
			"usr/lib/systemd/system-preset", "usr/share/dbus-1/system-services", "usr/share/fish/vendor_completions.d",
			"usr/share/man/man1", "usr/share/man/man5", "usr/share/man/man8", "usr/share/zsh/site-functions",
		} {
			if err := os.MkdirAll(filepath.Join(r.dir, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		before := r.files()
		// What it needs of a system is below this one as another kind of packages.
		r.run("rpm", "--install", "--nodeps", r.bring(bin, "*.rpm"))
		r.installed()
		if out := r.run("rpm", "--verify", "--nodeps", "txupd"); out != "" {
			t.Errorf("rpm finds it changed:\n%s", out)
		}
		r.run("rpm", "--erase", "txupd")
		r.same(before)
	})
}

// fresh is a root that nobody has used.
type fresh struct {
	t   *testing.T
	dir string
}

func freshRoot(t *testing.T, spec testbed.RootSpec) fresh {
	t.Helper()
	tarball, err := testbed.BuildRoot(t.Context(), spec, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "root")
	testbed.Unpack(t, tarball, dir)
	return fresh{t, dir}
}

func (r fresh) try(argv ...string) (string, error) {
	// rpm changes the propagation of "/", which must be a mount for that.
	enter := []string{"--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-ec",
		`mount --bind "$0" "$0"; mount -t proc proc "$0/proc"; exec chroot "$0" "$@"`, r.dir}
	cmd := exec.Command("unshare", append(enter, argv...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_OFFLINE=1"}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%q: %w\n%s%s", argv, err, out.String(), errs.String())
	}
	return out.String(), err
}

func (r fresh) run(argv ...string) string {
	r.t.Helper()
	out, err := r.try(argv...)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// bring copies the one package into the root and returns its path there.
func (r fresh) bring(bin, pattern string) string {
	r.t.Helper()
	found, err := filepath.Glob(filepath.Join(bin, "packages", pattern))
	if err != nil || len(found) != 1 {
		r.t.Fatalf("packages %q, %v", found, err)
	}
	raw, err := os.ReadFile(found[0])
	if err != nil {
		r.t.Fatal(err)
	}
	to := "/tmp/" + filepath.Base(found[0])
	if err := os.WriteFile(filepath.Join(r.dir, to), raw, 0o644); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { os.Remove(filepath.Join(r.dir, to)) })
	return to
}

// installed: its programs run, and what they are found by is there.
func (r fresh) installed() {
	r.t.Helper()
	if out := r.run("txctl", "help"); !strings.Contains(out, "rollback") {
		r.t.Errorf("txctl says\n%s", out)
	}
	if out, err := r.try("/usr/libexec/txupd", "--no-such-option"); err == nil || !strings.Contains(err.Error(), "no-such-option") {
		r.t.Errorf("txupd says %s, %v", out, err)
	}
	for _, path := range []string{
		"usr/share/dbus-1/system-services/org.txupd1.service", "usr/share/dbus-1/system.d/org.txupd1.conf", "usr/lib/systemd/system/txupd.service",
		"usr/share/man/man1/txctl.1.gz", "usr/share/man/man5/txupd.toml.5.gz", "usr/share/bash-completion/completions/txctl", "etc/txupd/conf.d",
	} {
		if _, err := os.Stat(filepath.Join(r.dir, path)); err != nil {
			r.t.Error(err)
		}
	}
}

// files lists everything but what package managers keep of their own work.
func (r fresh) files() []string {
	r.t.Helper()
	var all []string
	err := filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(path, r.dir)
		for _, theirs := range []string{"/var/lib/dpkg", "/var/log", "/var/cache", "/tmp", "/usr/lib/sysimage/rpm", "/proc"} {
			if rel == theirs {
				return filepath.SkipDir
			}
		}
		all = append(all, rel)
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

func (r fresh) same(before []string) {
	r.t.Helper()
	if diff := cmp.Diff(before, r.files()); diff != "" {
		r.t.Errorf("it leaves the root changed (-before +after):\n%s", diff)
	}
}

package sandbox

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/testbed"
)

// bootScript is what the scripts of boot loaders and services do.
const bootScript = `set -e
command -v grub-install
update-grub
grub-install /dev/sda
echo "frontend=$DEBIAN_FRONTEND transaction=$TXUPD_TRANSACTION home=$HOME"
`

const bootLog = "update-grub \ngrub-install /dev/sda"

func wantInstalled(t *testing.T, s *Sandbox, o output) {
	t.Helper()
	if o.exit.Status != 0 {
		t.Fatalf("status %d\n%s%s", o.exit.Status, o.out, o.err)
	}
	for _, want := range []string{"/run/txupd/shims/grub-install", "txupd: update-grub not run in a transaction", "transaction=7 home=/root"} {
		if !strings.Contains(o.out+o.err, want) {
			t.Errorf("%q is missing in\n%s%s", want, o.out, o.err)
		}
	}
	if log := script(t, s, "cat /run/txupd/shims.log"); log != bootLog {
		t.Errorf("the log of the shims is %q", log)
	}
}

func TestScriptsOfDebianPackagesDoNoHarm(t *testing.T) {
	tarball := testbed.DebianRoot(t)
	testbed.NeedTools(t, "dpkg-deb", "dpkg-scanpackages")
	root := filepath.Join(t.TempDir(), "root")
	testbed.Unpack(t, tarball, root)
	must(t, testbed.UseDebRepo(t.Context(), root, testbed.Deb{
		Name: "loader",
		Files: map[string]string{
			"/usr/sbin/update-grub":  "#!/bin/sh\ntouch /harm\n",
			"/usr/sbin/grub-install": "#!/bin/sh\ntouch /harm\n",
			"/etc/init.d/loader":     "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: loader\n# Default-Start: 2\n# Default-Stop: 0\n### END INIT INFO\ntouch /harm\n",
		},
		Scripts: map[string]string{"postinst": "#!/bin/sh\n" + bootScript + "update-rc.d loader defaults >/dev/null\ninvoke-rc.d loader start\n"},
	}))
	for _, argv := range [][]string{
		{"apt-get", "-y", "install", "loader"},
		{"dpkg", "-i", testbed.RepoPath + "/loader_1.0_all.deb"},
	} {
		t.Run(argv[0], func(t *testing.T) {
			s := open(t, Config{Root: root, Number: 7, Env: []string{"DEBIAN_FRONTEND=noninteractive"}})
			o := try(t, s, Command{Argv: argv})
			wantInstalled(t, s, o)
			if !strings.Contains(o.out+o.err, "policy-rc.d denied execution of start") {
				t.Errorf("the service was not refused:\n%s%s", o.out, o.err)
			}
			script(t, s, "[ ! -e /harm ] && dpkg-query -W loader")
		})
	}
}

func TestScriptsOfRpmPackagesDoNoHarm(t *testing.T) {
	tarball := testbed.ZypperRoot(t)
	testbed.NeedTools(t, "rpmbuild", "createrepo_c")
	root := filepath.Join(t.TempDir(), "root")
	testbed.Unpack(t, tarball, root)
	must(t, testbed.UseRpmRepo(t.Context(), root, testbed.Rpm{
		Name: "loader",
		Files: map[string]string{
			"/usr/sbin/update-grub":  "#!/bin/sh\ntouch /harm\n",
			"/usr/sbin/grub-install": "#!/bin/sh\ntouch /harm\n",
		},
		Scripts: map[string]string{"post": bootScript},
	}))
	s := open(t, Config{Root: root, Number: 7})
	o := try(t, s, Command{Argv: []string{"zypper", "--non-interactive", "install", "loader"}})
	wantInstalled(t, s, o)
	script(t, s, "[ ! -e /harm ] && rpm -q loader")
}

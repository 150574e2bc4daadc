//go:build machine

package machine

import (
	"errors"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/txupd/txupd/internal/bus"
)

// TestAnInstalledMachineAnswers: what scripts/install installs is started at
// boot and by a call, and serves everybody.
func TestAnInstalledMachineAnswers(t *testing.T) {
	s := start(t, plain)
	status := document[bus.Status](s, "status")
	if status.Booted == nil || status.Booted.Number != 0 {
		t.Errorf("booted is %+v, want the adopted root as snapshot 0", status.Booted)
	}
	units := strings.Fields(s.must("sh", "-c", "cd /usr/lib/systemd/system && ls txupd*"))
	for _, unit := range units {
		want := []string{"enabled", "static"}
		if unit == "txupd-auto.timer" || unit == "txupd-metrics.socket" {
			want = []string{"disabled"} // until somebody wants it
		}
		if state := strings.TrimSpace(s.run("systemctl", "is-enabled", unit).Stdout); !slices.Contains(want, state) {
			t.Errorf("%s is %s", unit, state)
		}
	}
	s.must("systemctl", "stop", "txupd.service")
	s.must("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "txctl", "status", "--json")
	if state := s.must("systemctl", "is-active", "txupd.service"); strings.TrimSpace(state) != "active" {
		t.Errorf("a call was answered by a daemon that is %s", state)
	}
	img := plain(t)
	console, err := img.FirstConsole()
	s.check(err)
	for _, bad := range []string{"[FAILED]", "[DEPEND]", "Kernel panic"} {
		if strings.Contains(console, bad) {
			t.Errorf("the first boot showed %s:\n%s", bad, console)
		}
	}
	b := s.reboot()
	if b.ID != s.bootID()+" "+b.Root || b.Root != "/@rootfs" || s.vm.Resets() != 1 {
		t.Errorf("after a reboot: %+v, %d resets", b, s.vm.Resets())
	}
	t.Logf("a boot costs\n%s%s", s.must("systemd-analyze", "time", "--no-pager"), s.must("systemd-analyze", "blame", "--no-pager"))
}

// TestACutMachineComesBackByTheMenu is about the harness: a cut keeps what was
// flushed and ends everything else, and the menu does what a person sees.
func TestACutMachineComesBackByTheMenu(t *testing.T) {
	thorough(t)
	s := start(t, plain)
	big := strings.Repeat("0123456789abcdef", 1<<16)
	s.check(s.vm.WriteFile(s.context(), "/usr/flushed", []byte(big), 0o600))
	s.must("sync", "--file-system", "/usr/flushed")
	if _, err := s.vm.ReadFile(s.context(), "/usr/absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading what is not there: %v", err)
	}
	before := strings.TrimSpace(s.must("cat", "/proc/sys/kernel/random/boot_id"))
	s.vm.Cut()
	if _, err := s.vm.Run(s.context(), "true"); err == nil {
		t.Error("a machine without power has run a command")
	}
	s.check(s.vm.PowerOn(s.context()))
	s.check(s.vm.ChooseEntry(s.context(), regexp.MustCompile("^Advanced options")))
	s.check(s.vm.ChooseEntry(s.context(), regexp.MustCompile("with Linux .*-cloud-amd64")))
	b := s.booted()
	if strings.HasPrefix(b.ID, before) || s.vm.Resets() != 0 || len(s.vm.Boots()) != 2 {
		t.Errorf("after the cut: boot %s (before %s), %d resets, boots %+v", b.ID, before, s.vm.Resets(), s.vm.Boots())
	}
	text, err := s.vm.ReadFile(s.context(), "/usr/flushed")
	s.check(err)
	if string(text) != big {
		t.Errorf("of what was flushed, %d bytes of %d are there", len(text), len(big))
	}
	if !strings.Contains(s.vm.Console(), "*Debian GNU/Linux, with Linux") {
		t.Error("the mark of the menu was not on the entry")
	}
	s.started()
}

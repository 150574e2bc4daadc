//go:build machine

// Soft-reboots: user space begins anew in another root, and the kernel stays.

package machine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/testbed/machine"
	"github.com/txupd/txupd/pkg/journal/record"
)

// rebootBy reboots by a method and says how long it takes until everything has been started.
func (s *system) rebootBy(method string) time.Duration {
	s.t.Helper()
	began := time.Now()
	if r := s.run("txctl", "reboot", "--now", "--method", method); r.Exit != 0 {
		s.t.Fatalf("it does not reboot: %+v", r)
	}
	s.booted()
	s.started()
	took := time.Since(began)
	s.judged()
	return took
}

// TestASoftReboot: into what was pending, with the same kernel, and back; how
// long it takes beside a full one is said.
func TestASoftReboot(t *testing.T) {
	s := start(t, prepared(machine.Variant{}))
	const mark = "cat /run/reboot-required 2>/dev/null || true"
	s.must("txctl", "pkg", "add", machine.Hello)
	n := s.pending()
	if got := s.must("sh", "-c", mark); !strings.Contains(got, fmt.Sprintf("snapshot %d boots next", n)) {
		t.Errorf("the mark says %q", got)
	}
	s.must("sh", "-c", "echo edited >/etc/edited-before")
	s.must("txctl", "reboot", "--in", "2h")
	s.must("txctl", "boot-once", "0")
	if r := document[bus.RebootStatus](s, "reboot", "--status").Reboot; r == nil || r.Method != bus.RebootFull || !strings.Contains(r.Why, "boot snapshot 0 once") {
		t.Errorf("with another one to be booted once, asked for is %+v", r)
	}
	s.must("txctl", "boot-once", "--cancel")
	if r := document[bus.RebootStatus](s, "reboot", "--status").Reboot; r == nil || r.Method != bus.RebootSoft || r.Why == "" {
		t.Errorf("asked for is %+v", r)
	}
	t.Logf("it is said:\n%s", s.must("txctl", "reboot", "--status"))
	id, resets := s.bootID(), s.vm.Resets()
	soft := s.rebootBy(bus.RebootAuto)
	if s.bootID() != id || s.vm.Resets() != resets {
		t.Errorf("the kernel was started again")
	}
	if root := strings.TrimSpace(s.must("findmnt", "--noheadings", "--output", "FSROOT", "/")); root != fmt.Sprintf("/@snapshots/%d/snapshot", n) {
		t.Fatalf("the root is %s", root)
	}
	if out := s.must("hello"); !strings.Contains(out, "Hello, world!") {
		t.Errorf("hello says %q", out)
	}
	s.must("grep", "edited", "/etc/edited-before")
	st := s.status()
	if st.Booted.Number != n || st.Booted.Verdict != record.Good || st.Pending != nil || st.Reboot != nil || len(st.Warnings) > 0 {
		t.Errorf("the status is %+v", st)
	}
	if rec := s.show(n); len(rec.Boots) != 1 || rec.Boots[0].BootID != id || rec.Boots[0].Verdict != record.Good {
		t.Errorf("the boots are %+v", rec.Boots)
	}
	if got := s.must("sh", "-c", mark+"; findmnt /run/nextroot || true"); got != "" {
		t.Errorf("left over is %q", got)
	}
	// The numbers say so, over the socket and to others than root.
	s.must("systemctl", "start", "txupd-metrics.socket")
	for _, ask := range []string{"txctl metrics", `perl -MIO::Socket::UNIX -e '$s=IO::Socket::UNIX->new(Peer=>"/run/txupd/metrics.sock") or die $!; print $s "GET /metrics HTTP/1.0\r\n\r\n"; print <$s>'`} {
		got := s.must("su", "-s", "/bin/sh", "-c", ask, "nobody")
		for _, want := range []string{fmt.Sprintf("txupd_snapshot_number{role=\"booted\"} %d\n", n), "txupd_booted_verdict{verdict=\"good\"} 1\n", "txupd_reboot_required 0\n"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s does not say %q:\n%s", ask, want, got)
			}
		}
	}
	// The loader comes to the same root.
	s.reboot()
	s.consistent(n)

	// Another kernel takes a full reboot, and it is said why.
	s.must("txctl", "pkg", "add", machine.Kernel)
	m := s.pending()
	if r := s.run("txctl", "reboot", "--now", "--method", "soft-reboot"); r.Exit != 10 || !strings.Contains(r.Stderr, "the kernel changes from") {
		t.Errorf("a soft-reboot into another kernel: %+v", r)
	}
	full := s.rebootBy(bus.RebootAuto)
	s.consistent(m)
	t.Logf("until everything was started: %.1f s by a soft-reboot, %.1f s by a full one, %.2f of it", soft.Seconds(), full.Seconds(), soft.Seconds()/full.Seconds())

	// Where it is left to others, they find the mark, and nothing else happens.
	s.configure("[reboot]\nmethod = \"none\"\n")
	if out := s.must("txctl", "reboot", "--now", "-m", "by hand"); !strings.Contains(out, bus.RebootMark) {
		t.Errorf("it is said: %s", out)
	}
	if got := s.must("sh", "-c", mark); !strings.Contains(got, "a reboot is asked for: by hand") || s.status().Reboot != nil {
		t.Errorf("the mark says %q", got)
	}
}

// TestASoftRebootThatFailsIsLeft: an init that ends, and one that cannot be
// started. No boot loader counted the first try; it counts those after the panic.
func TestASoftRebootThatFailsIsLeft(t *testing.T) {
	for name, damage := range map[string]string{
		"ends":              brokenInit,
		"cannot be started": `head -c 4096 /usr/lib/systemd/systemd >/usr/lib/systemd/systemd.new && chmod 755 /usr/lib/systemd/systemd.new && mv /usr/lib/systemd/systemd.new /usr/lib/systemd/systemd`,
	} {
		t.Run(name, func(t *testing.T) {
			if name != "ends" && testing.Short() {
				t.Skip("what an init that ends shows is enough")
			}
			s := start(t, prepared(machine.Variant{}))
			s.configure("[boot]\ntries = 1\npanic-timeout = \"1s\"\n")
			s.must("txctl", "run", "-m", "no init", "--", "sh", "-c", damage)
			n := s.status().Pending.Number
			resets := s.vm.Resets()
			s.must("txctl", "reboot", "--now", "--method", "soft-reboot")
			s.booted()
			s.judged()
			if got := s.vm.Resets() - resets; got != 2 {
				t.Errorf("%d resets, not 2", got)
			}
			s.consistent(0)
			s.left(n, "did not come up in 1 tries")
		})
	}
}

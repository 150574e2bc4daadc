//go:build machine

// Reboots that disturb nobody.

package machine

import (
	"strings"
	"testing"
	"time"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/testbed/machine"
)

// waits expects that the reboot that is asked for waits for something that is said in words.
func (s *system) waits(words string) {
	s.t.Helper()
	var last bus.RebootStatus
	for range 60 {
		last = document[bus.RebootStatus](s, "reboot", "--status")
		if last.Reboot != nil && strings.Contains(last.Reboot.Waits, words) {
			return
		}
		time.Sleep(time.Second)
	}
	s.t.Fatalf("the reboot does not wait for %q: %+v", words, last.Reboot)
}

// TestARebootWaitsForItsWindowAndForPeople: it is asked for in the evening; the
// window opens while somebody is logged in and a program keeps the machine up;
// when both have ended the machine reboots into what was pending.
func TestARebootWaitsForItsWindowAndForPeople(t *testing.T) {
	s := start(t, prepared(machine.Variant{}))
	s.must("useradd", "--create-home", "alice")
	s.must("systemd-run", "--unit=alice", "--property=PAMName=login", "--property=User=alice", "--setenv=XDG_SESSION_CLASS=user", "sleep", "infinity")
	s.must("systemd-run", "--unit=backup", "systemd-inhibit", "--what=shutdown", "--who=backup", "--why=nightly run", "sleep", "infinity")
	// The clock of the machine stands two minutes before the window.
	s.must("date", "--utc", "--set", "2026-06-02 03:28:00")
	s.configure("[reboot]\nspread = \"0s\"\n[[reboot.window]]\nstart = \"03:30\"\nlength = \"2h\"\nzone = \"UTC\"\n")
	s.must("txctl", "pkg", "add", machine.Hello)
	n := s.pending()
	s.must("txctl", "reboot", "--window", "-m", "a greeting")
	r := document[bus.RebootStatus](s, "reboot", "--status").Reboot
	if r == nil || r.Waits != "" || r.Next.UTC().Format(time.DateTime) != "2026-06-02 03:30:00" || strings.Join(r.Reasons, "") != "a greeting" {
		t.Fatalf("asked for is %+v", r)
	}
	// The request outlives a daemon that is killed.
	s.must("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "txupd")
	s.must("date", "--utc", "--set", "2026-06-02 03:30:00")
	s.waits("held by backup: nightly run")
	s.must("systemctl", "stop", "backup")
	s.waits("logged in: alice")
	if st := s.status(); st.Reboot == nil || st.Booted.Number == n {
		t.Errorf("the status is %+v", st)
	}
	said := s.must("journalctl", "--boot", "--no-pager", "--unit", "txupd")
	for _, want := range []string{"a reboot is asked for", "a reboot waits"} {
		if !strings.Contains(said, want) {
			t.Errorf("the journal does not say that %s:\n%s", want, said)
		}
	}
	before := s.bootID()
	s.must("systemctl", "stop", "alice")
	s.booted()
	s.started()
	s.judged()
	if after := s.bootID(); after == before {
		t.Error("the machine has not rebooted")
	}
	if st := s.status(); st.Booted.Number != n || st.Pending != nil || st.Reboot != nil {
		t.Errorf("after it: %+v", st)
	}
	s.consistent(n)
	if out := s.must("txctl", "reboot", "--status"); !strings.Contains(out, "no reboot is asked for") {
		t.Errorf("still asked for: %s", out)
	}
	s.expect(4, "no reboot is asked for", "txctl", "reboot", "--cancel")
}

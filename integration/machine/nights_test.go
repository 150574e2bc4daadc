//go:build machine

// Reboots that disturb nobody.

package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/internal/testbed/machine"
	"github.com/txupd/txupd/pkg/journal/record"
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

// aliceLogsIn makes a session, which ends with the unit alice.
func (s *system) aliceLogsIn() {
	s.t.Helper()
	s.must("useradd", "--create-home", "alice")
	s.must("systemd-run", "--unit=alice", "--property=PAMName=login", "--property=User=alice", "--setenv=XDG_SESSION_CLASS=user", "sleep", "infinity")
}

// TestARebootWaitsForItsWindowAndForPeople: it is asked for in the evening; the
// window opens while somebody is logged in and a program keeps the machine up;
// when both have ended the machine reboots into what was pending.
func TestARebootWaitsForItsWindowAndForPeople(t *testing.T) {
	s := start(t, prepared(machine.Variant{}))
	s.aliceLogsIn()
	s.must("systemd-run", "--unit=backup", "systemd-inhibit", "--what=shutdown", "--who=backup", "--why=nightly run", "sleep", "infinity")
	// The clock of the machine stands two minutes before the window.
	s.must("date", "--utc", "--set", "2026-06-02 03:28:00")
	s.configure("[reboot]\nmethod = \"reboot\"\nspread = \"0s\"\n[[reboot.window]]\nstart = \"03:30\"\nlength = \"2h\"\nzone = \"UTC\"\n")
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

// news is a repository in the guest, of one package whose version 3 spoils the machine.
const news = "/usr/local/news"

// publish adds a version of the package to the repository on the running system.
func (s *system) publish(version string) {
	s.t.Helper()
	deb := testbed.Deb{Name: "service", Version: version, Files: map[string]string{"/usr/share/service/version": version + "\n"}}
	if version == "3.0" {
		deb.Files["/usr/share/service/broken"] = "it does not start\n"
	}
	dir := s.t.TempDir()
	s.check(testbed.WriteDebRepo(s.context(), dir, deb))
	s.must("rm", "-rf", news)
	s.must("mkdir", news)
	files, err := os.ReadDir(dir)
	s.check(err)
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		s.check(err)
		s.check(s.vm.WriteFile(s.context(), news+"/"+f.Name(), text, 0o644))
	}
}

// night lets the timer fire, and waits for the end of the run.
func (s *system) night(day int) {
	s.t.Helper()
	before := s.must("systemctl", "show", "--property=InvocationID", "txupd-auto.service")
	s.must("date", "--utc", "--set", fmt.Sprintf("2027-06-%02d 01:59:57", day))
	for range 120 {
		time.Sleep(time.Second)
		now := s.must("systemctl", "show", "--property=InvocationID", "txupd-auto.service")
		if now != before && strings.TrimSpace(s.must("systemctl", "show", "--property=ActiveState", "--value", "txupd-auto.service")) == "inactive" {
			s.t.Logf("night %d:\n%s", day, s.must("journalctl", "--boot", "--no-pager", "--output=cat", "--unit", "txupd-auto.service"))
			return
		}
	}
	s.t.Fatalf("the timer did not fire: %s", s.must("systemctl", "status", "--no-pager", "txupd-auto.timer"))
}

// locks is where the FleetLock server keeps what it was asked: no root is part of it.
const locks = "/boot/efi/locks"

// lockServer starts a FleetLock server in every boot. Another machine has its only slot.
func (s *system) lockServer() {
	s.t.Helper()
	program, err := os.ReadFile("testdata/fleetlockd")
	s.check(err)
	s.check(s.vm.WriteFile(s.context(), "/usr/local/bin/fleetlockd", program, 0o755))
	s.check(s.vm.WriteFile(s.context(), "/etc/systemd/system/fleetlockd.service",
		[]byte("[Unit]\nRequiresMountsFor="+locks+"\n[Service]\nExecStart=/usr/local/bin/fleetlockd "+locks+"\n[Install]\nWantedBy=multi-user.target\n"), 0o644))
	s.check(s.vm.WriteFile(s.context(), locks, []byte("pre-reboot another-one 200 /elsewhere\n"), 0o644))
	s.must("systemctl", "daemon-reload")
	s.must("systemctl", "enable", "--now", "fleetlockd")
}

// slots are what we asked the server for and got, as "pre-reboot 3" in snapshot 3.
func (s *system) slots() []string {
	s.t.Helper()
	var got []string
	for line := range strings.Lines(s.must("cat", locks)) {
		fields := strings.Fields(line)
		if len(fields) != 4 || fields[1] == "another-one" || fields[2] == "409" {
			continue
		}
		if fields[2] != "200" {
			s.t.Errorf("the server was asked %q", line)
		}
		number := strings.TrimSuffix(strings.TrimPrefix(fields[3], "/@snapshots/"), "/snapshot")
		if line = fields[0] + " " + number; len(got) == 0 || got[len(got)-1] != line { // both may be asked again
			got = append(got, line)
		}
	}
	return got
}

// released waits until the slot was given back, and expects what was asked for until then.
func (s *system) released(want ...string) {
	s.t.Helper()
	var got []string
	for range 60 {
		if got = s.slots(); len(got) >= len(want) {
			break
		}
		time.Sleep(time.Second)
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("the server granted %q, not %q", got, want)
	}
}

// TestNights: a good one, with somebody who works late; a bad one, after which
// the machine is back; one on which nothing is taken; and one with a fix.
func TestNights(t *testing.T) {
	s := start(t, prepared(machine.Variant{}))
	s.check(s.vm.WriteFile(s.context(), "/etc/apt/sources.list.d/news.list", []byte(testbed.AptSource(news)), 0o644))
	s.must("mkdir", "-p", "/etc/txupd/health.d/required.d", "/etc/systemd/system/txupd-auto.timer.d")
	s.check(s.vm.WriteFile(s.context(), "/etc/txupd/health.d/required.d/50-service", []byte("#!/bin/sh\n! cat /usr/share/service/broken\n"), 0o755))
	// The clock of the machine is set back by each boot, which is no night that was missed.
	s.check(s.vm.WriteFile(s.context(), "/etc/systemd/system/txupd-auto.timer.d/exactly.conf", []byte("[Timer]\nRandomizedDelaySec=0\nPersistent=no\n"), 0o644))
	s.configure("[auto]\npolicy = \"apply\"\n[reboot]\nmethod = \"reboot\"\nspread = \"0s\"\n[[reboot.window]]\nstart = \"03:00\"\nlength = \"2h\"\nzone = \"UTC\"\n" +
		"[fleetlock]\nurl = \"http://127.0.0.1:8000\"\ngroup = \"workers\"\n")
	s.lockServer()
	s.publish("1.0")
	s.must("apt-get", "update")
	s.must("txctl", "pkg", "add", "service")
	first := s.pending()
	s.must("systemctl", "daemon-reload")
	s.must("systemctl", "enable", "--now", "txupd-auto.timer")
	s.reboot()
	s.judged()
	s.consistent(first)

	s.publish("2.0")
	s.aliceLogsIn()
	s.night(1)
	good := s.pending()
	if r := s.status().Reboot; r == nil || r.When != bus.RebootWindow || r.Next.UTC().Format(time.DateTime) != "2027-06-01 03:00:00" {
		t.Fatalf("the reboot that is asked for is %+v", r)
	}
	s.must("date", "--utc", "--set", "2027-06-01 03:00:00")
	s.waits("logged in: alice")
	s.must("systemctl", "stop", "alice")
	s.waits("all_slots_full")
	s.released() // and there was none while alice was waited for
	s.must("sh", "-c", ": >"+locks)
	s.must("systemctl", "restart", "fleetlockd")
	s.wait(good)
	s.judged()
	granted := []string{fmt.Sprintf("pre-reboot %d", first), fmt.Sprintf("steady-state %d", good)}
	s.released(granted...)
	if st := s.status(); st.Booted.Number != good || st.LastGood == nil || st.LastGood.Number != good || st.Reboot != nil {
		t.Errorf("after the good night: %+v", st)
	}
	if v := s.must("cat", "/usr/share/service/version"); v != "2.0\n" {
		t.Errorf("the service has version %s", v)
	}

	s.publish("3.0")
	s.night(2)
	bad := s.pending()
	s.must("date", "--utc", "--set", "2027-06-02 03:00:00")
	s.wait(bad)
	s.wait(good)
	s.judged()
	// The bad boot kept it from the others.
	s.released(append(granted, fmt.Sprintf("pre-reboot %d", good), fmt.Sprintf("steady-state %d", good))...)
	if rec := s.show(bad); rec.Verdict != record.Bad {
		t.Errorf("the verdict on the bad night is %s", rec.Verdict)
	}

	s.publish("3.0") // what runs has forgotten it
	s.night(3)
	if st := s.status(); st.Pending != nil || st.Reboot != nil || !strings.Contains(strings.Join(st.Warnings, "\n"), fmt.Sprintf("held back: it brings what snapshot %d went bad with", bad)) {
		t.Errorf("in the night after it: %+v", st)
	}

	s.publish("4.0")
	s.night(4)
	fixed := s.show(s.pending())
	if len(fixed.PackageChanges) != 1 || fixed.PackageChanges[0].New != "4.0" || fixed.PackageChanges[0].Old != "2.0" {
		t.Errorf("the fix changes %+v", fixed.PackageChanges)
	}
}

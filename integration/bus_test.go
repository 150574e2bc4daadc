// The bus as other programs see it, and what strangers may do.

package integration

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/testbed"
)

func itoa(n int) string      { return strconv.Itoa(n) }
func itoa64(n uint64) string { return strconv.FormatUint(n, 10) }

// zombie: it has ended, and its parent has not asked yet.
func zombie(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(raw), ") Z ")
}

func TestOtherProgramsUseTheBus(t *testing.T) {
	s := newSystem(t, options{})
	out := testbedRun(t, s, "busctl", "--address="+s.bus.Address, "introspect", bus.Name, bus.Path)
	for _, want := range []string{bus.ManagerInterface, ".PackageAdd", ".RebootRequired", "TransactionFinished"} {
		if !strings.Contains(out, want) {
			t.Errorf("busctl introspect lacks %s:\n%s", want, out)
		}
	}
	testbedRun(t, s, "busctl", "--address="+s.bus.Address, "tree", bus.Name)
	out = testbedRun(t, s, "gdbus", "call", "--address="+s.bus.Address, "--dest="+bus.Name, "--object-path="+bus.Path,
		"--method="+bus.ManagerInterface+".Status", "{}")
	if !strings.Contains(out, `"booted"`) {
		t.Errorf("gdbus call Status: %s", out)
	}
	out = testbedRun(t, s, "gdbus", "call", "--address="+s.bus.Address, "--dest="+bus.Name, "--object-path="+bus.Path,
		"--method="+bus.ManagerInterface+".Run", "['touch', '/usr/by-gdbus']", "{'message': <'from another program'>, 'detach': <true>}")
	if !strings.Contains(out, bus.TransactionPrefix) {
		t.Errorf("gdbus call Run: %s", out)
	}
	s.eventually("its transaction ends", func() bool { return s.status().Transaction == nil })
	if n := s.pending(); s.show(n).Message != "from another program" || !exists(s.inSnapshot(n, "usr/by-gdbus")) {
		t.Errorf("snapshot %d is not what the other program made", n)
	}
	// A caller that leaves takes its transaction with it, unless it said detach.
	s.untouched("a caller that leaves at once", func() {
		testbedRun(t, s, "gdbus", "call", "--address="+s.bus.Address, "--dest="+bus.Name, "--object-path="+bus.Path,
			"--method="+bus.ManagerInterface+".Run", "['sleep', '4711']", "{}")
	})
}

func testbedRun(t *testing.T, s *system, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = s.bus.Env()
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(argv, " "), err, out, errs.String())
	}
	return string(out)
}

func TestSnapperListsOurSnapshots(t *testing.T) {
	s := newSystem(t, options{prepare: func(root string) error {
		if err := os.MkdirAll(filepath.Join(root, "etc/snapper/configs"), 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(root, "etc/snapper/configs/root"), []byte("SUBVOLUME=\"/\"\nFSTYPE=\"btrfs\"\n"), 0o644)
	}})
	s.must("run", "-m", "for snapper's eyes", "--", "touch", "/usr/one")
	out := testbedRun(t, s, "snapper", "--no-dbus", "--root", s.machine.Root, "list")
	if !strings.Contains(out, "for snapper's eyes") {
		t.Errorf("snapper lists:\n%s", out)
	}
}

func TestStrangersReadAndChangeNothing(t *testing.T) {
	s := newSystem(t, options{})
	s.must("run", "-m", "seen by all", "--", "touch", "/usr/one")
	nobody := func(args ...string) result {
		cmd := s.command(args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		return s.finish(cmd)
	}
	for _, verb := range [][]string{{"status"}, {"list"}, {"log"}, {"show", "pending"}, {"pkg", "list"}} {
		if r := nobody(verb...); r.exit != 0 {
			t.Errorf("txctl %v as nobody: exit %d %s", verb, r.exit, r.stderr)
		}
	}
	s.untouched("a stranger", func() {
		for _, verb := range [][]string{{"pkg", "add", "x"}, {"update"}, {"begin"}, {"rollback"}, {"delete", "-y", "1"}} {
			if r := nobody(verb...); r.exit != 9 {
				t.Errorf("txctl %v as nobody: exit %d, want 9: %s", verb, r.exit, r.stderr)
			}
		}
		if r := nobody("run", "--", "true"); r.exit != 125 || !strings.Contains(r.stderr, "root") {
			t.Errorf("txctl run as nobody: exit %d %s", r.exit, r.stderr)
		}
	})
}

// TestMessageWithDescriptorsEndsNothing: a message whose argument is an array
// of descriptors ended daemons that were built with later releases of the library.
func TestMessageWithDescriptorsEndsNothing(t *testing.T) {
	s := newSystem(t, options{})
	s.must("status")
	pid := s.daemonPID()
	conn, err := dbus.Connect(s.bus.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o := conn.Object(bus.Name, bus.Path)
	for _, args := range [][]any{
		{[]dbus.UnixFD{dbus.UnixFD(f.Fd()), dbus.UnixFD(f.Fd())}},
		{map[string]dbus.Variant{"x": dbus.MakeVariant(dbus.UnixFD(f.Fd()))}},
		{dbus.UnixFD(f.Fd())}, {uint32(7), "x"}, {},
	} {
		if err := o.Call(bus.ManagerInterface+".Status", 0, args...).Err; err == nil {
			t.Errorf("Status with %v was accepted", args)
		}
		if err := o.Call("Status", 0, args...).Err; err == nil {
			t.Errorf("Status without an interface with %v was accepted", args)
		}
	}
	if now := s.daemonPID(); now != pid {
		t.Errorf("the daemon was %d and is %d", pid, now)
	}
}

func TestBadInputNamesTheArgument(t *testing.T) {
	s := newSystem(t, options{})
	long := strings.Repeat("n", 4096)
	s.untouched("bad input", func() {
		for _, c := range []struct {
			words string
			args  []string
		}{
			{"--root=/", []string{"pkg", "add", "--", "--root=/"}},
			{"--root", []string{"pkg", "add", "--root=/"}},
			{"control", []string{"pkg", "add", "a\x01b"}},
			{"nnnn", []string{"pkg", "add", long}},
			{"PACKAGE", []string{"pkg", "add"}},
			{"message", []string{"update", "-m", ""}},
			{"message", []string{"run", "-m", "   ", "--", "true"}},
			{"message", []string{"pkg", "add", "-m", strings.Repeat("m", 100_000), "x"}},
			{"12x", []string{"show", "12x"}},
			{"-3", []string{"show", "--", "-3"}},
			{"99999999999999999999", []string{"show", "99999999999999999999"}},
			{"nonsense", []string{"begin", "--from", "nonsense"}},
			{"statsu", []string{"statsu"}},
		} {
			r := s.txctl(c.args...)
			want := 2
			if c.args[0] == "run" {
				want = 125
			}
			if r.exit != want && r.exit != 2 || !strings.Contains(r.stderr, c.words) {
				t.Errorf("txctl %.60q: exit %d, want %d and %q in %q", c.args, r.exit, want, c.words, r.stderr)
			}
			if len(r.stderr) > 1000 {
				t.Errorf("txctl %.60q says %d bytes", c.args, len(r.stderr))
			}
		}
		// A message of a megabyte does not fit the command line, but the bus.
		conn, err := dbus.Connect(s.bus.Address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		o := conn.Object(bus.Name, bus.Path)
		err = o.Call(bus.ManagerInterface+".Begin", 0, map[string]dbus.Variant{"message": dbus.MakeVariant(strings.Repeat("m", 1<<20))}).Err
		if err == nil || !strings.Contains(err.Error(), "message") {
			t.Errorf("a message of a megabyte: %v", err)
		}
		err = o.Call(bus.ManagerInterface+".Begin", 0, map[string]dbus.Variant{"mesage": dbus.MakeVariant("typo")}).Err
		if err == nil || !strings.Contains(err.Error(), "mesage") {
			t.Errorf("an unknown option: %v", err)
		}
		err = o.Call(bus.ManagerInterface+".PackageNames", 0, "--generate", map[string]dbus.Variant{}).Err
		if err == nil || !strings.Contains(err.Error(), "--generate") {
			t.Errorf("names that begin like an option: %v", err)
		}
	})
}

func TestRootsThatCannotBeServedAreRefused(t *testing.T) {
	built, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	machine := newSystem(t, options{}).machine
	for _, c := range []struct{ what, root, missing, remedy string }{
		{"not btrfs", t.TempDir(), "btrfs", "btrfs-convert"},
		{"no .snapshots", machine.Top, "no .snapshots", "btrfs subvolume create"},
	} {
		s := &system{t: t, machine: machine, programs: built, log: &logBuffer{}}
		s.bus = testbed.PrivateBus(t, testbed.BusOptions{Daemon: []string{built.Txupd, "--root", c.root, "--idle", "300ms"}, Log: s.log})
		for _, verb := range [][]string{{"status"}, {"pkg", "add", "x"}, {"list"}} {
			r := s.expect(10, c.missing, verb...)
			if !strings.Contains(r.stderr, c.root) || !strings.Contains(r.stderr, c.remedy) {
				t.Errorf("%s: txctl %v does not say where it is missing or what to do: %s", c.what, verb, r.stderr)
			}
		}
		s.expect(125, c.missing, "run", "--", "true")
		s.eventually("the daemon leaves", func() bool { return s.daemonPID() == 0 })
	}
}

func TestDaemonLeavesWhenIdleAndComesBack(t *testing.T) {
	s := newSystem(t, options{daemon: []string{"--idle", "200ms"}})
	s.must("run", "--", "touch", "/usr/one")
	n := s.pending()
	pid := s.daemonPID()
	s.eventually("the daemon leaves", func() bool { return s.daemonPID() == 0 })
	if got := s.pending(); got != n {
		t.Errorf("a new daemon says %d boots next, want %d", got, n)
	}
	if now := s.daemonPID(); now == pid {
		t.Error("it is the same daemon")
	}
	// A command that runs keeps it; one that waits in an open transaction does not.
	cmd, _ := s.startWaiting("run", "--", "sh", "-c", "echo going; sleep 1; touch /usr/two")
	if got := exitOf(t, cmd); got != 0 {
		t.Errorf("a command longer than the daemon's patience: exit %d", got)
	}
}

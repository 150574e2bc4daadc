// What a transaction promises its user, each through txctl as a user has it.

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/journal/record"
)

func TestTransactionsStack(t *testing.T) {
	s := newSystem(t, options{})
	booted := s.status().Booted.Number
	s.must("run", "-m", "first", "--", "touch", "/usr/first")
	first := s.pending()
	s.must("run", "-m", "second", "--", "touch", "/usr/second")
	second := s.pending()
	if !exists(s.inSnapshot(second, "usr/first")) || !exists(s.inSnapshot(second, "usr/second")) {
		t.Error("the second snapshot lacks one of both changes")
	}
	if exists(filepath.Join(s.machine.Root, "usr/first")) {
		t.Error("the running root was changed")
	}
	if p := s.show(second).Parent; p == nil || *p != first {
		t.Errorf("show names parent %v, want %d", p, first)
	}
	if words := s.must("show", "pending").stdout; !strings.Contains(words, "first") && !strings.Contains(words, "2") {
		t.Errorf("show does not name the parent:\n%s", words)
	}
	s.must("run", "--from", "booted", "-m", "apart", "--", "touch", "/usr/apart")
	apart := s.pending()
	if exists(s.inSnapshot(apart, "usr/first")) || exists(s.inSnapshot(apart, "usr/second")) {
		t.Error("--from booted holds a change of the pending one")
	}
	if p := s.show(apart).Parent; p == nil || *p != booted {
		t.Errorf("--from booted has parent %v, want %d", p, booted)
	}
	status := s.must("status").stdout
	if !strings.Contains(status, "superseded and still there") {
		t.Errorf("status does not say that the former pending one is still there:\n%s", status)
	}
	list := document[bus.List](s, "list")
	i := slices.IndexFunc(list.Snapshots, func(one bus.Snapshot) bool { return one.Number == second })
	if i < 0 || !slices.Contains(list.Snapshots[i].Roles, bus.RoleSuperseded) {
		t.Errorf("list does not have %d as superseded: %+v", second, list)
	}
	s.must("rollback", "2")
	if got := s.pending(); got != first {
		t.Errorf("after the rollback %d boots next, want %d", got, first)
	}
}

func TestFailureLeavesNothing(t *testing.T) {
	s := newSystem(t, options{prepare: func(root string) error {
		return testbed.UseDebRepo(t.Context(), root, testbed.Deb{Name: "harmless", Version: "1"})
	}})
	s.must("run", "--", "touch", "/usr/before") // so that something is pending, and has to stay

	s.untouched("a failing command", func() { s.expect(1, "status 1", "run", "--", "false") })
	s.untouched("a command that destroys", func() { s.expect(7, "", "run", "--", "sh", "-c", "rm -rf /usr/share; exit 7") })
	s.untouched("a command that is not there", func() { s.expect(127, "", "run", "--", "no-such-command") })
	s.untouched("a command that kills itself", func() { s.expect(137, "", "run", "--", "sh", "-c", "kill -9 $$") })
	s.untouched("a package that is not there", func() {
		s.expect(3, "Unable to locate package no-such-package", "pkg", "add", "no-such-package")
	})
	s.untouched("an unknown parent", func() { s.expect(125, "4711", "run", "--from", "4711", "--", "true") })
	s.untouched("an unknown snapshot", func() {
		s.expect(4, "4711", "show", "4711")
		s.expect(4, "4711", "rollback", "4711")
		s.expect(4, "4711", "delete", "-y", "4711")
	})
	s.untouched("a daemonised child", func() {
		s.expect(3, "", "run", "--", "sh", "-c", "(setsid sleep 4711 </dev/null >/dev/null 2>&1 &) ; exit 3")
	})
	s.untouched("Ctrl-C in the middle of a command", func() {
		cmd, _ := s.startWaiting("run", "--", "sh", "-c", "echo going; exec sleep 4711")
		kill(t, cmd.Process.Pid, syscall.SIGINT)
		if got := exitOf(t, cmd); got != 130 {
			t.Errorf("Ctrl-C: exit %d, want 130", got)
		}
	})
	s.untouched("kill -9 of txctl in the middle of a command", func() {
		cmd, _ := s.startWaiting("run", "--", "sh", "-c", "echo going; exec sleep 4711")
		kill(t, cmd.Process.Pid, syscall.SIGKILL)
		exitOf(t, cmd)
	})
	s.untouched("kill -9 of txctl in the middle of a shell", func() {
		cmd, terminal := s.startShell()
		defer terminal.Close()
		kill(t, cmd.Process.Pid, syscall.SIGKILL)
		exitOf(t, cmd)
	})
	s.untouched("a terminal that hangs up in the middle of a shell", func() {
		cmd, terminal := s.startShell()
		terminal.Close()
		if got := exitOf(t, cmd); got == 0 {
			t.Error("a shell whose terminal hung up ended with 0")
		}
	})
}

// startWaiting starts txctl and returns when its command has printed a line.
func (s *system) startWaiting(args ...string) (*exec.Cmd, *os.File) {
	s.t.Helper()
	cmd := s.command(args...)
	r, w, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { r.Close() })
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	w.Close()
	readUntil(s.t, r, "going")
	if s.sandboxed() == 0 {
		s.t.Error("a running command is not seen, so none that is left would be")
	}
	return cmd, r
}

// startShell starts `txctl shell` in a terminal and returns when its prompt answers.
func (s *system) startShell() (*exec.Cmd, *os.File) {
	s.t.Helper()
	cmd := s.command("shell", "-m", "by hand")
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 31, Cols: 97})
	if err != nil {
		s.t.Fatal(err)
	}
	readUntil(s.t, terminal, "commits") // what is typed before that is typed to the terminal of before
	send(s.t, terminal, "echo rea''dy\n")
	readUntil(s.t, terminal, "ready")
	return cmd, terminal
}

func send(t *testing.T, f *os.File, text string) {
	t.Helper()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// readUntil reads until the text has come, and returns everything.
func readUntil(t *testing.T, f *os.File, text string) string {
	t.Helper()
	var all strings.Builder
	buf := make([]byte, 4096)
	if err := f.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(all.String(), text) {
		n, err := f.Read(buf)
		all.Write(buf[:n])
		if err != nil {
			t.Fatalf("%q did not come, but %q and %v", text, all.String(), err)
		}
	}
	return all.String()
}

func exitOf(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	_ = cmd.Wait() // its status is asked below
	return cmd.ProcessState.ExitCode()
}

func TestShellIsARealTerminal(t *testing.T) {
	s := newSystem(t, options{})
	cmd, terminal := s.startShell()
	defer terminal.Close()
	send(t, terminal, "stty size; tty; echo $TXUPD_TRANSACTION\n")
	if got := readUntil(t, terminal, "/dev/pts/"); !strings.Contains(got, "31 97") {
		t.Errorf("the terminal's size is not the one of the user's: %q", got)
	}
	if err := pty.Setsize(terminal, &pty.Winsize{Rows: 40, Cols: 111}); err != nil {
		t.Fatal(err)
	}
	s.eventually("the new size arrives", func() bool {
		send(t, terminal, "stty size; echo a''sked\n")
		return strings.Contains(readUntil(t, terminal, "asked"), "40 111")
	})
	send(t, terminal, "sleep 4711\n")
	s.eventually("the command runs", func() bool { return running("sleep\x004711\x00") })
	send(t, terminal, "\x03") // Ctrl-C ends the command, not the shell
	s.eventually("the command ends", func() bool { return !running("sleep\x004711\x00") })
	send(t, terminal, "echo stat''us $?\n")
	readUntil(t, terminal, "status 130")
	send(t, terminal, "sleep 4712 &\n jobs; echo job''s\n")
	if got := readUntil(t, terminal, "jobs"); !strings.Contains(got, "sleep 4712") {
		got += readUntil(t, terminal, "sleep 4712")
	}
	send(t, terminal, "touch /usr/by-hand; exit\n")
	readUntilEnd(terminal)
	if got := exitOf(t, cmd); got != 0 {
		t.Errorf("the shell ended with %d", got)
	}
	if n := s.pending(); !exists(s.inSnapshot(n, "usr/by-hand")) {
		t.Error("what the shell made is not in what boots next")
	} else if rec := s.show(n); rec.Kind != "shell" || rec.Message != "by hand" {
		t.Errorf("the record says %q, %q", rec.Kind, rec.Message)
	}
}

// running finds a process by its whole command line.
func running(cmdline string) bool {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	return slices.ContainsFunc(files, func(f string) bool {
		raw, _ := os.ReadFile(f) // gone processes have none
		return string(raw) == cmdline
	})
}

func readUntilEnd(f *os.File) {
	buf := make([]byte, 4096)
	for {
		if _, err := f.Read(buf); err != nil {
			return
		}
	}
}

func TestNothingChanged(t *testing.T) {
	s := newSystem(t, options{})
	s.untouched("a command that changes nothing", func() {
		if r := s.must("run", "--", "true"); !strings.Contains(r.stdout+r.stderr, "nothing changed") {
			t.Errorf("nothing is said about it: %q %q", r.stdout, r.stderr)
		}
		s.expect(77, "", "run", "--unchanged-exit", "--", "true")
		s.expect(77, "", "run", "--unchanged-exit", "--", "touch", "/etc/passwd")
	})
	s.must("run", "--keep-unchanged", "-m", "kept", "--", "true")
	if rec := s.show(s.pending()); rec.Message != "kept" || len(rec.FileChanges) != 0 {
		t.Errorf("the kept one: %+v", rec)
	}
}

func TestOutputAndStatusArePassedOn(t *testing.T) {
	s := newSystem(t, options{})
	r := s.txctl("run", "--", "sh", "-c", "echo to stdout; echo to stderr >&2; exit 42")
	if r.exit != 42 || r.stdout != "to stdout\n" || !strings.Contains(r.stderr, "to stderr\n") {
		t.Errorf("exit %d, stdout %q, stderr %q", r.exit, r.stdout, r.stderr)
	}
	cmd := s.command("run", "--", "sh", "-c", "cat > /usr/from-stdin; wc -c < /usr/from-stdin")
	cmd.Stdin = strings.NewReader(strings.Repeat("0123456789", 100_000))
	if r := s.finish(cmd); r.exit != 0 || strings.TrimSpace(r.stdout) != "1000000" {
		t.Errorf("standard input: exit %d, %q %q", r.exit, r.stdout, r.stderr)
	}
	if r := s.must("run", "--keep-unchanged", "--", "sh", "-c", "yes 0123456789 | head -n 300000"); len(r.stdout) != 3_300_000 {
		t.Errorf("%d bytes of output came, want 3300000", len(r.stdout))
	}
	rec := s.show(s.pending())
	if len(rec.Commands) != 1 || rec.Commands[0].Exit != 0 || rec.Commands[0].Argv[0] != "sh" || rec.Commands[0].Duration <= 0 {
		t.Errorf("recorded commands: %+v", rec.Commands)
	}
	if rec.Actor.Name != "root" || rec.Actor.BusName == "" {
		t.Errorf("recorded actor: %+v", rec.Actor)
	}
}

func TestOpenTransaction(t *testing.T) {
	s := newSystem(t, options{})
	s.must("begin", "-m", "step by step")
	open := s.status().Transaction
	if open == nil || open.Message != "step by step" {
		t.Fatalf("status has %+v", open)
	}
	s.expect(125, "transaction", "run", "--", "true")
	if r := s.txctl("pkg", "add", "x"); r.exit != 6 || !strings.Contains(r.stderr, "root") {
		t.Errorf("busy: exit %d, %q", r.exit, r.stderr)
	}
	s.must("exec", "--", "touch", "/usr/one")
	if r := s.txctl("exec", "--", "sh", "-c", "echo $TXUPD_TRANSACTION; exit 9"); r.exit != 9 || strings.TrimSpace(r.stdout) == "" {
		t.Errorf("exec: exit %d, %q", r.exit, r.stdout)
	}
	// It outlives the daemon, whether that leaves or is killed.
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		pid := s.daemonPID()
		kill(t, pid, sig)
		s.eventually("the daemon ends", func() bool { return !exists("/proc/"+itoa(pid)) || zombie(pid) })
		if again := s.status().Transaction; again == nil || again.Number != open.Number {
			t.Fatalf("after signal %v: %+v", sig, again)
		}
	}
	s.must("exec", "--", "touch", "/usr/two")
	s.must("commit")
	n := s.pending()
	if n != open.Number || !exists(s.inSnapshot(n, "usr/one")) || !exists(s.inSnapshot(n, "usr/two")) {
		t.Errorf("%d boots next, want %d with both files", n, open.Number)
	}
	if rec := s.show(n); len(rec.Commands) != 3 || rec.Commands[1].Exit != 9 {
		t.Errorf("recorded commands: %+v", rec.Commands)
	}
	s.untouched("a discarded transaction", func() {
		s.must("begin")
		s.must("exec", "--", "rm", "-rf", "/usr/share")
		s.must("discard")
	})
	s.expect(4, "", "commit")
}

func TestDaemonKilledInATransaction(t *testing.T) {
	s := newSystem(t, options{})
	s.must("run", "--", "touch", "/usr/before")
	var number uint64
	s.untouched("kill -9 of the daemon", func() {
		cmd, _ := s.startWaiting("run", "--", "sh", "-c", "touch /usr/half; echo going; exec sleep 4711")
		number = s.status().Transaction.Number
		kill(t, s.daemonPID(), syscall.SIGKILL)
		if got := exitOf(t, cmd); got != 125 {
			t.Errorf("txctl ended with %d when the daemon died, want 125", got)
		}
	})
	if rec := s.show(number); rec.Phase != record.Failed || rec.Error == "" {
		t.Errorf("the record says %s: %q", rec.Phase, rec.Error)
	}
	s.must("run", "--", "touch", "/usr/after")
}

func TestRebootRunsWhatWasCommitted(t *testing.T) {
	for _, layout := range []string{"opensuse", "opensuse-ro", "flat", "fedora", "debian"} {
		t.Run(layout, func(t *testing.T) {
			s := newSystem(t, options{layout: layout, prepare: func(root string) error {
				return testbed.UseDebRepo(t.Context(), root, testbed.Deb{Name: "greeter", Version: "1.0",
					Files: map[string]string{"/usr/bin/greeter": "#!/bin/sh\necho hello from the package\n"}})
			}})
			old := s.status().Booted.Number
			s.must("pkg", "add", "-m", "greet", "greeter")
			n := s.pending()
			if exists(filepath.Join(s.machine.Root, "usr/bin/greeter")) {
				t.Error("the running root has the package before the reboot")
			}
			s.reboot()
			out, err := testbed.Chroot(t.Context(), s.machine.Root, "sh", "/usr/bin/greeter")
			if err != nil || !strings.Contains(out, "hello from the package") {
				t.Errorf("the package after the reboot: %q, %v", out, err)
			}
			st := s.status()
			if st.Booted.Number != n || st.Pending != nil || st.RebootRequired {
				t.Errorf("after the reboot: %+v", st)
			}
			rec := s.show(n)
			want := []record.PackageChange{{Name: "greeter", Arch: "all", Change: "added", New: "1.0", Reason: "requested"}}
			if len(rec.PackageChanges) != 1 || rec.PackageChanges[0] != want[0] {
				t.Errorf("package changes: %+v, want %+v", rec.PackageChanges, want)
			}
			if !slices.Contains(rec.FileChanges, record.FileChange{Path: "/usr/bin/greeter", Change: "added", Owner: "greeter"}) {
				t.Errorf("file changes lack the package's: %+v", rec.FileChanges)
			}
			if len(rec.Boots) != 1 {
				t.Errorf("boots: %+v", rec.Boots)
			}
			s.must("rollback")
			if got := s.pending(); got != old {
				t.Errorf("a rollback leads to %d, want %d", got, old)
			}
			s.reboot()
			if exists(filepath.Join(s.machine.Root, "usr/bin/greeter")) {
				t.Error("the package is there after the rollback")
			}
			s.must("delete", "-y", itoa64(n))
			if exists(s.inSnapshot(n, "")) {
				t.Error("the deleted snapshot is still there")
			}
			if rec := s.show(n); rec.Deleted == nil {
				t.Error("the record does not say that it was deleted")
			}
		})
	}
}

// reboot stops the daemon and mounts what is the default, with what the units of
// both ends of a boot do.
func (s *system) reboot() {
	s.t.Helper()
	s.stopDaemon()
	s.turn("shutdown")
	s.bootsAgain()
	s.turn("boot")
}

func (s *system) stopDaemon() {
	s.t.Helper()
	if err := s.bus.StopDaemon(); err != nil {
		s.t.Fatal(err)
	}
}

// bootsAgain mounts what is the default as after a power cut, before any unit runs.
func (s *system) bootsAgain() {
	s.t.Helper()
	if err := s.machine.Reboot(); err != nil {
		s.t.Fatal(err)
	}
}

// turn runs what txupd-state.service does at one end of a boot, and returns its words.
func (s *system) turn(moment string) string {
	s.t.Helper()
	out, err := exec.Command(s.programs.Txupd, "state", "--"+moment, "--root", s.machine.Root).CombinedOutput()
	if err != nil {
		s.t.Fatalf("txupd state --%s: %v\n%s", moment, err, out)
	}
	return string(out)
}

func TestProtectedSnapshotsStay(t *testing.T) {
	s := newSystem(t, options{})
	s.must("run", "--", "touch", "/usr/one")
	n := s.pending()
	s.untouched("deleting what is protected", func() {
		s.expect(5, "booted", "delete", "-y", itoa64(s.status().Booted.Number))
		s.expect(5, "pending", "delete", "-y", itoa64(n))
	})
}

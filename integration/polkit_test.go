// Who may do what, with the real polkit, its agent for terminals and a user
// who is not root.

package integration

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/testbed"
)

// The administrator is root, whose password is this in the name space of mounts of the test.
const (
	rootsPassword = "correct horse"
	rootsHash     = "$6$txupdtest$OOvuL2yGSaEPLid6amU37JFRm7gUIUAMf8IXLnE14Z9.pnsewUG13CGaaBmzt1ENom0fSzTIxZD2YBVHBb8xo/"
)

const polkitRules = `
polkit.addAdminRule(function(action, subject) { return ["unix-user:0"]; });
polkit.addRule(function(action, subject) {
    if (subject.isInGroup("daemon") && action.id == "org.txupd1.transact")
        return polkit.Result.YES;
    if (subject.user == "bin" && action.id == "org.txupd1.shell")
        return polkit.Result.YES;
});
`

// polkitSystem is a system with the real polkit.
func polkitSystem(t *testing.T) *system {
	t.Helper()
	testbed.NeedTools(t, "unshare", "setpriv", "pkttyagent")
	s := newSystem(t, options{})
	testbed.RealPolkit(t, s.bus, polkitRules)
	return s
}

// as makes a txctl of another user, in whose eyes our bus is the system bus and
// root has a password: polkit's helper, which is setuid, looks for both where they always are.
func (s *system) as(uid int, args ...string) *exec.Cmd {
	s.t.Helper()
	shadow := filepath.Join(s.t.TempDir(), "shadow")
	if err := os.WriteFile(shadow, []byte("root:"+rootsHash+":20000:0:99999:7:::\nnobody:*:20000:0:99999:7:::\ndaemon:*:20000:0:99999:7:::\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command("unshare", append([]string{"--mount", "--propagation", "private", "sh", "-ec", `
		mount --bind "$1" /etc/shadow
		mount -t tmpfs -o mode=755 tmpfs /run
		mkdir /run/dbus
		ln -s "$2" /run/dbus/system_bus_socket
		uid=$3
		shift 3
		exec setpriv --reuid="$uid" --regid="$uid" --clear-groups "$@"`,
		"sh", shadow, strings.TrimPrefix(s.bus.Address, "unix:path="), itoa(uid), s.programs.Txctl}, args...)...)
	// Of no session and no desktop, whatever those are that the test belongs to.
	cmd.Env = append(s.bus.Env(), "NO_COLOR=1", "TERM=xterm", "XDG_SESSION_ID=", "WAYLAND_DISPLAY=", "DISPLAY=")
	return cmd
}

// onTerminal starts it as somebody who sits there.
func onTerminal(t *testing.T, cmd *exec.Cmd) *os.File {
	t.Helper()
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 30, Cols: 200})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return terminal
}

// readPrompt reads up to the question for a password. The agent drops what is
// typed before it hides that, which it does after it has asked.
func (s *system) readPrompt(terminal *os.File) string {
	s.t.Helper()
	said := readUntil(s.t, terminal, "Password: ")
	s.eventually("what is typed is hidden", func() bool { return !echoes(terminal) })
	return said
}

// echoes reports whether a terminal shows what is typed.
func echoes(terminal *os.File) (yes bool) {
	raw, err := terminal.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		now, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
		yes = err == nil && now.Lflag&unix.ECHO != 0
	})
	return yes
}

// Users whom the rules allow something.
const (
	transacts = 1
	runs      = 2
)

func TestPasswordOnTheTerminal(t *testing.T) {
	s := polkitSystem(t)
	s.must("run", "--", "touch", "/usr/one")
	n := itoa64(s.pending())
	t.Run("right", func(t *testing.T) {
		cmd := s.as(stranger, "run", "-m", "by nobody", "--", "touch", "/usr/by-nobody")
		terminal := onTerminal(t, cmd)
		said := s.readPrompt(terminal)
		if !strings.Contains(said, "Authentication is required to run a command in a new snapshot.") {
			t.Errorf("it is asked by %q", said)
		}
		send(t, terminal, rootsPassword+"\n")
		readUntil(t, terminal, "boots next")
		if got := exitOf(t, cmd); got != 0 {
			t.Errorf("exit %d", got)
		}
		rec := s.show(s.pending())
		if rec.Message != "by nobody" || rec.Actor.UID != stranger {
			t.Errorf("the record has %q by %+v", rec.Message, rec.Actor)
		}
	})
	t.Run("wrong", func(t *testing.T) {
		s.untouched("a wrong password", func() {
			cmd := s.as(stranger, "delete", "-y", n)
			terminal := onTerminal(t, cmd)
			said := s.readPrompt(terminal)
			if !strings.Contains(said, "Authentication is required to delete a snapshot ("+n+").") {
				t.Errorf("it is asked by %q", said)
			}
			send(t, terminal, "battery staple\n")
			readUntil(t, terminal, "not authorised")
			if got := exitOf(t, cmd); got != 9 {
				t.Errorf("exit %d, want 9", got)
			}
		})
	})
	t.Run("Ctrl-C", func(t *testing.T) {
		s.untouched("Ctrl-C", func() {
			cmd := s.as(stranger, "delete", "-y", n)
			terminal := onTerminal(t, cmd)
			s.readPrompt(terminal)
			send(t, terminal, "\x03")
			readUntil(t, terminal, "cancelled")
			if got := exitOf(t, cmd); got != 130 {
				t.Errorf("exit %d, want 130", got)
			}
			if !echoes(terminal) {
				t.Error("the terminal hides what is typed")
			}
		})
	})
	t.Run("reading asks nobody", func(t *testing.T) {
		for _, verb := range [][]string{{"status"}, {"show", n}, {"log"}} {
			cmd := s.as(stranger, verb...)
			terminal := onTerminal(t, cmd)
			var said bytes.Buffer
			_, _ = said.ReadFrom(terminal) // a terminal that nobody has any more ends with an error
			if got := exitOf(t, cmd); got != 0 || strings.Contains(said.String(), "AUTHENTICATING") {
				t.Errorf("txctl %v: exit %d\n%s", verb, got, said.String())
			}
		}
	})
	t.Run("without a terminal", func(t *testing.T) {
		r := s.finish(s.as(stranger, "delete", "-y", n))
		if r.exit != 9 || !strings.Contains(r.stderr, "a password is needed to delete a snapshot") {
			t.Errorf("exit %d: %s", r.exit, r.stderr)
		}
	})
}

// TestTransactionsOfOthers: whoever began one may end it, and others who may end what they did not begin.
func TestTransactionsOfOthers(t *testing.T) {
	s := polkitSystem(t)
	user := func(uid int, args ...string) result {
		t.Helper()
		cmd := s.command(args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
		return s.finish(cmd)
	}
	expect := func(want int, r result) {
		t.Helper()
		if r.exit != want {
			t.Errorf("exit %d, want %d: %s%s", r.exit, want, r.stdout, r.stderr)
		}
	}
	s.must("begin")
	expect(9, user(stranger, "discard"))
	expect(125, user(transacts, "exec", "--", "true")) // it may transact, and not run what it likes
	expect(0, user(transacts, "discard"))

	expect(9, user(runs, "begin"))
	expect(0, user(transacts, "begin"))
	expect(9, user(stranger, "commit"))
	expect(9, user(stranger, "discard"))
	expect(0, user(runs, "exec", "--", "touch", "/usr/one"))
	expect(9, user(runs, "commit"))
	st := s.status()
	if st.Transaction == nil || st.Transaction.Actor.UID != transacts {
		t.Fatalf("%+v is in progress", st.Transaction)
	}
	// Whoever began it may end what runs in there, but not type into root's commands.
	mine := target{path: bus.TransactionPath(st.Transaction.Number), iface: bus.TransactionInterface}
	call := func(uid int, method string, args ...any) string {
		t.Helper()
		mine.method = method
		r := s.rawAs(uid)
		defer r.Close()
		serial, err := r.Send(raw(mine, append(args, map[string]dbus.Variant{})...))
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Answer(serial)
		return errorNameOf(err)
	}
	cmd, _ := s.startWaiting("exec", "--", "sh", "-c", "echo going; exec sleep 4711")
	const needsPassword = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"
	for _, c := range []struct {
		uid    int
		method string
		args   []any
		want   string
	}{
		{transacts, "Attach", nil, needsPassword}, {stranger, "Attach", nil, needsPassword}, {runs, "Attach", nil, ""},
		{stranger, "Signal", []any{uint32(9)}, needsPassword}, {stranger, "Cancel", nil, needsPassword}, {runs, "Cancel", nil, needsPassword},
		{transacts, "Signal", []any{uint32(9)}, ""},
	} {
		if got := call(c.uid, c.method, c.args...); got != c.want {
			t.Errorf("%s by user %d: %q, want %q", c.method, c.uid, got, c.want)
		}
	}
	if got := exitOf(t, cmd); got != 137 {
		t.Errorf("the command exits with %d, want 137", got)
	}
	expect(0, user(transacts, "commit"))

	// Of one go: it is attached to by whoever began it.
	if r := user(runs, "run", "--", "sh", "-c", "echo mine; touch /usr/two"); r.exit != 0 || !strings.Contains(r.stdout, "mine") {
		t.Errorf("exit %d: %s%s", r.exit, r.stdout, r.stderr)
	}
}

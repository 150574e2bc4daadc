package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestExitStatusIsThatOfAShell(t *testing.T) {
	root := smallRoot(t)
	write(t, filepath.Join(root, "usr/bin/notes"), "not a program")
	copyFile(t, filepath.Join(root, "usr/bin/notes"), filepath.Join(root, "usr/bin/garbage"), 0o755)
	write(t, filepath.Join(root, "usr/bin/orphan"), "#!/no/such/interpreter\n")
	must(t, os.Chmod(filepath.Join(root, "usr/bin/orphan"), 0o755))
	s := open(t, Config{Root: root})
	for _, test := range []struct {
		name    string
		argv    []string
		status  int
		signal  syscall.Signal
		message string // part of it; empty where the command started
	}{
		{"success", []string{"true"}, 0, 0, ""},
		{"failure", []string{"false"}, 1, 0, ""},
		{"status", []string{"sh", "-c", "exit 3"}, 3, 0, ""},
		{"killed", []string{"sh", "-c", "kill -KILL $$"}, 137, syscall.SIGKILL, ""},
		{"terminated", []string{"sh", "-c", "kill -TERM $$"}, 143, syscall.SIGTERM, ""},
		{"broken pipe", []string{"sh", "-c", "kill -PIPE $$"}, 141, syscall.SIGPIPE, ""},
		{"not found", []string{"no-such-command"}, 127, 0, "no-such-command: command not found"},
		{"no such file", []string{"/no/such/file"}, 127, 0, "/no/such/file: no such file or directory"},
		{"interpreter missing", []string{"orphan"}, 127, 0, "interpreter"},
		{"no permission", []string{"notes"}, 126, 0, "notes: permission denied"},
		{"directory", []string{"/etc"}, 126, 0, "/etc: is a directory"},
		{"no program", []string{"garbage"}, 126, 0, "exec format error"},
		{"argument too long", []string{"true", strings.Repeat("x", 200_000)}, 126, 0, "argument list too long"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := try(t, s, Command{Argv: test.argv})
			if o.exit.Status != test.status || o.exit.Signal != test.signal {
				t.Errorf("status %d, signal %d; want %d, %d", o.exit.Status, o.exit.Signal, test.status, test.signal)
			}
			if started := test.message == ""; o.exit.Started != started {
				t.Errorf("started: %v, want %v", o.exit.Started, started)
			}
			if !strings.Contains(o.exit.Message, test.message) {
				t.Errorf("message %q lacks %q", o.exit.Message, test.message)
			}
		})
	}
}

func TestStandardOutputAndErrorAreSeparate(t *testing.T) {
	s := open(t, Config{Root: smallRoot(t)})
	o := try(t, s, Command{Argv: []string{"sh", "-c", "echo one; echo two >&2; cat"}})
	if o.out != "one\n" || o.err != "two\n" {
		t.Errorf("stdout %q, stderr %q", o.out, o.err)
	}
	if o.exit.Duration <= 0 || o.exit.MaxRSS <= 0 {
		t.Errorf("no usage: %+v", o.exit)
	}
}

func TestStandardInputIsStreamed(t *testing.T) {
	s := open(t, Config{Root: smallRoot(t)})
	inReader, inWriter, err := os.Pipe()
	must(t, err)
	outReader, outWriter, err := os.Pipe()
	must(t, err)
	p, err := s.Start(t.Context(), Command{Argv: []string{"cat"}, Stdin: inReader, Stdout: outWriter})
	must(t, err)
	must(t, inReader.Close())
	must(t, outWriter.Close())
	answer := make([]byte, 6)
	for i := range 3 {
		line := fmt.Sprintf("line %d", i)
		_, err := io.WriteString(inWriter, line)
		must(t, err)
		// The answer to one line comes before the next is written.
		_, err = io.ReadFull(outReader, answer)
		must(t, err)
		if string(answer) != line {
			t.Fatalf("cat said %q, want %q", answer, line)
		}
	}
	must(t, inWriter.Close())
	rest, err := io.ReadAll(outReader)
	must(t, err)
	exit, err := p.Wait()
	must(t, err)
	if len(rest) != 0 || exit.Status != 0 {
		t.Errorf("rest %q, status %d", rest, exit.Status)
	}
	must(t, outReader.Close())
}

func TestLargeOutputArrivesWhole(t *testing.T) {
	s := open(t, Config{Root: smallRoot(t)})
	const size = 64 << 20
	o := try(t, s, Command{Argv: []string{"dd", "if=/dev/zero", "bs=1048576", "count=64", "status=none"}})
	if len(o.out) != size || strings.Trim(o.out, "\x00") != "" {
		t.Errorf("%d bytes, want %d zeros", len(o.out), size)
	}
}

func TestArgumentsArriveAsTheyAre(t *testing.T) {
	s := open(t, Config{Root: smallRoot(t)})
	many := make([]string, 2000)
	for i := range many {
		many[i] = strings.Repeat("y", 500)
	}
	strange := []string{"", " ", "a\nb", "\xff\xfe not UTF-8", "--", "$(id)", "'"}
	argv := append([]string{"sh", "-c", `printf '[%s]' "$@"`, "sh"}, append(strange, many...)...)
	want := "[" + strings.Join(append(strange, many...), "][") + "]"
	if o := try(t, s, Command{Argv: argv}); o.out != want {
		t.Errorf("got %d bytes, want %d; it starts with %.60q", len(o.out), len(want), o.out)
	}
}

func TestEnvironmentIsBuilt(t *testing.T) {
	t.Setenv("SECRET_OF_THE_DAEMON", "1")
	s := open(t, Config{Root: smallRoot(t), Number: 42, Env: []string{"DEBIAN_FRONTEND=noninteractive", "LANG=de_DE.UTF-8"}})
	o := try(t, s, Command{Argv: []string{"env"}, Env: []string{"LANG=C", "EXTRA=a=b"}})
	got := map[string]bool{}
	for line := range strings.Lines(o.out) {
		got[strings.TrimSpace(line)] = true
	}
	for _, want := range []string{
		"PATH=/run/txupd/shims:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C",
		"EXTRA=a=b", "DEBIAN_FRONTEND=noninteractive", "TXUPD_TRANSACTION=42", "TRANSACTIONAL_UPDATE=true",
		"SYSTEMD_OFFLINE=1", "container=txupd", "DISABLE_SNAPPER_ZYPP_PLUGIN=1", "DISABLE_RESTART_ON_UPDATE=yes",
		"USER=root", "LOGNAME=root", "SHELL=/bin/sh", "APT_CONFIG=/run/txupd/apt.conf",
	} {
		if !got[want] {
			t.Errorf("%s is missing", want)
		}
		delete(got, want)
	}
	if len(got) != 0 {
		t.Errorf("more than was built: %v", got)
	}
}

func TestCommandStartsFromACleanState(t *testing.T) {
	// A descriptor that a careless parent or library leaves open to children.
	leak, err := unix.Open("/etc/passwd", unix.O_RDONLY, 0)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(leak) })
	// A signal that somebody above the daemon ignores.
	signal.Ignore(syscall.SIGUSR2)
	t.Cleanup(func() { signal.Reset(syscall.SIGUSR2) })
	s := open(t, Config{Root: smallRoot(t)})
	if got := script(t, s, "ls /proc/$$/fd"); got != "0\n1\n2" {
		t.Errorf("open descriptors: %q", got)
	}
	if got := script(t, s, "umask; pwd"); got != "0022\n/" {
		t.Errorf("umask and directory: %q", got)
	}
	status := statusFields(script(t, s, "exec cat /proc/self/status"))
	for field, want := range map[string]string{
		"SigBlk": "0000000000000000", "SigIgn": "0000000000000000", "NoNewPrivs": "0",
	} {
		if status[field] != want {
			t.Errorf("%s is %s, want %s", field, status[field], want)
		}
	}
	if pid, group, session := status["NSpid"], status["NSpgid"], status["NSsid"]; pid != group || pid != session {
		t.Errorf("process %s is in group %s of session %s", pid, group, session)
	}
	o := try(t, s, Command{Argv: []string{"./sh", "-c", "pwd"}, Dir: "/usr/bin"})
	if o.out != "/usr/bin\n" {
		t.Errorf("with Dir: %+v", o)
	}
}

func statusFields(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	return fields
}

func TestBadCommandsAreRefusedBeforeAnythingStarts(t *testing.T) {
	s := open(t, Config{Root: smallRoot(t)})
	closed, err := os.Open("/dev/null")
	must(t, err)
	must(t, closed.Close())
	for _, test := range []struct {
		name    string
		command Command
		want    string
	}{
		{"no argv", Command{}, "it has no name"},
		{"empty name", Command{Argv: []string{""}}, "it has no name"},
		{"NUL", Command{Argv: []string{"sh", "a\x00b"}}, "argument 1 holds a NUL"},
		{"relative directory", Command{Argv: []string{"true"}, Dir: "etc"}, `the directory "etc" is not an absolute path`},
		{"missing directory", Command{Argv: []string{"true"}, Dir: "/no/where"}, "cannot start in the directory /no/where: no such file or directory"},
		{"file as directory", Command{Argv: []string{"true"}, Dir: "/etc/passwd"}, "/etc/passwd: it is not a directory"},
		{"environment", Command{Argv: []string{"true"}, Env: []string{"NOVALUE"}}, `"NOVALUE" is not of the form NAME=VALUE`},
		{"environment NUL", Command{Argv: []string{"true"}, Env: []string{"A=\x00"}}, `environment "A" holds a NUL`},
		{"terminal and file", Command{Argv: []string{"true"}, TTY: &Size{}, Stdin: os.Stdin}, "takes no other files"},
		{"closed file", Command{Argv: []string{"true"}, Stdin: closed}, "file already closed"},
		{"enormous", Command{Argv: []string{"true", strings.Repeat("x", maxFrame)}}, "bytes long"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := s.Start(t.Context(), test.command)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, %v; want an error with %q", p, err, test.want)
			}
		})
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Start(canceled, Command{Argv: []string{"true"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a cancelled context: %v", err)
	}
	if got := script(t, s, "echo fine"); got != "fine" {
		t.Errorf("afterwards: %q", got)
	}
}

func TestCommandsRunSideBySide(t *testing.T) {
	s := open(t, Config{Root: smallRoot(t)})
	var wait sync.WaitGroup
	for i := range 20 {
		wait.Go(func() {
			p, err := s.Start(context.Background(), Command{Argv: []string{"sh", "-c", fmt.Sprintf("sleep 0.1; exit %d", i)}})
			if err != nil {
				t.Error(err)
				return
			}
			exit, err := p.Wait()
			if err != nil || exit.Status != i {
				t.Errorf("command %d: %+v, %v", i, exit, err)
			}
		})
	}
	wait.Wait()
}

// waiting starts a script and returns when it has said "ready".
func waiting(t *testing.T, s *Sandbox, ctx context.Context, text string, grace time.Duration) *Process {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	p, err := s.Start(ctx, Command{Argv: []string{"sh", "-c", text}, Stdout: w, Grace: grace})
	must(t, w.Close())
	must(t, err)
	ready := make([]byte, len("ready\n"))
	_, err = io.ReadFull(r, ready)
	must(t, err)
	if !bytes.Equal(ready, []byte("ready\n")) {
		t.Fatalf("the script said %q", ready)
	}
	must(t, r.Close())
	return p
}

func TestCancellationAsksFirst(t *testing.T) {
	s := open(t, Config{Root: smallRoot(t)})
	ctx, cancel := context.WithCancel(t.Context())
	p := waiting(t, s, ctx, "trap 'exit 5' TERM; echo ready; sleep 1000 & wait", time.Minute)
	cancel()
	exit, err := p.Wait()
	must(t, err)
	if exit.Status != 5 || exit.Signal != 0 {
		t.Errorf("it ended with %+v", exit)
	}
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("a signal after the end: %v", err)
	}
}

func TestCancellationKillsAfterTheGracePeriod(t *testing.T) {
	s := open(t, Config{Root: smallRoot(t)})
	ctx, cancel := context.WithCancel(t.Context())
	const grace = 200 * time.Millisecond
	p := waiting(t, s, ctx, "trap '' TERM; echo ready; while :; do sleep 1000; done", grace)
	began := time.Now()
	cancel()
	exit, err := p.Wait()
	must(t, err)
	if exit.Status != 137 || exit.Signal != syscall.SIGKILL {
		t.Errorf("it ended with %+v", exit)
	}
	if took := time.Since(began); took < grace {
		t.Errorf("killed after %v, before the grace period of %v was over", took, grace)
	}
}

func TestSignalReachesTheWholeGroup(t *testing.T) {
	s := open(t, Config{Root: smallRoot(t)})
	p := waiting(t, s, t.Context(), "trap : USR1; (trap 'echo child >/child; exit 0' USR1; echo ready; while :; do sleep 0.01; done)", 0)
	must(t, p.Signal(syscall.SIGUSR1))
	exit, err := p.Wait()
	must(t, err)
	if exit.Status != 0 || script(t, s, "cat /child") != "child" {
		t.Errorf("it ended with %+v", exit)
	}
}

// A command has a descriptor 3 only where it was given one.
func TestStatusDescriptor(t *testing.T) {
	s := open(t, Config{Root: smallRoot(t)})
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	p, err := s.Start(t.Context(), Command{Argv: []string{"sh", "-c", "echo said >&3; exec 3>&-; exit 4"}, Status: w})
	must(t, err)
	w.Close()
	said, err := io.ReadAll(r)
	must(t, err)
	if exit, err := p.Wait(); err != nil || exit.Status != 4 || string(said) != "said\n" {
		t.Errorf("it said %q, %+v, %v", said, exit, err)
	}
	if o := try(t, s, Command{Argv: []string{"sh", "-c", "true >&3"}}); o.exit.Status == 0 {
		t.Error("there is a descriptor 3 that nobody gave")
	}
}

package sandbox

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"
)

// screen is a person at a terminal: types, and reads until something shows.
type screen struct {
	t    *testing.T
	p    *Process
	seen string
}

func sit(t *testing.T, s *Sandbox, ctx context.Context, c Command) *screen {
	t.Helper()
	if c.TTY == nil {
		c.TTY = &Size{Rows: 24, Cols: 80}
	}
	p, err := s.Start(ctx, c)
	must(t, err)
	// Only so that a broken terminal fails the test instead of hanging it.
	must(t, p.Terminal().SetReadDeadline(time.Now().Add(time.Minute)))
	return &screen{t: t, p: p}
}

func (s *screen) keys(text string) {
	s.t.Helper()
	_, err := io.WriteString(s.p.Terminal(), text)
	must(s.t, err)
}

// until reads up to want and returns what came before it since the last call.
func (s *screen) until(want string) string {
	s.t.Helper()
	buf := make([]byte, 4096)
	for {
		if before, after, ok := strings.Cut(s.seen, want); ok {
			s.seen = after
			return before
		}
		n, err := s.p.Terminal().Read(buf)
		if err != nil {
			s.t.Fatalf("the terminal shows %q and no %q: %v", s.seen, want, err)
		}
		s.seen += string(buf[:n])
	}
}

// rest reads until nobody has the terminal open any more.
func (s *screen) rest() string {
	s.t.Helper()
	all, err := io.ReadAll(s.p.Terminal())
	if !errors.Is(err, syscall.EIO) {
		s.t.Errorf("the terminal ended with %v", err)
	}
	return s.seen + string(all)
}

func (s *screen) ended(status int) {
	s.t.Helper()
	exit, err := s.p.Wait()
	must(s.t, err)
	if exit.Status != status {
		s.t.Errorf("status %d, want %d", exit.Status, status)
	}
}

func TestTerminalIsTheSandboxesOwn(t *testing.T) {
	s := open(t, Config{Root: smallRoot(t), Env: []string{"TERM=xterm-256color"}})
	c := sit(t, s, t.Context(), Command{
		Argv: []string{"sh", "-c", "tty; stty size; stat -c '%a %G' /dev/pts/0; echo $TERM; echo works >/dev/tty; ls /proc/$$/fd; exit 4"},
		TTY:  &Size{Rows: 33, Cols: 101},
	})
	if got := c.rest(); got != "/dev/pts/0\r\n33 101\r\n620 tty\r\nxterm-256color\r\nworks\r\n0  1  2\r\n" {
		t.Errorf("it shows %q", got)
	}
	c.ended(4)
}

func TestControlCInterrupts(t *testing.T) {
	s := open(t, Config{Root: smallRoot(t)})
	c := sit(t, s, t.Context(), Command{Argv: []string{"cat"}})
	c.keys("line\n")
	c.until("line\r\nline\r\n") // the terminal's echo, and cat's
	c.keys("\x03")
	c.ended(130)
	if exit, _ := c.p.Wait(); exit.Signal != syscall.SIGINT {
		t.Errorf("it ended with %+v", exit)
	}
}

func TestResizeReachesTheForeground(t *testing.T) {
	s := open(t, Config{Root: smallRoot(t)})
	c := sit(t, s, t.Context(), Command{Argv: []string{"sh", "-c",
		"trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 1000 & wait; done"}})
	c.until("ready\r\n")
	must(t, c.p.Resize(Size{Rows: 40, Cols: 132}))
	c.until("40 132\r\n")
	c.ended(0)
}

func TestShellHasJobControl(t *testing.T) {
	s := open(t, Config{Root: smallRoot(t)})
	c := sit(t, s, t.Context(), Command{Argv: []string{"sh", "-i"}, Env: []string{"PS1=> "}})
	if got := c.until("> "); got != "" {
		t.Errorf("the shell complains: %q", got)
	}
	c.keys("cat\n")
	c.keys("one\n")
	c.until("one\r\none\r\n")
	c.keys("\x1a")
	c.until("Stopped")
	c.until("> ")
	c.keys("jobs\n")
	c.until("Stopped")
	c.until("> ")
	c.keys("fg\n")
	c.until("cat\r\n")
	c.keys("two\n")
	c.until("two\r\ntwo\r\n")
	c.keys("\x03")
	c.until("> ")
	c.keys("echo status=$?\n")
	c.until("status=130\r\n")
	c.keys("exit 7\n")
	c.ended(7)
	// The program in the terminal is gone and the end of its output is seen.
	c.rest()
}

func TestCancelledShellEnds(t *testing.T) {
	s := open(t, Config{Root: smallRoot(t)})
	ctx, cancel := context.WithCancel(t.Context())
	// A minute of grace: it must end because it was asked, not because it was killed.
	c := sit(t, s, ctx, Command{Argv: []string{"sh", "-i"}, Env: []string{"PS1=> "}, Grace: time.Minute})
	c.until("> ")
	c.keys("trap '' TERM; sleep 1000 & echo \"read\"y\n")
	c.until("ready\r\n")
	cancel()
	if exit, err := c.p.Wait(); err != nil || exit.Signal == syscall.SIGKILL || exit.Status == 0 {
		t.Errorf("it ended with %+v, %v", exit, err)
	}
	must(t, s.Close())
	if _, err := c.p.Terminal().Read(make([]byte, 1)); err == nil {
		t.Error("the terminal is still open")
	}
}

func TestResizeNeedsATerminal(t *testing.T) {
	s := open(t, Config{Root: smallRoot(t)})
	p, err := s.Start(t.Context(), Command{Argv: []string{"true"}})
	must(t, err)
	if err := p.Resize(Size{1, 1}); err == nil || p.Terminal() != nil {
		t.Errorf("Resize says %v, the terminal is %v", err, p.Terminal())
	}
	_, err = p.Wait()
	must(t, err)
}

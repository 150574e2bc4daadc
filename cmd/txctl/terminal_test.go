package main

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/charmbracelet/colorprofile"
	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/pkg/journal/record"
)

// keyboard is a terminal with a person before it.
func keyboard(t *testing.T) (person, terminal *os.File) {
	t.Helper()
	person, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		terminal.Close()
		person.Close()
	})
	if err := pty.Setsize(person, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		t.Fatal(err)
	}
	return person, terminal
}

func modes(t *testing.T, terminal *os.File) uint32 {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag & (unix.ICANON | unix.ECHO | unix.ISIG)
}

func TestShellHasTheTerminalAndGivesItBack(t *testing.T) {
	for name, failed := range map[string]bool{"committed": false, "failed": true} {
		t.Run(name, func(t *testing.T) {
			person, terminal := keyboard(t)
			before := modes(t, terminal)
			f := newFake(t)
			var within uint32
			typed := make([]byte, 2)
			f.command = func(in io.Reader, _, _ io.Writer) int32 {
				within = modes(t, terminal)
				person.Write([]byte{3, 'x'}) // Ctrl-C is a key like others
				io.ReadFull(in, typed)
				if failed {
					f.outcome = bus.Outcome{Number: 4, Phase: record.Failed, Exit: -1, Error: "Failed", ErrorMessage: "no pty"}
				}
				return 0
			}
			got := f.txctl(terminal, "shell")
			if want := 0; !failed && got.code != want || failed && got.code != 125 {
				t.Errorf("exit %d: %s", got.code, got.stderr)
			}
			if within != 0 {
				t.Errorf("the shell's terminal is not raw: %b", within)
			}
			if after := modes(t, terminal); after != before {
				t.Errorf("the terminal was left in modes %b, it had %b", after, before)
			}
			if string(typed) != "\x03x" {
				t.Errorf("the shell got %q", typed)
			}
			if f.calls[0] != "shell [] (shell)" || f.calls[1] != "resize 24 80" {
				t.Errorf("called %q", f.calls)
			}
			if f.input.Terminal == nil || f.input.Terminal.Rows != 24 || f.input.Terminal.Columns != 80 {
				t.Errorf("input %+v", f.input.Terminal)
			}
		})
	}
}

func TestDeleteAsksOnATerminal(t *testing.T) {
	for answer, want := range map[string]int{"y\n": 0, "yes\n": 0, "n\n": 1, "\n": 1, "\x04": 1} {
		person, terminal := keyboard(t)
		person.WriteString(answer)
		f := newFake(t)
		got := f.txctlWith(func(a *app) { a.stderr = terminal }, terminal, "delete", "2")
		if got.code != want || (want == 0) != (len(f.calls) == 1) {
			t.Errorf("%q: exit %d, calls %q", answer, got.code, f.calls)
		}
		if !strings.Contains(got.stderr, "Delete this snapshot?") || !strings.Contains(got.stderr, "step 2") {
			t.Errorf("asked %q", got.stderr)
		}
	}
}

func TestColoursOnlyOnATerminalThatWantsThem(t *testing.T) {
	_, terminal := keyboard(t)
	for env, want := range map[string]bool{"TERM=xterm": true, "TERM=dumb": false, "NO_COLOR=1": false} {
		a := newApp(nil, terminal, io.Discard, func(name string) string {
			value, _ := strings.CutPrefix(env, name+"=")
			if value == env {
				return ""
			}
			return value
		})
		var out strings.Builder
		colours(a.out, &out)
		io.WriteString(a.out, "\x1b[31mred\x1b[m")
		if got := strings.Contains(out.String(), "31m"); got != want {
			t.Errorf("%s: %q", env, out.String())
		}
	}
	var out strings.Builder
	a := newApp(nil, &out, io.Discard, os.Getenv)
	io.WriteString(a.out, "\x1b[31mred\x1b[m")
	if out.String() != "red" {
		t.Errorf("not a terminal: %q", out.String())
	}
}

// colours sends what goes to w elsewhere, with the colours that w lets through.
func colours(w io.Writer, elsewhere io.Writer) { w.(*colorprofile.Writer).Forward = elsewhere }

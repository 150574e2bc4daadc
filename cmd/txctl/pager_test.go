package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

func TestWhatIsLongerThanTheScreenGoesToThePager(t *testing.T) {
	dir := t.TempDir()
	seen := filepath.Join(dir, "seen")
	script := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pager := script("pager", `{ echo "$1 $LESS $LESSSECURE"; cat; } >`+seen+"\n")
	leaves := script("leaves", "exit 3\n")
	for _, c := range []struct {
		name  string
		rows  uint16
		env   map[string]string
		args  []string
		paged bool
	}{
		{"long", 3, map[string]string{"PAGER": pager + " arg"}, []string{"list"}, true},
		{"ours before others", 3, map[string]string{"PAGER": "cat", "TXCTL_PAGER": pager + " arg"}, []string{"list"}, true},
		{"short", 24, map[string]string{"PAGER": pager + " arg"}, []string{"list"}, false},
		{"cat", 3, map[string]string{"PAGER": "cat"}, []string{"list"}, false},
		{"not there", 3, map[string]string{"PAGER": "/no/such/pager"}, []string{"list"}, false},
		{"dumb", 3, map[string]string{"PAGER": pager + " arg", "TERM": "dumb"}, []string{"list"}, false},
		{"not wanted", 3, map[string]string{"PAGER": pager + " arg"}, []string{"list", "--no-pager"}, false},
		{"a document", 3, map[string]string{"PAGER": pager + " arg"}, []string{"list", "--json"}, false},
		{"status", 3, map[string]string{"PAGER": pager + " arg"}, []string{"status"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			os.Remove(seen)
			shown := onTerminal(t, c.rows, c.env, 0, c.args...)
			text, err := os.ReadFile(seen)
			if c.paged != (err == nil) {
				t.Fatalf("paged: %v, want %v; the terminal shows %q", err == nil, c.paged, shown)
			}
			if !c.paged {
				if len(shown) < 20 {
					t.Errorf("the terminal shows %q", shown)
				}
				return
			}
			secure := ""
			if os.Geteuid() == 0 {
				secure = "1"
			}
			first, rest, _ := strings.Cut(string(text), "\n")
			if first != "arg FRX "+secure || !strings.Contains(rest, "MESSAGE") || !strings.Contains(rest, "\x1b[") || shown != "" {
				t.Errorf("the pager was called with %q and got %q; the terminal shows %q", first, rest, shown)
			}
		})
	}
	onTerminal(t, 3, map[string]string{"PAGER": leaves}, 0, "list")
}

// onTerminal runs txctl at a terminal and returns what that shows.
func onTerminal(t *testing.T, rows uint16, env map[string]string, code int, args ...string) string {
	t.Helper()
	person, terminal := keyboard(t)
	if err := pty.Setsize(person, &pty.Winsize{Rows: rows, Cols: 80}); err != nil {
		t.Fatal(err)
	}
	got := newFake(t).txctlWith(func(a *app) {
		a.getenv = func(name string) string { return env[name] }
		a.stdout, a.out = terminal, a.coloured(terminal)
	}, terminal, args...)
	if got.code != code {
		t.Errorf("exit %d, want %d: %s", got.code, code, got.stderr)
	}
	const end = "that is all"
	if _, err := terminal.WriteString(end); err != nil {
		t.Fatal(err)
	}
	if err := person.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	buf := make([]byte, 4096)
	for !strings.HasSuffix(all.String(), end) {
		n, err := person.Read(buf)
		if err != nil {
			t.Fatalf("%v after %q", err, all.String())
		}
		all.Write(buf[:n])
	}
	return strings.TrimSuffix(all.String(), end)
}

package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/creack/pty"
)

// TestAgentLeavesTheQuestionToADesktop: where there may be one. Where there is
// no session polkit would ask nobody then.
func TestAgentLeavesTheQuestionToADesktop(t *testing.T) {
	for set, want := range map[string]bool{"": false, "XDG_SESSION_ID": true, "WAYLAND_DISPLAY": true, "DISPLAY": true} {
		a := &app{getenv: func(name string) string {
			if name == set {
				return "1"
			}
			return ""
		}}
		if got := slices.Contains(a.agentArguments(), "--fallback"); got != want {
			t.Errorf("with %q set: %v", set, a.agentArguments())
		}
	}
}

func TestNobodyIsAskedWithoutATerminalOfHis(t *testing.T) {
	other, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	defer terminal.Close()
	for name, a := range map[string]*app{
		"no terminal":           {stdin: strings.NewReader(""), stderr: &strings.Builder{}},
		"no terminal to ask on": {stdin: terminal, stderr: &strings.Builder{}},
		"somebody else's":       {stdin: terminal, stderr: terminal}, // it does not control this process
	} {
		if a.mayAsk() {
			t.Errorf("%s: somebody would be asked", name)
		}
	}
}

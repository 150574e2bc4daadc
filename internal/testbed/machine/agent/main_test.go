package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/testbed/machine/wire"
)

// harness is the other end of the port.
type harness struct {
	t      *testing.T
	in     io.Writer
	events *bufio.Scanner
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	requests, in := io.Pipe()
	events, out := io.Pipe()
	a := &agent{boot: &wire.Boot{ID: "now"}, out: out, commands: map[uint64]int{}}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = a.serve(requests) }()
	t.Cleanup(func() { in.Close(); events.Close(); <-ended })
	h := &harness{t: t, in: in, events: bufio.NewScanner(events)}
	if e := h.next(); e.Boot == nil || e.Boot.ID != "now" {
		t.Fatalf("the agent began with %+v and not with its boot", e)
	}
	return h
}

func (h *harness) send(text string) {
	h.t.Helper()
	if _, err := io.WriteString(h.in, text); err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) ask(r wire.Request) {
	h.t.Helper()
	line, err := json.Marshal(r)
	if err != nil {
		h.t.Fatal(err)
	}
	h.send("\n" + string(line) + "\n")
}

// next is the next event that is one.
func (h *harness) next() wire.Event {
	h.t.Helper()
	for h.events.Scan() {
		var e wire.Event
		if json.Unmarshal(h.events.Bytes(), &e) == nil {
			return e
		}
	}
	h.t.Fatal("the agent has gone")
	return wire.Event{}
}

// answer collects the events of a request to its end.
func (h *harness) answer(id uint64) (all wire.Event) {
	h.t.Helper()
	for {
		e := h.next()
		if e.ID != id {
			h.t.Fatalf("an answer to %d: %+v", e.ID, e)
		}
		e.Stdout, e.Stderr = append(all.Stdout, e.Stdout...), append(all.Stderr, e.Stderr...)
		all = e
		if e.Done {
			return all
		}
	}
}

func TestCommandsAreAnsweredWithWhatTheyPrintAndReturn(t *testing.T) {
	h := newHarness(t)
	for name, c := range map[string]struct {
		request wire.Request
		want    wire.Event
		failure string
	}{
		"outputs and status": {wire.Request{Argv: []string{"sh", "-c", "echo out; echo err >&2; exit 3"}}, wire.Event{Stdout: []byte("out\n"), Stderr: []byte("err\n"), Exit: 3}, ""},
		"input":              {wire.Request{Argv: []string{"cat"}, Stdin: []byte("given\n")}, wire.Event{Stdout: []byte("given\n")}, ""},
		"no input":           {wire.Request{Argv: []string{"cat"}}, wire.Event{}, ""},
		"environment":        {wire.Request{Argv: []string{"sh", "-c", "echo $A $HOME"}, Env: []string{"A=b"}}, wire.Event{Stdout: []byte("b /root\n")}, ""},
		"directory":          {wire.Request{Argv: []string{"pwd"}, Dir: "/usr"}, wire.Event{Stdout: []byte("/usr\n")}, ""},
		"signal":             {wire.Request{Argv: []string{"sh", "-c", "kill -TERM $$"}}, wire.Event{Exit: -1, Signal: "SIGTERM"}, ""},
		"no such command":    {wire.Request{Argv: []string{"/no/such"}}, wire.Event{Exit: -1}, "no such file"},
		"no command":         {wire.Request{}, wire.Event{Exit: -1}, "no command"},
		// What it leaves behind holds its outputs.
		"left behind": {wire.Request{Argv: []string{"sh", "-c", "echo begun; sleep 60 & echo $!"}}, wire.Event{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.request
			r.Boot, r.ID, r.Op = "now", 7, wire.Run
			h.t = t
			h.ask(r)
			got := h.answer(7)
			if name == "left behind" {
				lines := strings.Fields(string(got.Stdout))
				if len(lines) != 2 || got.Exit != 0 || got.Error != "" {
					t.Fatalf("got %+v", got)
				}
				pid, err := strconv.Atoi(lines[1])
				if err != nil {
					t.Fatal(err)
				}
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Errorf("what the command left behind is gone: %v", err)
				}
				return
			}
			if string(got.Stdout) != string(c.want.Stdout) || string(got.Stderr) != string(c.want.Stderr) ||
				got.Exit != c.want.Exit || got.Signal != c.want.Signal || (got.Error != "") != (c.failure != "") || !strings.Contains(got.Error, c.failure) {
				t.Errorf("got %+v, want %+v %q", got, c.want, c.failure)
			}
		})
	}
}

func TestRequestsOfAFormerBootAreNotCarriedOut(t *testing.T) {
	h := newHarness(t)
	path := filepath.Join(t.TempDir(), "file")
	h.send(`the end of a line"}` + "\n")
	h.ask(wire.Request{Boot: "before", ID: 1, Op: wire.Write, Path: path, Data: []byte("x"), Mode: 0o644})
	h.send(`{"boot":"before","id":2,"op":"wri`) // and here it was cut
	h.ask(wire.Request{Boot: "now", ID: 3, Op: wire.Read, Path: path})
	if e := h.answer(3); !e.Missing || e.Error == "" {
		t.Errorf("reading what a former boot should have written gave %+v", e)
	}
}

func TestFilesAreReplacedAsAWhole(t *testing.T) {
	h := newHarness(t)
	path := filepath.Join(t.TempDir(), "made/on/the/way")
	for i, text := range []string{"long enough to see a rest of it", "short"} {
		h.ask(wire.Request{Boot: "now", ID: 1, Op: wire.Write, Path: path, Data: []byte(text), Mode: 0o640})
		if e := h.answer(1); e.Error != "" {
			t.Fatal(e.Error)
		}
		h.ask(wire.Request{Boot: "now", ID: 2, Op: wire.Read, Path: path})
		if e := h.answer(2); string(e.Data) != text {
			t.Errorf("write %d: read %q", i, e.Data)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Dir(path) + "/.agent-*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestKillEndsACommandAndItsChildren(t *testing.T) {
	h := newHarness(t)
	h.ask(wire.Request{Boot: "now", ID: 1, Op: wire.Run, Argv: []string{"sh", "-c", "sleep 60 & echo $!; wait"}})
	pid, err := strconv.Atoi(strings.TrimSpace(string(h.next().Stdout)))
	if err != nil {
		t.Fatal(err)
	}
	child, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child)
	h.ask(wire.Request{Boot: "now", ID: 1, Op: wire.Kill})
	if e := h.answer(1); e.Signal != "SIGKILL" {
		t.Errorf("the command ended with %+v", e)
	}
	ready := []unix.PollFd{{Fd: int32(child), Events: unix.POLLIN}}
	if n, err := unix.Poll(ready, 60_000); n != 1 {
		t.Errorf("the child of the command lives: %v", err)
	}
}

func TestHelloIsAnsweredInAnyBoot(t *testing.T) {
	h := newHarness(t)
	h.ask(wire.Request{Op: wire.Hello})
	if e := h.next(); e.Boot == nil || e.Boot.ID != "now" {
		t.Errorf("hello was answered by %+v", e)
	}
}

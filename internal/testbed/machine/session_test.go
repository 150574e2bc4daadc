package machine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"testing"
	"time"

	"github.com/txupd/txupd/internal/testbed/machine/wire"
)

// guest plays the agents of a machine, boot after boot on one port.
type guest struct {
	t        *testing.T
	port     net.Conn
	requests chan wire.Request // as they come, closed when the harness has gone
}

// newSessionTest is a session with a guest, and the boots that it has heard of.
func newSessionTest(t *testing.T) (*session, *guest, <-chan wire.Boot) {
	t.Helper()
	ours, theirs := net.Pipe()
	boots := make(chan wire.Boot, 8)
	s := newSession(ours, func(b wire.Boot) { boots <- b })
	ended := make(chan struct{})
	go func() { defer close(ended); s.listen(ours) }()
	g := &guest{t, theirs, make(chan wire.Request, 8)}
	go g.listen()
	t.Cleanup(func() { ours.Close(); theirs.Close(); <-ended })
	return s, g, boots
}

func (g *guest) listen() {
	defer close(g.requests)
	for lines := bufio.NewScanner(g.port); lines.Scan(); {
		var r wire.Request
		if json.Unmarshal(lines.Bytes(), &r) == nil {
			g.requests <- r
		}
	}
}

func (g *guest) say(events ...wire.Event) {
	g.t.Helper()
	for _, e := range events {
		line, err := json.Marshal(e)
		if err != nil {
			g.t.Fatal(err)
		}
		g.write("\n" + string(line) + "\n")
	}
}

func (g *guest) write(text string) {
	g.t.Helper()
	if _, err := io.WriteString(g.port, text); err != nil {
		g.t.Fatal(err)
	}
}

func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestNothingCanBeAskedBeforeABoot(t *testing.T) {
	s, _, _ := newSessionTest(t)
	if _, err := s.start(Command{Argv: []string{"true"}}); !errors.Is(err, errGone) {
		t.Errorf("a command without a boot: %v", err)
	}
}

func TestAnswersOfManyCommandsAreKeptApart(t *testing.T) {
	s, g, boots := newSessionTest(t)
	g.say(wire.Event{Boot: &wire.Boot{ID: "one"}})
	<-boots
	var processes []*Process
	for range 2 {
		p, err := s.start(Command{Argv: []string{"some"}})
		if err != nil {
			t.Fatal(err)
		}
		processes = append(processes, p)
	}
	a, b := processes[0].id, processes[1].id
	g.say(wire.Event{ID: a, Stdout: []byte("a1 ")}, wire.Event{ID: b, Stderr: []byte("b1 ")}, wire.Event{ID: a, Stdout: []byte("a2")})
	if err := processes[0].WaitOutput(limited(t), func(stdout, _ string) bool { return stdout == "a1 a2" }); err != nil {
		t.Error(err)
	}
	g.say(wire.Event{ID: b, Stderr: []byte("b2"), Done: true, Exit: 4}, wire.Event{ID: a, Done: true})
	for i, want := range []Result{{Stdout: "a1 a2"}, {Stderr: "b1 b2", Exit: 4}} {
		if got, err := processes[i].Wait(limited(t)); err != nil || got != want {
			t.Errorf("command %d gave %+v, %v; want %+v", i, got, err, want)
		}
	}
}

// TestAnotherBootEndsWhatWasAskedOfTheFormer: its answer will never come.
func TestAnotherBootEndsWhatWasAskedOfTheFormer(t *testing.T) {
	s, g, boots := newSessionTest(t)
	g.say(wire.Event{Boot: &wire.Boot{ID: "one"}})
	<-boots
	p, err := s.start(Command{Argv: []string{"reboot"}})
	if err != nil {
		t.Fatal(err)
	}
	g.write(`{"id":1,"stdout":"aGFsZ`) // the machine was reset while the agent spoke
	g.say(wire.Event{Boot: &wire.Boot{ID: "two"}})
	if b := <-boots; b.ID != "two" {
		t.Errorf("the next boot is %+v", b)
	}
	if _, err := p.Wait(limited(t)); !errors.Is(err, errGone) {
		t.Errorf("a command of the former boot ended with %v", err)
	}
	// An agent that was only restarted is no boot.
	g.say(wire.Event{Boot: &wire.Boot{ID: "two"}}, wire.Event{Boot: &wire.Boot{ID: "three"}})
	if b := <-boots; b.ID != "three" {
		t.Errorf("the same boot was told twice: %+v", b)
	}
}

func TestAResetEndsWhatWasAsked(t *testing.T) {
	s, g, boots := newSessionTest(t)
	g.say(wire.Event{Boot: &wire.Boot{ID: "one"}})
	<-boots
	p, err := s.start(Command{Argv: []string{"reboot"}})
	if err != nil {
		t.Fatal(err)
	}
	s.reset()
	if _, err := p.Wait(limited(t)); !errors.Is(err, errGone) {
		t.Errorf("a command ended with %v", err)
	}
	if s.up() {
		t.Error("the machine was reset and an agent is said to be there")
	}
}

func TestAFileThatIsNotThereIsTold(t *testing.T) {
	s, g, boots := newSessionTest(t)
	g.say(wire.Event{Boot: &wire.Boot{ID: "one"}})
	<-boots
	go func() {
		r := <-g.requests
		g.say(wire.Event{ID: r.ID, Done: true, Error: "open /x: no such file or directory", Missing: true})
	}()
	if _, err := s.ask(limited(t), wire.Request{Op: wire.Read, Path: "/x"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading it gave %v", err)
	}
}

func TestWaitingThatEndsKillsTheCommand(t *testing.T) {
	s, g, boots := newSessionTest(t)
	g.say(wire.Event{Boot: &wire.Boot{ID: "one"}})
	<-boots
	p, err := s.start(Command{Argv: []string{"sleep", "60"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting ended with %v", err)
	}
	run := <-g.requests
	if kill := <-g.requests; kill.Op != wire.Kill || kill.ID != run.ID || kill.Boot != "one" {
		t.Errorf("after that the guest was asked for %+v", kill)
	}
}

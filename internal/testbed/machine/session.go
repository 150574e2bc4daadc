// The conversation with the agent in the guest.

package machine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/txupd/txupd/internal/testbed/machine/wire"
)

// session is the port of one QEMU process, over all boots of it.
type session struct {
	out     io.Writer
	sending sync.Mutex

	// onBoot is told of every boot that says hello, before anything else is answered in it.
	onBoot func(wire.Boot)

	mu    sync.Mutex
	boot  string // "" until an agent has said hello
	next  uint64
	calls map[uint64]*call
}

// call is something asked of the agent.
type call struct {
	changes
	stdout, stderr, data []byte
	done                 bool
	end                  wire.Event
	err                  error
}

func newSession(out io.Writer, onBoot func(wire.Boot)) *session {
	return &session{out: out, onBoot: onBoot, calls: map[uint64]*call{}}
}

// listen hears the agents until the port closes.
func (s *session) listen(in io.Reader) {
	defer s.reset()
	lines := bufio.NewReaderSize(in, 1<<16)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var e wire.Event
		if json.Unmarshal(line, &e) != nil {
			continue // empty, or the rest of what a former boot began to say
		}
		if e.Boot != nil {
			s.hello(*e.Boot)
			continue
		}
		s.mu.Lock()
		c := s.calls[e.ID]
		if e.Done {
			delete(s.calls, e.ID)
		}
		s.mu.Unlock()
		if c != nil {
			c.hear(e)
		}
	}
}

func (c *call) hear(e wire.Event) {
	c.change(func() {
		c.stdout, c.stderr, c.data = append(c.stdout, e.Stdout...), append(c.stderr, e.Stderr...), append(c.data, e.Data...)
		if e.Done {
			c.done, c.end = true, e
		}
	})
}

func (s *session) hello(b wire.Boot) {
	s.mu.Lock()
	known := s.boot == b.ID
	s.mu.Unlock()
	if known { // the agent was asked, or has been restarted
		return
	}
	s.reset()
	s.mu.Lock()
	s.boot = b.ID
	s.mu.Unlock()
	s.onBoot(b)
}

// reset ends what was asked of a boot that is gone.
func (s *session) reset() {
	s.mu.Lock()
	gone := s.calls
	s.boot, s.calls = "", map[uint64]*call{}
	s.mu.Unlock()
	for _, c := range gone {
		c.change(func() { c.done, c.err = true, errGone })
	}
}

// up reports whether an agent is there to be asked.
func (s *session) up() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.boot != ""
}

// greet asks whoever is there to say hello: a resumed machine has said it long ago.
func (s *session) greet() error { return s.send(wire.Request{Op: wire.Hello}) }

func (s *session) send(r wire.Request) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	s.sending.Lock()
	defer s.sending.Unlock()
	// A newline ends what a former boot did not read to its end.
	_, err = s.out.Write(append(append([]byte{'\n'}, line...), '\n'))
	return err
}

// begin asks something of the present boot.
func (s *session) begin(r wire.Request) (*call, uint64, error) {
	s.mu.Lock()
	if s.boot == "" {
		s.mu.Unlock()
		return nil, 0, errGone
	}
	s.next++
	c := &call{}
	r.Boot, r.ID = s.boot, s.next
	s.calls[r.ID] = c
	s.mu.Unlock()
	if err := s.send(r); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errGone, err)
	}
	return c, r.ID, nil
}

// Result is what a command printed and how it ended.
type Result struct {
	Stdout, Stderr string
	Exit           int    // -1 where a signal ended it
	Signal         string // which one
}

// Command is one that is run in the guest, as root, without a terminal.
type Command struct {
	Argv  []string
	Env   []string // beyond PATH, HOME and LANG
	Dir   string   // "/" if empty
	Stdin []byte   // nil: /dev/null
}

// Process is a command that was started in the guest.
type Process struct {
	session *session
	call    *call
	id      uint64
	argv    string
}

func (s *session) start(cmd Command) (*Process, error) {
	argv := strings.Join(cmd.Argv, " ")
	c, id, err := s.begin(wire.Request{Op: wire.Run, Argv: cmd.Argv, Env: cmd.Env, Dir: cmd.Dir, Stdin: cmd.Stdin})
	if err != nil {
		return nil, fmt.Errorf("cannot run %s in the guest: %w", argv, err)
	}
	return &Process{session: s, call: c, id: id, argv: argv}, nil
}

// Wait returns when the command has ended. If ctx ends first, the command is
// killed with all that it started.
func (p *Process) Wait(ctx context.Context) (Result, error) {
	err := p.call.until(ctx, func() bool { return p.call.done })
	if err != nil {
		p.Kill()
	}
	p.call.mu.Lock()
	defer p.call.mu.Unlock()
	r := Result{string(p.call.stdout), string(p.call.stderr), p.call.end.Exit, p.call.end.Signal}
	if err == nil {
		err = p.call.err
	}
	if err == nil && p.call.end.Error != "" {
		err = errors.New(p.call.end.Error)
	}
	if err != nil {
		return r, fmt.Errorf("cannot run %s in the guest: %w\n%s%s", p.argv, err, r.Stdout, r.Stderr)
	}
	return r, nil
}

// WaitOutput returns when ok likes what the command has printed, on both outputs, or it has ended.
func (p *Process) WaitOutput(ctx context.Context, ok func(stdout, stderr string) bool) error {
	return p.call.until(ctx, func() bool { return p.call.done || ok(string(p.call.stdout), string(p.call.stderr)) })
}

// Kill ends the command with all that it started, as far as that stayed in its process group.
func (p *Process) Kill() {
	p.session.mu.Lock()
	boot := p.session.boot
	p.session.mu.Unlock()
	// Where the machine is gone, the command is too.
	_ = p.session.send(wire.Request{Boot: boot, ID: p.id, Op: wire.Kill})
}

// ask is a request with one answer.
func (s *session) ask(ctx context.Context, r wire.Request) ([]byte, error) {
	c, _, err := s.begin(r)
	if err != nil {
		return nil, err
	}
	if err := c.until(ctx, func() bool { return c.done }); err != nil {
		return nil, err
	}
	switch {
	case c.err != nil:
		return nil, c.err
	case c.end.Missing:
		return nil, fmt.Errorf("%s: %w", c.end.Error, fs.ErrNotExist)
	case c.end.Error != "":
		return nil, errors.New(c.end.Error)
	}
	return c.data, nil
}

// setClock gives the guest our time.
func (s *session) setClock(ctx context.Context) error {
	_, err := s.ask(ctx, wire.Request{Op: wire.Clock, UnixNano: time.Now().UnixNano()})
	return err
}

// Commands in a sandbox, as the daemon sees them.

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultGrace is how long a cancelled command has to end by itself.
const DefaultGrace = 5 * time.Second

// Size is that of a terminal, in characters.
type Size struct{ Rows, Cols uint16 }

// Command is what to run. It gets a session and process group of its own.
type Command struct {
	// Argv[0] is looked up in PATH, of Env where it says one.
	Argv []string
	// Dir is absolute; "/" where empty.
	Dir string
	// Env holds NAME=VALUE pairs that go over those of the sandbox.
	Env []string
	// Stdin, Stdout and Stderr are /dev/null where nil. They stay the caller's, who closes them.
	Stdin, Stdout, Stderr *os.File
	// Status is its descriptor 3, which it has only where this is not nil.
	Status *os.File
	// TTY gives it a controlling terminal of the sandbox instead of the three files.
	TTY *Size
	// Grace is for Kill where the context ends; DefaultGrace where 0.
	Grace time.Duration
}

// Exit is how a command ended.
type Exit struct {
	// Status is its exit status, 128+signal where a signal ended it, 127 where
	// it was not found, 126 where it cannot be executed.
	Status int
	// Signal is the one that ended it, else 0.
	Signal syscall.Signal
	// Started is false where it was not found or cannot be executed; Message says why.
	Started bool
	Message string
	// Duration is from fork to exit; User and System are processor time, of its
	// children too as far as it waited for them; MaxRSS is in bytes.
	Duration, User, System time.Duration
	MaxRSS                 int64
}

// Process is a command that was started.
type Process struct {
	id       uint64
	name     string
	sandbox  *Sandbox
	tty      bool
	terminal *os.File
	answered chan error    // one value: nil, or why it could not be started
	done     chan struct{} // closed when exit and err are set
	exit     Exit
	err      error
}

// Start starts a command. When ctx ends before the command does, the command
// is killed as by Kill. A command that cannot be executed is no error of Start:
// Wait says so, with the status of shells.
func (s *Sandbox) Start(ctx context.Context, c Command) (*Process, error) {
	r, files, err := s.request(c)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot start the command: %w", err)
	}
	p := &Process{
		name: c.Argv[0], sandbox: s, tty: r.TTY,
		answered: make(chan error, 1), done: make(chan struct{}),
	}
	if err := s.add(p); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", p.name, err)
	}
	r.ID = p.id
	err = s.sendRun(r, files)
	if err == nil {
		err = <-p.answered
	}
	if err != nil {
		s.process(p.id, true)
		s.watchers.Done()
		return nil, fmt.Errorf("cannot start %s: %w", p.name, err)
	}
	go p.watch(ctx, c.Grace)
	return p, nil
}

// request checks a command before anything is started.
func (s *Sandbox) request(c Command) (*run, []*os.File, error) {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return nil, nil, errors.New("it has no name")
	}
	for i, arg := range c.Argv {
		if strings.ContainsRune(arg, 0) {
			return nil, nil, fmt.Errorf("argument %d holds a NUL", i)
		}
	}
	dir := c.Dir
	if dir == "" {
		dir = "/"
	}
	if !path.IsAbs(dir) || strings.ContainsRune(dir, 0) {
		return nil, nil, fmt.Errorf("the directory %q is not an absolute path", dir)
	}
	env, err := environment(s.config.Number, s.config.Env, c.Env)
	if err != nil {
		return nil, nil, err
	}
	r := &run{Argv: c.Argv, Env: env, Dir: dir}
	if c.TTY != nil {
		if c.Stdin != nil || c.Stdout != nil || c.Stderr != nil || c.Status != nil {
			return nil, nil, errors.New("a command with a terminal takes no other files")
		}
		r.TTY, r.Rows, r.Cols = true, uint64(c.TTY.Rows), uint64(c.TTY.Cols)
		return r, nil, nil
	}
	var files []*os.File
	for n, f := range []*os.File{c.Stdin, c.Stdout, c.Stderr, c.Status} {
		if f != nil {
			r.Files |= 1 << n
			files = append(files, f)
		}
	}
	return r, files, nil
}

// add registers p, and its watcher, which Close waits for.
func (s *Sandbox) add(p *Process) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.ended {
		return ErrEnded
	}
	s.last++
	p.id = s.last
	s.processes[p.id] = p
	s.watchers.Add(1)
	return nil
}

func (s *Sandbox) sendRun(r *run, files []*os.File) error {
	fds := make([]int, len(files))
	for i, f := range files {
		// Fd makes the file blocking: the command shares the flag, and expects that.
		fds[i] = int(f.Fd())
		if fds[i] < 0 {
			return fmt.Errorf("its file %s: %w", f.Name(), os.ErrClosed)
		}
	}
	err := s.channel.send(r, fds...)
	runtime.KeepAlive(files)
	return err
}

func (p *Process) begin(terminal *os.File) {
	p.terminal = terminal
	p.answered <- nil
}

func (p *Process) end(e Exit) {
	p.exit = e
	if !e.Started {
		p.answered <- nil
	}
	close(p.done)
}

// fail ends p without an exit status.
func (p *Process) fail(err error) {
	p.err = err
	select {
	case p.answered <- err:
	default: // it was started; Wait says so
	}
	close(p.done)
}

// watch carries the end of ctx to the command.
func (p *Process) watch(ctx context.Context, grace time.Duration) {
	defer p.sandbox.watchers.Done()
	select {
	case <-p.done:
	case <-ctx.Done():
		if grace == 0 {
			grace = DefaultGrace
		}
		p.Kill(grace)
	}
}

// Wait returns when the command has ended; it may be called more than once.
// What the command left behind in the background may live until the sandbox is
// closed. The error wraps ErrEnded where the sandbox ended first.
func (p *Process) Wait() (Exit, error) {
	<-p.done
	return p.exit, p.err
}

// Done is closed when Wait would not block.
func (p *Process) Done() <-chan struct{} { return p.done }

// Terminal is the master side of the command's terminal, nil without one. Read
// returns EIO when no process has the terminal open any more. It is closed with
// the sandbox; whoever is done with it earlier may close it.
func (p *Process) Terminal() *os.File { return p.terminal }

// Resize tells the terminal its size, and the foreground processes by SIGWINCH.
func (p *Process) Resize(size Size) error {
	if p.terminal == nil {
		return fmt.Errorf("cannot resize the terminal of %s: it has none", p.name)
	}
	raw, err := p.terminal.SyscallConn()
	if err != nil {
		return fmt.Errorf("cannot resize the terminal of %s: %w", p.name, err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Cols})
	})
	if err := errors.Join(err, failed); err != nil {
		return fmt.Errorf("cannot resize the terminal of %s: %w", p.name, err)
	}
	return nil
}

// Signal sends a signal to the command's process group. After its end it returns os.ErrProcessDone.
func (p *Process) Signal(signal syscall.Signal) error {
	select {
	case <-p.done:
		return os.ErrProcessDone
	default:
	}
	if err := p.sandbox.channel.send(&deliver{p.id, uint64(signal)}); err != nil {
		return fmt.Errorf("cannot send %v to %s: %w", signal, p.name, err)
	}
	return nil
}

// Kill asks the command's process group to end, kills it after the grace
// period, and returns when the command has ended.
func (p *Process) Kill(grace time.Duration) {
	ask := []syscall.Signal{syscall.SIGTERM, syscall.SIGCONT}
	if p.tty {
		// An interactive shell ignores SIGTERM, and hands SIGHUP on to its jobs.
		ask = []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGCONT}
	}
	// A signal that cannot be sent: the sandbox is ending, which ends the command.
	for _, signal := range ask {
		_ = p.Signal(signal)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return
	case <-timer.C:
	}
	_ = p.Signal(syscall.SIGKILL)
	<-p.done
}

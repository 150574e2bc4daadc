// Commands of a transaction: started in its sandbox, recorded before they run
// and after, their output kept.

package update

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/txupd/txupd/internal/failpoint"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/pkgmgr"
	"github.com/txupd/txupd/internal/sandbox"
	"github.com/txupd/txupd/pkg/journal/record"
	"github.com/txupd/txupd/pkg/snapshot"
)

// Command is what runs in a snapshot.
type Command struct {
	Argv []string
	Dir  string
	Env  []string
	// Stdin: the command reads what an attached client writes; else nothing.
	Stdin bool
	// Terminal is the size of the terminal that it runs in, nil for none.
	Terminal *sandbox.Size
	// manager understands what the command tells of how far it is, nil for none.
	manager pkgmgr.Manager
}

// planned is the record of a command that has not run yet.
func (c Command) planned() record.Command {
	return record.Command{Argv: c.Argv, Dir: c.Dir, Exit: record.NoExit}
}

// CheckArgv refuses what could not be run as it stands.
func CheckArgv(argv []string) error {
	if len(argv) == 0 || argv[0] == "" {
		return fmt.Errorf("%w: no command is given", fault.ErrInvalidArgument)
	}
	size := 0
	for i, a := range argv {
		size += len(a) + 1
		if strings.ContainsRune(a, 0) {
			return fmt.Errorf("%w: argument %d of the command holds a NUL character", fault.ErrInvalidArgument, i)
		}
	}
	if size > 1<<20 {
		return fmt.Errorf("%w: the command is %d bytes long, at most %d are accepted", fault.ErrInvalidArgument, size, 1<<20)
	}
	return nil
}

// drain is how long output may still come once a command has ended: what its
// children that live on print is not waited for.
const drain = 250 * time.Millisecond

// stdin is the pipe between an attached client and the command.
type stdin struct {
	read, write *os.File
	taken       bool
}

// offerStdin makes the pipe before the command starts, so that a client can
// attach as soon as it knows of the transaction.
func (t *Transaction) offerStdin(c Command) error {
	if !c.Stdin && c.Terminal == nil {
		return nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stdin = &stdin{read: r, write: w}
	return nil
}

func (t *Transaction) takeStdin() *stdin {
	t.mu.Lock()
	defer t.mu.Unlock()
	in := t.stdin
	return in
}

func (t *Transaction) closeStdin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if in := t.stdin; in != nil {
		in.read.Close()
		if !in.taken {
			in.write.Close()
		}
	}
	t.stdin = nil
}

// Exec starts a command in an open transaction and returns its index.
func (t *Transaction) Exec(c Command) (int, error) {
	if err := CheckArgv(c.Argv); err != nil {
		return 0, err
	}
	e, err := t.enter(context.Background())
	if err != nil {
		return 0, err
	}
	if err := t.offerStdin(c); err != nil {
		e.leave()
		return 0, err
	}
	t.mu.Lock()
	index := t.started
	t.execed = index
	t.mu.Unlock()
	t.u.notify(Event{Kind: TransactionChanged, Transaction: t})
	go func() {
		exit, err := t.run(e.ctx, c) // who reads along has seen why it failed
		if err != nil && t.u.stopping() {
			t.settle(err) // its command was killed half-way
		} else if err := t.keepProgress(); err != nil {
			t.u.Log.Error("cannot record the end of a command", "transaction", t.number, "error", err)
		}
		e.leave()
		t.u.notify(Event{Kind: CommandFinished, Transaction: t, Command: index, Exit: exit})
	}()
	return index, nil
}

// keepProgress makes what the command did durable, then that it ended: an open
// transaction outlives a power cut with all of its commands.
func (t *Transaction) keepProgress() error {
	t.mu.Lock()
	root := rootOfRecord(t.rec)
	t.mu.Unlock()
	if err := t.flushShared(); err != nil {
		return err
	}
	if _, err := t.u.Store.Flush(t.number, root, false); err != nil {
		return err
	}
	return t.save("command-ended")
}

// run runs one command to its end. exit is fault.Own where it never ran; err is set
// where it could not be run or was cancelled, never for what it exited with.
func (t *Transaction) run(ctx context.Context, c Command) (exit int, err error) {
	defer t.closeStdin()
	began := t.u.Now()
	t.mu.Lock()
	index := t.started
	t.started++
	planned := index < len(t.rec.Commands)
	if !planned {
		t.rec.Commands = append(t.rec.Commands, c.planned())
	}
	t.rec.Commands[index].Started = began.UTC()
	t.mu.Unlock()
	t.output.begin(index)
	defer t.output.end(index)
	if c.Terminal != nil {
		t.output.terminal(*c.Terminal)
		defer t.output.terminal(sandbox.Size{})
	}
	defer func() {
		// A transaction of one go ends with the error, an open one goes on.
		if err != nil && t.rec.Kind == KindBegin {
			t.output.write(Stderr, []byte("txupd: "+err.Error()+"\n"))
		}
	}()
	if !planned {
		if err := t.save("command"); err != nil {
			return fault.Own, err
		}
	}
	defer func() {
		t.mu.Lock()
		t.rec.Commands[index].Exit = exit
		t.rec.Commands[index].Duration = t.u.Now().Sub(began).Seconds()
		t.mu.Unlock()
	}()
	box, err := t.enterSandbox(ctx)
	if err != nil {
		return fault.Own, err
	}
	var status sandbox.Exit
	err = failpoint.Around("command", func() (err error) {
		status, err = t.interact(ctx, box, c)
		return err
	})
	if err != nil {
		if ctx.Err() != nil {
			return 130, context.Cause(ctx)
		}
		return fault.Own, err
	}
	if !status.Started {
		t.output.write(Stderr, []byte("txupd: "+status.Message+"\n"))
	}
	if ctx.Err() != nil {
		return status.Status, context.Cause(ctx)
	}
	return status.Status, nil
}

// launchAhead starts the sandbox's first process while the snapshot is being made.
func (t *Transaction) launchAhead() {
	launch := make(chan *sandbox.Launch, 1)
	t.launch = launch
	go func() {
		l, err := sandbox.NewLaunch(t.u.Self)
		if err != nil {
			l = nil
		}
		launch <- l
	}()
}

// enterSandbox starts the transaction's sandbox where there is none.
func (t *Transaction) enterSandbox(ctx context.Context) (*sandbox.Sandbox, error) {
	t.mu.Lock()
	box := t.box
	t.mu.Unlock()
	if box != nil {
		select {
		case <-box.Done(): // its first process was killed: a new one takes its place
			t.leave()
		default:
			return box, nil
		}
	}
	cfg := sandbox.Config{Root: t.u.Store.Path(t.number, snapshot.RoleSnapshot), Number: uint64(t.number)}
	var err error
	if cfg.Shared, err = t.showShared(ctx); err != nil {
		return nil, err
	}
	t.mu.Lock()
	launch := t.launch
	t.launch = nil
	t.mu.Unlock()
	if launch != nil {
		cfg.Launch = <-launch // nil where it could not be started: then it is tried again, and says why
	}
	box, err = t.u.startSandbox(ctx, cfg)
	if cfg.Launch != nil {
		cfg.Launch.Close()
	}
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.box = box
	t.mu.Unlock()
	return box, nil
}

// interact starts the command and carries its output until it has ended.
func (t *Transaction) interact(ctx context.Context, box *sandbox.Sandbox, c Command) (sandbox.Exit, error) {
	in := t.takeStdin()
	cmd := sandbox.Command{Argv: c.Argv, Dir: c.Dir, Env: c.Env, TTY: c.Terminal}
	var collectors sync.WaitGroup
	var sources []*os.File
	collect := func(r *os.File, to func(p []byte)) {
		sources = append(sources, r)
		collectors.Go(func() { collect(r, to) })
	}
	keep := func(s Stream) func([]byte) { return func(p []byte) { t.output.write(s, p) } }
	if c.Terminal == nil {
		outR, outW, err := os.Pipe()
		if err != nil {
			return sandbox.Exit{}, err
		}
		errR, errW, err := os.Pipe()
		if err != nil {
			return sandbox.Exit{}, errors.Join(err, outR.Close(), outW.Close())
		}
		defer outR.Close()
		defer errR.Close()
		cmd.Stdout, cmd.Stderr = outW, errW
		if in != nil {
			cmd.Stdin = in.read
		}
		argv, meter, status, err := t.metered(c)
		if err != nil {
			return sandbox.Exit{}, errors.Join(err, outW.Close(), errW.Close())
		}
		cmd.Argv, cmd.Status = argv, status
		process, err := box.Start(ctx, cmd)
		outW.Close()
		errW.Close()
		if status != nil {
			defer meter.status.Close()
			status.Close()
		}
		if err != nil {
			return sandbox.Exit{}, err
		}
		if in != nil {
			in.read.Close() // a command that has ended must not look like one that reads
		}
		collect(errR, keep(Stderr))
		if meter == nil {
			collect(outR, keep(Stdout))
			return t.await(process, &collectors, sources)
		}
		collect(outR, meter.output)
		if status != nil {
			collect(meter.status, meter.told)
		}
		defer meter.output(nil)
		return t.await(process, &collectors, sources)
	}
	process, err := box.Start(ctx, cmd)
	if err != nil {
		return sandbox.Exit{}, err
	}
	master := process.Terminal()
	defer master.Close()
	collect(master, keep(Stdout))
	if in != nil {
		collectors.Go(func() { typeInto(master, in.read) })
		sources = append(sources, in.read)
	}
	return t.await(process, &collectors, sources)
}

// typeInto sends what a client types to the terminal. When the client's input
// ends, the line discipline is told so (Ctrl-D).
func typeInto(master io.Writer, r io.Reader) {
	if _, err := io.Copy(master, r); err == nil {
		_, _ = master.Write([]byte{4}) // the terminal may be gone already
	}
}

// await waits for the command and then a moment for its last words.
func (t *Transaction) await(p *sandbox.Process, collectors *sync.WaitGroup, sources []*os.File) (sandbox.Exit, error) {
	t.mu.Lock()
	t.process = p
	t.mu.Unlock()
	exit, err := p.Wait()
	t.mu.Lock()
	t.process = nil
	t.mu.Unlock()
	for _, r := range sources {
		if e := r.SetReadDeadline(time.Now().Add(drain)); e != nil {
			r.Close()
		}
	}
	collectors.Wait()
	return exit, err
}

// Resize tells the running command's terminal its size.
func (t *Transaction) Resize(size sandbox.Size) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.process == nil || t.process.Terminal() == nil {
		return fmt.Errorf("transaction %d has no terminal: %w", t.number, fault.ErrNotFound)
	}
	if err := t.process.Resize(size); err != nil {
		return err
	}
	t.output.terminal(size)
	return nil
}

// Signal sends a signal to the running command.
func (t *Transaction) Signal(sig syscall.Signal) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.process == nil {
		return fmt.Errorf("transaction %d runs no command: %w", t.number, fault.ErrNotFound)
	}
	return t.process.Signal(sig)
}

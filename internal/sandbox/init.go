// Pid 1 of the sandbox: the daemon's own executable, started again in new
// namespaces. It builds the root, starts commands, reaps what they leave
// behind, and ends when the daemon does: then the kernel kills whatever else
// is in the pid namespace, and with it the last mount goes.

package sandbox

import (
	"errors"
	"fmt"
	"math"
	"os"
	ossignal "os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	initName    = "txupd-sandbox" // argv[0]
	initChannel = 3               // descriptor
)

// IsInit reports whether this process was started by Start as a sandbox's
// pid 1. main and TestMain ask before anything else, and then do nothing but Init.
func IsInit() bool {
	return len(os.Args) == 1 && os.Args[0] == initName && os.Getpid() == 1
}

// Init serves one sandbox until its daemon hangs up or dies; it returns the status to exit with.
func Init() int {
	// Capabilities and the system call filter belong to a thread: this one forks every command.
	runtime.LockOSThread()
	heedSignals()
	// Descriptors that the daemon got from its own parent may lack the flag.
	_ = unix.CloseRange(initChannel, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	i := &pid1{channel: &channel{fd: initChannel}, commands: map[int]*command{}}
	if err := i.prepare(); err != nil {
		_ = i.channel.send(&failed{Text: err.Error()})
		return 1
	}
	if err := i.channel.send(&ready{}); err != nil {
		return 1
	}
	i.serve()
	return 0
}

// pid1 is the state of the sandbox's pid 1; serve is its only owner.
type pid1 struct {
	channel  *channel
	commands map[int]*command // by pid
}

type command struct {
	id      uint64
	started time.Time
}

// request is a message with its descriptors.
type request struct {
	message message
	fds     []int
}

func (i *pid1) prepare() error {
	// The daemon may have started us ahead of time: what needs no snapshot is done by when it asks.
	unix.Umask(0)
	k, buildErr := buildSkeleton()
	defer k.close()
	m, _, err := i.channel.receive()
	if err != nil {
		return fmt.Errorf("cannot read what to set up: %w", err)
	}
	s, ok := m.(*setup)
	if !ok {
		return errors.New("internal error: the sandbox was not set up first")
	}
	if buildErr != nil {
		return buildErr
	}
	if err := enterRoot(s, k); err != nil {
		return err
	}
	unix.Umask(0o022)
	if err := withholdCapabilities(); err != nil {
		return err
	}
	if s.KeepSync {
		return nil
	}
	return suppressSync()
}

// serve handles requests and deaths until the channel closes.
func (i *pid1) serve() {
	// A command that signals pid 1 (telinit, systemctl daemon-reexec) must not
	// end the sandbox. Ignoring would be inherited by commands; catching is not.
	ossignal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM)
	children := make(chan os.Signal, 1)
	ossignal.Notify(children, syscall.SIGCHLD)
	requests := make(chan request)
	go func() {
		defer close(requests)
		for {
			m, fds, err := i.channel.receive()
			if err != nil {
				return
			}
			requests <- request{m, fds}
		}
	}()
	for {
		select {
		case r, ok := <-requests:
			if !ok {
				return
			}
			i.handle(r)
		case <-children:
			i.reap()
		}
	}
}

func (i *pid1) handle(r request) {
	defer closeAll(r.fds)
	switch m := r.message.(type) {
	case *run:
		i.answer(i.start(m, r.fds))
	case *deliver:
		for pid, c := range i.commands {
			if c.id == m.ID {
				_ = unix.Kill(-pid, syscall.Signal(m.Signal))
			}
		}
	}
}

// answer sends a message and closes the descriptor that goes with it.
func (i *pid1) answer(m message, fd int) {
	if fd < 0 {
		// An error means that the daemon is gone; the reader sees that too and ends us.
		_ = i.channel.send(m)
		return
	}
	_ = i.channel.send(m, fd)
	_ = unix.Close(fd)
}

// start forks a command. With a terminal it returns its master side.
func (i *pid1) start(r *run, fds []int) (message, int) {
	if st, err := os.Stat(r.Dir); err != nil {
		return &broken{r.ID, fmt.Sprintf("cannot start in the directory %s: %s", r.Dir, reason(err))}, -1
	} else if !st.IsDir() {
		return &broken{r.ID, fmt.Sprintf("cannot start in the directory %s: it is not a directory", r.Dir)}, -1
	}
	program, why := findProgram(r.Argv[0], r.Dir, r.Env)
	if why != nil {
		return &refused{r.ID, why.status, why.text}, -1
	}
	std, err := openStandard(r, fds)
	if err != nil {
		return &broken{r.ID, err.Error()}, -1
	}
	defer closeAll(std.opened)
	began := time.Now()
	pid, err := syscall.ForkExec(program, r.Argv, &syscall.ProcAttr{
		Dir:   r.Dir,
		Env:   r.Env,
		Files: std.files,
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: r.TTY},
	})
	if err != nil {
		if std.master >= 0 {
			_ = unix.Close(std.master)
		}
		var errno syscall.Errno
		if errors.As(err, &errno) {
			if why := execRefusal(r.Argv[0], errno); why != nil {
				return &refused{r.ID, why.status, why.text}, -1
			}
		}
		return &broken{r.ID, fmt.Sprintf("cannot start a process in the sandbox: %s", err)}, -1
	}
	i.commands[pid] = &command{id: r.ID, started: began}
	return &started{r.ID}, std.master
}

// reap takes every dead child, also those that a command left to us.
func (i *pid1) reap() {
	for {
		var status unix.WaitStatus
		var usage unix.Rusage
		pid, err := retry(func() (int, error) { return unix.Wait4(-1, &status, unix.WNOHANG, &usage) })
		if err != nil || pid <= 0 {
			return
		}
		c, ok := i.commands[pid]
		if !ok {
			continue
		}
		delete(i.commands, pid)
		i.answer(&exited{
			ID:         c.id,
			WaitStatus: uint64(status),
			Duration:   time.Since(c.started),
			User:       time.Duration(usage.Utime.Nano()),
			System:     time.Duration(usage.Stime.Nano()),
			MaxRSS:     uint64(usage.Maxrss) * 1024,
		}, -1)
	}
}

// standard are a command's descriptors from 0 on.
type standard struct {
	files  []uintptr
	opened []int // ours to close once it runs
	master int   // of its terminal, -1 without one
}

// openStandard takes them from the daemon, from /dev/null or from a new terminal.
func openStandard(r *run, fds []int) (*standard, error) {
	if r.TTY {
		master, slave, err := openTerminal(r.Rows, r.Cols)
		if err != nil {
			return nil, err
		}
		s := uintptr(slave)
		return &standard{files: []uintptr{s, s, s}, opened: []int{slave}, master: master}, nil
	}
	std := &standard{files: make([]uintptr, 3, 4), master: -1}
	if r.Files&(1<<3) != 0 {
		std.files = std.files[:4]
	}
	for n := range std.files {
		if r.Files&(1<<n) != 0 {
			if len(fds) == 0 {
				return nil, errors.New("internal error: a descriptor is missing from a sandbox message")
			}
			std.files[n], fds = uintptr(fds[0]), fds[1:]
			continue
		}
		if len(std.opened) == 0 {
			null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err != nil {
				return nil, fmt.Errorf("cannot open /dev/null in the sandbox: %w", err)
			}
			std.opened = append(std.opened, null)
		}
		std.files[n] = uintptr(std.opened[0])
	}
	return std, nil
}

// openTerminal makes one in the sandbox's own devpts.
func openTerminal(rows, cols uint64) (master, slave int, err error) {
	master, err = unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("cannot open a terminal in the sandbox: %w", err)
	}
	err = unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0)
	if err == nil {
		err = unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(cols)})
	}
	if err == nil {
		slave, err = terminalPeer(master)
	}
	if err != nil {
		_ = unix.Close(master)
		return -1, -1, fmt.Errorf("cannot set up a terminal in the sandbox: %w", err)
	}
	return master, slave, nil
}

// terminalPeer opens the slave side without a path: its number alone could name another one by then.
func terminalPeer(master int) (int, error) {
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER,
		unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return -1, errno
	}
	return int(slave), nil
}

// Package sandbox runs commands in a snapshot: in one mount, pid, ipc and uts
// namespace for the sandbox's life, with the snapshot as root. When the sandbox
// is closed or the daemon dies, every process in it is dead and no mount
// remains. It keeps package scripts from changing the running machine by
// accident; it is no jail for hostile root.
//
// The program that uses it must begin main (and TestMain) with
//
//	if sandbox.IsInit() {
//		os.Exit(sandbox.Init())
//	}
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrEnded means that the sandbox was closed, or its pid 1 was killed.
var ErrEnded = errors.New("the sandbox has ended")

// Config describes a sandbox.
type Config struct {
	// Root is the snapshot's directory; it becomes /. It must be absolute, and
	// hold the directories /proc, /sys, /dev, /run and /tmp.
	Root string
	// Host is where the served system is mounted, "/" where empty: package
	// caches and the resolver's file come from there.
	Host string
	// Number becomes TXUPD_TRANSACTION.
	Number uint64
	// Caches are absolute directories of the system that are shared with Host.
	// One that Host lacks is skipped, one that the snapshot lacks is made there.
	Caches []string
	// Shared are the shared trees, in any order.
	Shared []Shared
	// Env holds additional NAME=VALUE pairs for every command.
	Env []string
	// Self is the executable to start as pid 1, /proc/self/exe where empty.
	Self string
	// ReadOnly leaves the snapshot as it is: what commands write there and to shared trees is forgotten.
	// Caches are read-only then.
	ReadOnly bool
	// Launch is a first process that was started ahead, nil for a new one. Close it after Start: that
	// does nothing where Start took it over.
	Launch *Launch
	// KeepSync lets fsync and its kin flush.
	KeepSync bool
}

// Sandbox is a running one. Its methods may be called at the same time.
type Sandbox struct {
	config  Config
	root    int // the snapshot, as the daemon sees it
	init    *os.Process
	channel *channel
	gone    chan struct{} // closed when every process in it is dead

	mutex     sync.Mutex
	processes map[uint64]*Process // that have not ended
	terminals []*os.File
	last      uint64 // id of the newest process
	ended     bool

	watchers sync.WaitGroup
	closing  sync.Once
	closed   error
}

// Start makes the namespaces and mounts. ctx is for starting only: it does not end the sandbox later.
func Start(ctx context.Context, cfg Config) (*Sandbox, error) {
	if cfg.Host == "" {
		cfg.Host = "/"
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	root, err := openRoot(cfg)
	if err != nil {
		return nil, err
	}
	s := &Sandbox{config: cfg, root: root, gone: make(chan struct{}), processes: map[uint64]*Process{}}
	if err := s.start(ctx); err != nil {
		err = fmt.Errorf("cannot start a sandbox in %s: %w", cfg.Root, err)
		return nil, errors.Join(err, s.release())
	}
	go s.receive()
	return s, nil
}

func (cfg *Config) check() error {
	for _, p := range append([]string{cfg.Root, cfg.Host}, cfg.Caches...) {
		if !path.IsAbs(p) || path.Clean(p) != p || strings.ContainsRune(p, 0) {
			return fmt.Errorf("cannot start a sandbox: %q is not a clean absolute path", p)
		}
	}
	if _, err := environment(cfg.Number, cfg.Env); err != nil {
		return fmt.Errorf("cannot start a sandbox: %w", err)
	}
	if err := checkShared(cfg.Shared); err != nil {
		return fmt.Errorf("cannot start a sandbox: %w", err)
	}
	return nil
}

// openRoot refuses to give the running system itself to a command.
func openRoot(cfg Config) (int, error) {
	fd, err := unix.Open(cfg.Root, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot start a sandbox in %s: %w", cfg.Root, err)
	}
	if cfg.ReadOnly {
		return fd, nil
	}
	for _, dir := range []string{"/", cfg.Host} {
		if err = different(fd, dir); err != nil {
			break
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("cannot start a sandbox in %s: %w", cfg.Root, err)
	}
	return fd, nil
}

// different fails where the descriptor is the directory dir itself.
func different(fd int, dir string) error {
	var root, running unix.Stat_t
	if err := unix.Fstat(fd, &root); err != nil {
		return err
	}
	if err := unix.Stat(dir, &running); err != nil {
		return fmt.Errorf("cannot look at the running system at %s: %w", dir, err)
	}
	if root.Dev == running.Dev && root.Ino == running.Ino {
		return fmt.Errorf("it is the running system (%s)", dir)
	}
	return nil
}

// start leaves what it did to release.
func (s *Sandbox) start(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !s.config.ReadOnly {
		if err := putPolicy(s.root); err != nil {
			return err
		}
	}
	if err := s.takeInit(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.init.Kill() })
	err := s.handshake()
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		_ = s.init.Kill()
		_, _ = s.init.Wait()
	}
	return err
}

// takeInit takes over the first process, or starts one.
func (s *Sandbox) takeInit() error {
	launch := s.config.Launch
	if launch == nil {
		var err error
		if launch, err = NewLaunch(s.config.Self); err != nil {
			return err
		}
	}
	if s.init, s.channel = launch.take(); s.init == nil {
		return errors.New("internal error: the launch was closed or used before")
	}
	return nil
}

func (s *Sandbox) handshake() error {
	err := s.channel.send(&setup{
		Root: s.config.Root, Host: s.config.Host, Caches: s.config.Caches, Shared: inOrder(s.config.Shared),
		ReadOnly: s.config.ReadOnly, KeepSync: s.config.KeepSync,
	})
	var m message
	if err == nil {
		var fds []int
		m, fds, err = s.channel.receive()
		closeAll(fds)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return errors.New("its first process ended at once")
	}
	if err != nil {
		return err
	}
	switch m := m.(type) {
	case *ready:
		return nil
	case *failed:
		return errors.New(m.Text)
	}
	return fmt.Errorf("internal error: unexpected answer %T", m)
}

// receive hands messages to the processes that they are about, until pid 1 is gone.
func (s *Sandbox) receive() {
	for {
		m, fds, err := s.channel.receive()
		if err != nil {
			break
		}
		s.dispatch(m, fds)
	}
	// The socket closes before the namespace is empty. Pid 1 can be waited for
	// only after the kernel has killed and reaped every other process in it.
	_ = s.init.Kill()
	_, _ = s.init.Wait()
	s.mutex.Lock()
	s.ended = true
	orphans := s.processes
	s.processes = nil
	s.mutex.Unlock()
	for _, p := range orphans {
		p.fail(fmt.Errorf("cannot wait for %s: %w", p.name, ErrEnded))
	}
	close(s.gone)
}

// dispatch never blocks: pid 1 waits for us to read.
func (s *Sandbox) dispatch(m message, fds []int) {
	defer func() { closeAll(fds) }()
	switch m := m.(type) {
	case *started:
		if p := s.process(m.ID, false); p != nil {
			var terminal *os.File
			if p.tty && len(fds) == 1 {
				terminal, fds = s.terminal(fds[0]), nil
			}
			p.begin(terminal)
		}
	case *refused:
		if p := s.process(m.ID, true); p != nil {
			p.end(Exit{Status: int(m.Status), Message: m.Text})
		}
	case *broken:
		if p := s.process(m.ID, true); p != nil {
			p.fail(errors.New(m.Text))
		}
	case *exited:
		if p := s.process(m.ID, true); p != nil {
			p.end(m.exit())
		}
	}
}

// process finds a process and, at its end, forgets it.
func (s *Sandbox) process(id uint64, end bool) *Process {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	p := s.processes[id]
	if end {
		delete(s.processes, id)
	}
	return p
}

func (s *Sandbox) terminal(fd int) *os.File {
	// Non-blocking, so that closing it or a deadline ends a Read.
	_ = unix.SetNonblock(fd, true)
	f := os.NewFile(uintptr(fd), "/dev/ptmx")
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.terminals = append(s.terminals, f)
	return f
}

// Done is closed when the sandbox has ended, also by accident: every process in it is dead then.
func (s *Sandbox) Done() <-chan struct{} { return s.gone }

// Close kills everything in the sandbox and returns when it is gone: no
// process, no mount, no file of ours in the snapshot. It closes the terminals.
// It may be called again and returns the same.
func (s *Sandbox) Close() error {
	s.closing.Do(func() {
		_ = s.init.Kill()
		<-s.gone
		s.watchers.Wait()
		s.closed = s.release()
	})
	return s.closed
}

// release undoes what Start did in the daemon and in the snapshot.
func (s *Sandbox) release() error {
	for _, f := range s.terminals {
		_ = f.Close()
	}
	if s.channel != nil {
		_ = s.channel.close()
	}
	defer unix.Close(s.root)
	if s.config.ReadOnly {
		return nil
	}
	return removePolicy(s.root)
}

package main

import (
	"bytes"
	"errors"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/testbed/machine/wire"
)

// environment is that of a root who logged in, as far as commands care.
var environment = []string{
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root", "USER=root", "LOGNAME=root", "LANG=C.UTF-8", "TERM=dumb",
}

// leftBehind is how long the outputs of a command are read after its end: a
// daemon that it left behind may hold them for ever.
const leftBehind = 2 * time.Second

// stream says what a command prints when it prints it.
type stream func(p []byte)

func (s stream) Write(p []byte) (int, error) { s(p); return len(p), nil }

// start runs a command and answers when it has ended.
func (a *agent) start(r wire.Request) {
	cmd, err := a.command(r)
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		a.say(wire.Event{ID: r.ID, Done: true, Exit: -1, Error: err.Error()})
		return
	}
	a.mu.Lock()
	a.commands[r.ID] = cmd.Process.Pid
	a.mu.Unlock()
	go func() {
		err := cmd.Wait()
		a.mu.Lock()
		delete(a.commands, r.ID)
		a.mu.Unlock()
		a.say(ended(r.ID, cmd, err))
	}()
}

func (a *agent) command(r wire.Request) (*exec.Cmd, error) {
	if len(r.Argv) == 0 {
		return nil, errors.New("no command")
	}
	cmd := exec.Command(r.Argv[0], r.Argv[1:]...)
	cmd.Env = append(environment[:len(environment):len(environment)], r.Env...)
	cmd.Dir = "/"
	if r.Dir != "" {
		cmd.Dir = r.Dir
	}
	if r.Stdin != nil {
		cmd.Stdin = bytes.NewReader(r.Stdin)
	}
	cmd.Stdout = stream(func(p []byte) { a.say(wire.Event{ID: r.ID, Stdout: p}) })
	cmd.Stderr = stream(func(p []byte) { a.say(wire.Event{ID: r.ID, Stderr: p}) })
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = leftBehind
	return cmd, nil
}

func ended(id uint64, cmd *exec.Cmd, err error) wire.Event {
	e := wire.Event{ID: id, Done: true, Exit: cmd.ProcessState.ExitCode()}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		e.Signal = unix.SignalName(status.Signal())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		e.Error = err.Error()
	}
	return e
}

// kill ends a command and whatever it started in its process group.
func (a *agent) kill(id uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if pid, ok := a.commands[id]; ok {
		_ = unix.Kill(-pid, unix.SIGKILL) // it may have ended just now
	}
}

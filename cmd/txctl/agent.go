// Passwords are not asked for by txctl, nor seen by it: polkit has agents for
// that. Where no desktop has one, polkit's own asks on the terminal.

package main

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// mayAsk: somebody sits at a terminal who can be asked for a password. With a
// terminal elsewhere, or in the background, nobody expects to be.
func (a *app) mayAsk() bool {
	if !isTerminal(a.stdin) || !isTerminal(a.stderr) {
		return false
	}
	group, err := unix.IoctlGetInt(descriptor(a.stdin), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// agentArguments are those of polkit's agent for terminals. It leaves the
// question to another agent of the session, where there may be a session:
// without one polkit asks no agent that would do so.
func (a *app) agentArguments() []string {
	arguments := []string{"--process", strconv.Itoa(os.Getpid()), "--notify-fd", "3"}
	for _, name := range []string{"XDG_SESSION_ID", "WAYLAND_DISPLAY", "DISPLAY"} {
		if a.getenv(name) != "" {
			return append(arguments, "--fallback")
		}
	}
	return arguments
}

// passwordAgent starts polkit's agent for terminals, if it is installed, and returns when it is ready.
func (a *app) passwordAgent(ctx context.Context) (done func()) {
	none := func() {}
	path, err := exec.LookPath("pkttyagent")
	if err != nil {
		return none
	}
	ready, told, err := os.Pipe()
	if err != nil {
		return none
	}
	defer ready.Close()
	cmd := exec.Command(path, a.agentArguments()...)
	cmd.ExtraFiles = []*os.File{told}
	cmd.Stderr = a.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGTERM}
	state, notTerminal := term.GetState(descriptor(a.stdin))
	err = cmd.Start()
	told.Close()
	if err != nil {
		return none
	}
	stop := context.AfterFunc(ctx, func() { ready.Close() })
	// It closes its end when it is there; what cannot be there ends.
	_, _ = ready.Read(make([]byte, 1))
	stop()
	// Ctrl-C ends the question, whatever the agent makes of it: it may miss it.
	release := context.AfterFunc(a.asked, func() { _ = cmd.Process.Kill() })
	return func() {
		release()
		// It may be stopped, or have hidden what is typed: neither may stay. That it was killed is no news.
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		// A Ctrl-C that it has seen is ours, too, which may come to us later than polkit's answer.
		if how, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && how.Signaled() && how.Signal() == unix.SIGINT {
			a.ask()
		}
		if notTerminal == nil {
			_ = term.Restore(descriptor(a.stdin), state)
		}
	}
}

// What is longer than the screen goes to the pager.

package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/charmbracelet/colorprofile"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/txupd/txupd/internal/present"
)

// look is result for what people read at leisure.
func (a *app) look(document any, text func(present.Screen) string) error {
	if a.json {
		return a.document(document)
	}
	whole := text(a.screen())
	if strings.Count(whole, "\n") < a.height() {
		_, err := io.WriteString(a.out, whole)
		return err
	}
	return a.paged(func(w io.Writer) error {
		_, err := io.WriteString(w, whole)
		return err
	})
}

// height of the terminal that standard output is; 0 where it is none.
func (a *app) height() int {
	if !isTerminal(a.stdout) {
		return 0
	}
	if _, h, err := term.GetSize(descriptor(a.stdout)); err == nil {
		return h
	}
	return 0
}

// pagerCommand is the pager and its arguments, nil for none.
func (a *app) pagerCommand() []string {
	if a.noPager || !isTerminal(a.stdin) || !isTerminal(a.stdout) || a.getenv("TERM") == "dumb" {
		return nil
	}
	for _, name := range []string{"TXCTL_PAGER", "PAGER"} {
		if words := strings.Fields(a.getenv(name)); len(words) > 0 && words[0] == "cat" {
			return nil
		} else if len(words) > 0 {
			return words
		}
	}
	return []string{"less"}
}

// paged hands what write writes to the pager, or to standard output where there
// is none. Whoever leaves the pager has seen enough, which is no error.
func (a *app) paged(write func(io.Writer) error) error {
	command := a.pagerCommand()
	if command == nil {
		return write(a.out)
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return write(a.out)
	}
	cmd := exec.Command(path, command[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Env = a.stdout, a.stderr, a.pagerEnvironment()
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return write(a.out)
	}
	err = write(&colorprofile.Writer{Forward: pipe, Profile: a.profile(a.stdout)})
	err = errors.Join(err, pipe.Close())
	// Ctrl-C is the pager's: it ends a search, and not us.
	_ = cmd.Wait()
	if errors.Is(err, unix.EPIPE) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// pagerEnvironment makes less show colours, leave short texts on the screen, and
// run nothing for whoever reads as root.
func (a *app) pagerEnvironment() []string {
	env := os.Environ()
	for name, value := range map[string]string{"LESS": "FRX", "LESSCHARSET": "utf-8"} {
		if a.getenv(name) == "" {
			env = append(env, name+"="+value)
		}
	}
	if os.Geteuid() == 0 {
		env = append(env, "LESSSECURE=1")
	}
	return env
}

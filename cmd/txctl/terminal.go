// The user's terminal: raw while a shell has it, its size told on, and
// questions asked on it.

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/txupd/txupd/internal/fault"
)

type terminal struct{ fd int }

func (t *terminal) size() (rows, columns uint16, err error) {
	w, h, err := term.GetSize(t.fd)
	if err != nil {
		return 0, 0, fmt.Errorf("cannot tell the size of the terminal: %w", err)
	}
	return uint16(h), uint16(w), nil
}

// raw hands the terminal over: every key goes to the transaction, and its size
// follows. restore may be called more than once.
func (t *terminal) raw(ctx context.Context, in transaction) (restore func(), err error) {
	state, err := term.MakeRaw(t.fd)
	if err != nil {
		return nil, err
	}
	changed, ended := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(changed, unix.SIGWINCH)
	tell := func() {
		if rows, columns, err := t.size(); err == nil && rows > 0 && columns > 0 {
			// A command that has just ended has no terminal any more.
			_ = in.Resize(ctx, rows, columns)
		}
	}
	var resizing sync.WaitGroup
	resizing.Go(func() {
		tell() // it may have changed while the transaction was begun
		for {
			select {
			case <-changed:
				tell()
			case <-ended:
				return
			}
		}
	})
	var once sync.Once
	return func() {
		once.Do(func() {
			// First of all, whatever the rest waits for. There is nobody to tell of a failure.
			_ = term.Restore(t.fd, state)
			signal.Stop(changed)
			close(ended)
			resizing.Wait()
		})
	}, nil
}

// keys reads a raw terminal, on which Ctrl-D is a key as any other: it has no
// end but that it hangs up. The shell must not take that for its user's wish to
// leave, and commit.
type keys struct {
	io.Reader
	hungUp func()
	over   <-chan struct{}
}

func (k *keys) Read(p []byte) (int, error) {
	n, err := k.Reader.Read(p)
	if err != nil {
		k.hungUp()
		<-k.over
	}
	return n, err
}

// confirm asks before what is hard to take back. Without a terminal nobody is
// asked: -y has to say it.
func (a *app) confirm(verb, question string) error {
	if a.yes {
		return nil
	}
	if !isTerminal(a.stdin) || !isTerminal(a.stderr) {
		return usagef("-y says yes", "txctl %s: it asks before it acts, and there is no terminal to ask on", verb)
	}
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	answers := make(chan string, 1)
	// Nobody waits for this one: a read of a terminal cannot be interrupted.
	go func() {
		answer, _ := bufio.NewReader(a.stdin).ReadString('\n') // an end without an answer is a no
		answers <- answer
	}()
	select {
	case answer := <-answers:
		switch strings.ToLower(strings.TrimSpace(answer)) {
		case "y", "yes":
			return nil
		}
		return errors.New("not confirmed; nothing was changed")
	case <-a.asked.Done():
		a.say("")
		return fmt.Errorf("%w; nothing was changed", fault.ErrCancelled)
	}
}

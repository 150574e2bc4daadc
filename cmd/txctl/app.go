// What all verbs share: where they read and print, how they reach the daemon,
// and how they end.

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/charmbracelet/colorprofile"
	"golang.org/x/term"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/present"
)

// app is one call of txctl.
type app struct {
	// The process's own streams: what commands read and print goes through them untouched.
	stdin          io.Reader
	stdout, stderr io.Writer
	// out and err take what is made for people, and drop colours where they do not belong.
	out, err io.Writer

	getenv  func(string) string
	now     func() time.Time
	connect func(ctx context.Context, progress func(number uint64, p bus.Progress)) (daemon, error)
	client  daemon
	// followed is who wants to know of progress; signals come in a goroutine of the connection's.
	followed atomic.Pointer[follower]

	// asked ends with the first signal that asks us to end, urged with the second.
	asked, urged context.Context
	ask          func() // is the first such signal

	json, yes, verbose, wait, noPager bool
	message                           *string

	// dashes: the line has "--", behind which a command stands.
	dashes bool
	// own: failures that are not the command's have an exit code of their own (DESIGN §9).
	own bool
	// lines: what is printed on the way are documents too, one on each line.
	lines bool
	// documented: the one JSON document has been printed.
	documented bool
}

func newApp(stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) *app {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, getenv: getenv, asked: context.Background(), urged: context.Background(), ask: func() {}}
	a.out, a.err = a.coloured(stdout), a.coloured(stderr)
	return a
}

// coloured leaves styles to terminals that want them. The profile is not asked
// of the environment's tools: that would start programs.
func (a *app) coloured(w io.Writer) io.Writer {
	return &colorprofile.Writer{Forward: w, Profile: a.profile(w)}
}

// profile is what of styles w takes.
func (a *app) profile(w io.Writer) colorprofile.Profile {
	switch {
	case !isTerminal(w) || a.getenv("TERM") == "dumb":
		return colorprofile.NoTTY
	case a.getenv("NO_COLOR") != "":
		return colorprofile.ASCII
	}
	return colorprofile.ANSI
}

// descriptor is that of a stream that is a file, else -1.
func descriptor(stream any) int {
	if f, ok := stream.(*os.File); ok && f != nil {
		return int(f.Fd())
	}
	return -1
}

func isTerminal(stream any) bool {
	fd := descriptor(stream)
	return fd >= 0 && term.IsTerminal(fd)
}

// width of the terminal that stream is; 0 is no limit.
func (a *app) width(stream any) int {
	if !isTerminal(stream) {
		return 0
	}
	if w, _, err := term.GetSize(descriptor(stream)); err == nil && w > 0 {
		return w
	}
	if w, err := strconv.Atoi(a.getenv("COLUMNS")); err == nil && w > 0 {
		return w
	}
	return 80
}

// screen is for results.
func (a *app) screen() present.Screen { return present.Screen{Width: a.width(a.stdout), Now: a.now()} }

// words is for what is said beside them.
func (a *app) words() present.Screen { return present.Screen{Width: a.width(a.stderr), Now: a.now()} }

// say prints words for people beside the result.
func (a *app) say(format string, args ...any) { fmt.Fprintf(a.err, format+"\n", args...) }

// daemon connects, once.
func (a *app) daemon() (daemon, error) {
	if a.client != nil {
		return a.client, nil
	}
	c, err := a.connect(a.urged, func(number uint64, p bus.Progress) {
		if f := a.followed.Load(); f != nil && f.number == number {
			f.step(p)
		}
	})
	if err != nil {
		return nil, err
	}
	a.client = c
	return c, nil
}

// follower wants to know of the progress of one transaction.
type follower struct {
	number uint64
	step   func(p bus.Progress)
}

// result prints what a verb found: the document with --json, else the text.
func (a *app) result(document any, text func(present.Screen) string) error {
	if a.json {
		return a.document(document)
	}
	_, err := io.WriteString(a.out, text(a.screen()))
	return err
}

// document prints the one document.
func (a *app) document(doc any) error {
	a.documented = true
	return a.encode(doc)
}

// encode prints a document, on one line where it is one of several.
func (a *app) encode(doc any) error {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	if !a.lines {
		e.SetIndent("", "  ")
	}
	return e.Encode(doc)
}

// status ends txctl with an exit code where nothing more is to be said.
type status int

func (s status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// usageError is a command line that could not be understood.
type usageError struct{ message, hint string }

func (e *usageError) Error() string { return e.message }

// usagef names what is wrong with the command line; the hint says what would be accepted.
func usagef(hint, format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...), hint}
}

// failure is the document of an error.
type failure struct {
	Name    string `json:"name"`
	Message string `json:"message"`
	Exit    int    `json:"exit"`
}

func failureOf(err error) *failure {
	var usage *usageError
	if errors.As(err, &usage) {
		return &failure{fault.Name(fault.ErrInvalidArgument), err.Error(), fault.Usage}
	}
	return &failure{fault.Name(err), err.Error(), fault.Exit(err)}
}

// end tells of an error and returns the exit code.
func (a *app) end(err error) int {
	var done status
	switch {
	case err == nil:
		return 0
	case errors.As(err, &done):
		return int(done)
	case a.urged.Err() != nil:
		io.WriteString(a.err, a.newLine())
		err = fmt.Errorf("%w: left without waiting for the end; \"txctl status\" tells how it stands", fault.ErrCancelled)
	case errors.Is(err, context.Canceled), errors.Is(err, fault.ErrNotAuthorized) && a.asked.Err() != nil:
		// Ctrl-C where a password is asked for is no wrong password.
		err = fault.ErrCancelled
	}
	a.complain(err)
	f := failureOf(err)
	if a.json && !a.documented {
		if e := a.document(struct {
			Error *failure `json:"error"`
		}{f}); e != nil {
			a.say("txctl: cannot print the document: %v", e)
		}
	}
	return a.code(f.Exit)
}

// code is the exit code of a failure of ours. Words that were not understood
// and what the user stopped have theirs in every verb.
func (a *app) code(exit int) int {
	if a.own && exit != fault.Usage && exit != fault.Exit(fault.ErrCancelled) {
		return fault.Own
	}
	return exit
}

// complain says what went wrong and what to do about it.
func (a *app) complain(err error) {
	name := "txctl: "
	if strings.HasPrefix(err.Error(), "txctl ") { // it names the verb too
		name = ""
	}
	io.WriteString(a.err, name+a.words().Failure(err.Error(), len(name)))
	hint := present.Advice(err)
	if hint == "" {
		hint = connectionAdvice(err)
	}
	var usage *usageError
	if errors.As(err, &usage) {
		hint = usage.hint
	}
	if hint != "" {
		a.say("%s", hint)
	}
}

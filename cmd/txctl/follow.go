// From the start of a transaction to the words on its end.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/present"
	"github.com/txupd/txupd/pkg/journal/record"
)

// making is what one may say of a transaction when it is made.
type making struct {
	from          string
	tags          []string
	keepUnchanged bool
	unchangedExit bool
	detach        bool
	dryRun        bool
	progress      bool
	strict        bool
}

// flags adds the options that all such verbs have.
func (m *making) flags(a *app, flags *pflag.FlagSet) {
	flags.StringVar(&m.from, "from", "", "start from this `snapshot`: a number, booted, default, pending or last-good (default: the pending one, else the booted one)")
	flags.StringArrayVar(&m.tags, "tag", nil, "attach a `word` to the snapshot; may be repeated")
	flags.BoolVar(&m.keepUnchanged, "keep-unchanged", false, "keep the snapshot even if nothing changed")
	a.waitFlag(flags)
}

// once adds those of verbs that begin and commit in one go.
func (m *making) once(flags *pflag.FlagSet) {
	flags.BoolVar(&m.unchangedExit, "unchanged-exit", false, "exit with 77 if nothing changed")
	m.strictFlag(flags)
	flags.BoolVar(&m.detach, "detach", false, "print the number and return; the transaction goes on")
}

// strictFlag is for verbs that commit.
func (m *making) strictFlag(flags *pflag.FlagSet) {
	flags.BoolVar(&m.strict, "strict", false, "change nothing where edits of the running /etc conflict with the snapshot's")
}

// about checks the options and makes what the daemon is told. what is kept as
// the message where none was given.
func (m *making) about(a *app, what string) (client.About, error) {
	about := client.About{
		Message: a.message, Tags: m.tags, From: m.from, KeepUnchanged: m.keepUnchanged, Detach: m.detach, DryRun: m.dryRun, Strict: m.strict,
	}
	if m.from != "" {
		if err := snapshotName("--from", m.from); err != nil {
			return about, err
		}
	}
	for _, tag := range m.tags {
		if tag == "" {
			return about, usagef("a tag is one word", "--tag: it is empty")
		}
	}
	if about.Message == nil && what != "" {
		about.Message = &what
	}
	return about, nil
}

// begun is a transaction that was started, with how things stood before.
type begun struct {
	transaction
	before present.Before
}

// start starts a transaction.
func (a *app) start(begin func(daemon) (transaction, error)) (begun, error) {
	d, err := a.daemon()
	if err != nil {
		return begun{}, err
	}
	var b begun
	err = a.locked(d, func() error {
		st, err := d.Status(a.urged)
		if err != nil {
			return err
		}
		b.before = present.BeforeOf(st)
		b.transaction, err = begin(d)
		return err
	})
	return b, err
}

// detached tells of a transaction that goes on without us.
func (a *app) detached(b begun) error {
	return a.result(struct {
		Number      uint64 `json:"number"`
		Transaction string `json:"transaction"`
	}{b.Number(), bus.TransactionPath(b.Number())}, func(present.Screen) string {
		return fmt.Sprintln(b.Number())
	})
}

// cancelling cancels what runs when the user asks for an end; call stop after that end.
func (a *app) cancelling(t transaction) (stop func() bool) {
	return context.AfterFunc(a.asked, func() {
		const words = "cancelling; once more to leave at once"
		if f := a.followed.Load(); f != nil {
			f.step(bus.Progress{Fraction: -1, Text: words})
		} else {
			a.say("%stxctl: %s", a.newLine(), words)
		}
		if err := t.Cancel(a.urged); err != nil && a.urged.Err() == nil {
			a.say("txctl: cannot cancel: %v", err)
		}
	})
}

// newLine is what it takes to begin a line after the terminal has shown ^C.
func (a *app) newLine() string {
	if isTerminal(a.stderr) {
		return "\n"
	}
	return ""
}

// await waits for the end of a transaction that is followed by streams.
func (a *app) await(t transaction, p pipes) (bus.Outcome, error) {
	defer a.cancelling(t)()
	streams, err := attach(a.urged, t, nil, p)
	if err != nil {
		return bus.Outcome{}, errors.Join(fmt.Errorf("cannot read along: %w", err), t.Cancel(a.urged))
	}
	o, err := t.Wait(a.urged)
	if a.urged.Err() == nil {
		streams.finish()
	}
	return o, err
}

// outcome is the document on how a transaction ended.
type outcome struct {
	Number    uint64       `json:"number"`
	Parent    uint64       `json:"parent"`
	Kind      string       `json:"kind"`
	Phase     record.Phase `json:"phase"`
	Unchanged bool         `json:"unchanged"`
	DryRun    bool         `json:"dry_run"`
	// Exit is the status of the last command, -1 where none ended.
	Exit           int32                  `json:"exit"`
	Error          *failure               `json:"error"`
	Warnings       []string               `json:"warnings"`
	PackageChanges []record.PackageChange `json:"package_changes"`
	Files          record.FileCounts      `json:"files"`
	// Output is what the package manager said, in a dry run.
	Output string `json:"output,omitempty"`
}

func (m *making) document(o bus.Outcome) outcome {
	doc := outcome{
		Number: o.Number, Parent: o.Parent, Kind: o.Kind, Phase: o.Phase, Unchanged: o.Unchanged, DryRun: m.dryRun, Exit: o.Exit,
		Warnings: append([]string{}, o.Warnings...), PackageChanges: append([]record.PackageChange{}, o.PackageChanges...), Files: o.Files,
	}
	if err := o.Err(); err != nil {
		doc.Error = failureOf(err)
	}
	return doc
}

// told says how a transaction ended, prints the document and returns how txctl
// ends. changes takes the table of packages, summary the words on the commit;
// commands says that the last command's status is to be ours.
func (a *app) told(b begun, o bus.Outcome, m *making, changes, summary io.Writer, commands bool) error {
	if a.json {
		changes, summary = io.Discard, a.err
	}
	screen := a.screen()
	if o.Phase == record.Committed || o.Phase == record.Failed && o.Error != fault.Name(fault.ErrCancelled) {
		io.WriteString(a.err, a.words().Warnings(o.Warnings))
	}
	switch {
	case o.Error != "":
		// told below, after the warnings
	case o.Unchanged:
		io.WriteString(summary, screen.Unchanged())
	case o.Phase == record.Committed:
		io.WriteString(changes, screen.PackageChanges(o.PackageChanges))
		io.WriteString(summary, screen.Committed(o, b.before))
	}
	if a.asked.Err() != nil && o.Error == "" && o.Phase == record.Committed {
		a.say("txctl: it was too late to cancel")
	}
	if a.json {
		if err := a.document(m.document(o)); err != nil {
			return err
		}
	}
	code := a.exitOf(o, commands)
	if o.Error != "" {
		a.complain(fault.FromName(o.Error, present.FailureOf(o)))
	}
	if code == 0 && o.Unchanged && m.unchangedExit {
		code = fault.Unchanged
	}
	if code == 0 {
		return nil
	}
	return status(code)
}

// exitOf is the exit code of an outcome.
func (a *app) exitOf(o bus.Outcome, commands bool) int {
	switch {
	case commands && (o.Error == "" || o.Error == fault.Name(fault.ErrCommandFailed)) && o.Exit >= 0:
		return int(o.Exit)
	case o.Error == "":
		return 0
	}
	return a.code(fault.Exit(o.Err()))
}

// Transactions of one go: begin, the commands, commit; or nothing.

package update

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/pkgmgr"
	"github.com/txupd/txupd/internal/sandbox"
	"github.com/txupd/txupd/pkg/journal/record"
)

// Run begins a transaction, and returns when its snapshot stands; the command
// and the commit go on. A command that fails ends it.
func (u *Updater) Run(ctx context.Context, q Request, c Command) (*Transaction, error) {
	if c.Terminal != nil && len(c.Argv) == 0 {
		c.Argv = []string{"/bin/sh", "-c", `exec "${SHELL:-/bin/sh}" -l`}
	}
	if err := CheckArgv(c.Argv); err != nil {
		return nil, err
	}
	q.commands = []Command{c}
	return u.oneShot(ctx, q, func(t *Transaction) error { return t.offerStdin(c) }, func(ctx context.Context, t *Transaction) error {
		exit, err := t.run(ctx, c)
		if err != nil {
			return err
		}
		// A shell's status is the one of its last command, which says nothing of the work as a whole.
		if exit != 0 && c.Terminal == nil {
			return fmt.Errorf("%w with status %d: %s", fault.ErrCommandFailed, exit, c.Argv[0])
		}
		return nil
	})
}

// oneShot begins a transaction, works on it in a goroutine of its own and then commits it.
func (u *Updater) oneShot(ctx context.Context, q Request, ready func(*Transaction) error, work func(context.Context, *Transaction) error) (*Transaction, error) {
	t, e, err := u.start(ctx, q, ready)
	if err != nil {
		return nil, err
	}
	go func() {
		defer e.leave()
		err := work(e.ctx, t)
		u.notify(Event{Kind: CommandFinished, Transaction: t, Command: 0, Exit: t.State().Exit})
		if err == nil {
			err = t.commit(e.ctx)
		}
		t.settle(err)
	}()
	return t, nil
}

// settle ends the transaction as its commit or work ended.
func (t *Transaction) settle(err error) {
	var derived *derivedError
	switch {
	case err == nil:
		t.end(nil)
	case errors.As(err, &derived):
		t.u.mu.Lock()
		t.u.unrecorded = t
		t.u.mu.Unlock()
		t.end(err)
	case errors.Is(err, errNoChange):
		t.mu.Lock()
		t.same = true
		t.mu.Unlock()
		t.end(t.giveUp(record.Discarded, nil))
	case errors.Is(err, errLeave):
		t.end(t.giveUp(record.Discarded, nil))
	default:
		t.end(t.giveUp(record.Failed, err))
	}
}

// errLeave ends a transaction that did what it should, and is not wanted: a dry
// run, or an unattended update that is not taken.
var errLeave = errors.New("it is not taken")

// PackageRequest is a change of packages.
type PackageRequest struct {
	Request
	Names  []string // for KindPkgAdd and KindPkgRemove
	DryRun bool
}

// ChangePackages begins a transaction that adds, removes or updates packages, by its Kind.
func (u *Updater) ChangePackages(ctx context.Context, q PackageRequest) (*Transaction, error) {
	if q.Kind != KindUpdate {
		if len(q.Names) == 0 {
			return nil, fmt.Errorf("%w: no package is named", fault.ErrInvalidArgument)
		}
		if err := pkgmgr.CheckNames(q.Names); err != nil {
			return nil, fmt.Errorf("%w: %w", fault.ErrInvalidArgument, err)
		}
	}
	m, err := u.manager()
	if err != nil {
		return nil, err
	}
	var commands []pkgmgr.Command
	o := pkgmgr.Options{DryRun: q.DryRun}
	switch q.Kind {
	case KindPkgAdd:
		commands = m.Add(slices.Clone(q.Names), o)
	case KindPkgRemove:
		commands = m.Remove(slices.Clone(q.Names), o)
	case KindUpdate:
		commands = m.Update(o)
	default:
		return nil, fmt.Errorf("internal error: %q is no change of packages", q.Kind)
	}
	for _, c := range commands {
		q.commands = append(q.commands, Command{Argv: c.Argv, Env: c.Env})
	}
	nothing := func(*Transaction) error { return nil }
	return u.oneShot(ctx, q.Request, nothing, func(ctx context.Context, t *Transaction) error {
		if err := t.manage(ctx, m, commands); err != nil {
			return err
		}
		if q.DryRun {
			return errLeave
		}
		return nil
	})
}

// maxRounds bounds how often a package manager may ask to be run again.
const maxRounds = 3

// manage runs the package manager's commands, once more where it replaced itself.
func (t *Transaction) manage(ctx context.Context, m pkgmgr.Manager, commands []pkgmgr.Command) error {
	for range maxRounds {
		again := false
		for _, c := range commands {
			if err := t.afford(ctx, m, c); err != nil {
				return err
			}
			exit, err := t.run(ctx, Command{Argv: c.Argv, Env: c.Env, manager: m})
			if err != nil {
				return err
			}
			out := m.Outcome(c.Argv, exit, []byte(t.output.tail(64<<10)))
			if out.NoSpace {
				return fmt.Errorf("%w: %s\n%s", fault.ErrNoSpace, out.Note, t.lastWords())
			}
			if !out.OK {
				return fmt.Errorf("%w: %s\n%s", fault.ErrPackageManager, out.Note, t.lastWords())
			}
			if out.Note != "" {
				t.warn(out.Note)
			}
			again = again || out.Again
		}
		if !again {
			return nil
		}
	}
	return fmt.Errorf("%w: it asked to be run again %d times", fault.ErrPackageManager, maxRounds)
}

// lastWords is the end of the output, what a person needs to see of a failure.
func (t *Transaction) lastWords() string { return lastLines(t.output.tail(4000), 8) }

// lastLines keeps the last n lines that say anything.
func lastLines(s string, n int) string {
	var lines []string
	for line := range strings.SplitSeq(strings.ReplaceAll(s, "\r", "\n"), "\n") {
		if line = strings.TrimRight(line, " \t"); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Terminal is the size of a terminal; it spares callers the sandbox package.
func Terminal(rows, columns uint16) *sandbox.Size {
	return &sandbox.Size{Rows: rows, Cols: columns}
}

// Transactions that stay open: `txctl begin`, `exec`, `commit` and `discard`.

package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/present"
	"github.com/txupd/txupd/pkg/journal/record"
)

func (a *app) beginCommand() *cobra.Command {
	var m making
	var expires string
	c := &cobra.Command{
		Use:   "begin",
		Short: "Open a transaction that waits for commands and for its commit, and print its number",
		Long: "begin opens a transaction for more than one command: \"txctl exec\" runs them, \"txctl commit\" makes the\n" +
			"snapshot what boots next, \"txctl discard\" gives it up. It outlives restarts of the daemon and reboots,\n" +
			"until it expires. Others cannot begin one meanwhile.",
		Example: "  txctl begin -m \"move to postgresql 17\"\n  txctl exec -- apt-get -y install postgresql-17\n  txctl exec -- pg_dropcluster 15 main\n  txctl commit",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			about, err := m.about(a, "")
			if err != nil {
				return err
			}
			if expires != "" {
				seconds, err := duration("--expires", expires)
				if err != nil {
					return err
				}
				about.Expires = &seconds
			}
			return a.begin(about)
		},
	}
	m.flags(a, c.Flags())
	c.Flags().StringVar(&expires, "expires", "", "give it up after this `duration` (90m, 36h, 2d, never) unless it is committed (default 24h)")
	return c
}

func (a *app) begin(about client.About) error {
	b, err := a.start(func(d daemon) (transaction, error) { return d.Begin(a.urged, about) })
	if err != nil {
		return err
	}
	if a.asked.Err() != nil {
		return errors.Join(fault.ErrCancelled, b.Discard(a.urged))
	}
	st, err := b.State(a.urged)
	if err != nil {
		return err
	}
	if !a.json {
		a.say("%s is open", b.before.Parent(b.Number(), st.Parent))
		io.WriteString(a.err, a.words().Open(b.Number()))
	}
	return a.result(struct {
		Number      uint64       `json:"number"`
		Parent      uint64       `json:"parent"`
		Phase       record.Phase `json:"phase"`
		Transaction string       `json:"transaction"`
		Warnings    []string     `json:"warnings"`
	}{b.Number(), st.Parent, st.Phase, bus.TransactionPath(b.Number()), append([]string{}, st.Warnings...)}, func(present.Screen) string {
		return fmt.Sprintln(b.Number())
	})
}

// open takes hold of the transaction that is named, else of the one that is open.
func (a *app) open(d daemon, named []string) (begun, error) {
	st, err := d.Status(a.urged)
	if err != nil {
		return begun{}, err
	}
	var n uint64
	switch {
	case len(named) > 0:
		if n, err = number("NUMBER", named[0]); err != nil {
			return begun{}, err
		}
	case st.Transaction != nil:
		n = st.Transaction.Number
	default:
		return begun{}, fmt.Errorf("no transaction is open; \"txctl begin\" opens one: %w", fault.ErrNotFound)
	}
	t, err := d.Transaction(a.urged, n)
	if errors.Is(err, fault.ErrNotFound) {
		err = fmt.Errorf("transaction %d is not open: %w", n, fault.ErrNotFound)
	}
	if err != nil {
		return begun{}, err
	}
	state, err := t.State(a.urged)
	if err == nil && state.Finished {
		err = fmt.Errorf("transaction %d has ended (%s): %w", n, state.Phase, fault.ErrNotFound)
	}
	return begun{t, present.BeforeOf(st)}, err
}

func (a *app) execCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "exec [NUMBER] -- COMMAND [ARGUMENT…]",
		// Options stand before "--".
		DisableFlagsInUseLine: true,
		Short:                 "Run one more command in an open transaction",
		Long: "exec runs a command in an open transaction, which stays open whatever its exit status. That is\n" +
			"the one of txctl; failures of our own exit with 125. With --json its output goes to standard error.",
		Example: "  txctl exec -- apt-get -y install postgresql-17\n  txctl exec 7 -- touch /usr/local/one",
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		named, argv, err := afterDashes(c, args, 1, false)
		if err != nil {
			return err
		}
		if len(named) > 0 {
			if _, err := number("NUMBER", named[0]); err != nil {
				return err
			}
		}
		a.unrecorded("exec")
		a.own = true
		return a.exec(named, argv)
	}
	a.waitFlag(c.Flags())
	return c
}

func (a *app) exec(named, argv []string) error {
	d, err := a.daemon()
	if err != nil {
		return err
	}
	t, err := a.open(d, named)
	if err != nil {
		return err
	}
	in := a.input()
	var index uint32
	if err := a.locked(d, func() (err error) {
		index, err = t.Exec(a.urged, argv, client.Input{Stdin: in != nil}, false)
		return err
	}); err != nil {
		return err
	}
	defer a.cancelling(t)()
	streams, err := attach(a.urged, t, &index, pipes{in, a.commandOutput(), a.stderr})
	if err != nil {
		return errors.Join(fmt.Errorf("cannot read along: %w", err), t.Cancel(a.urged))
	}
	exit, err := t.WaitCommand(a.urged, index)
	if err != nil {
		return err
	}
	streams.finish()
	return a.execEnded(t.Number(), index, exit)
}

// execEnded tells how a command in an open transaction ended.
func (a *app) execEnded(n uint64, index uint32, exit int32) error {
	doc := struct {
		Number  uint64   `json:"number"`
		Command uint32   `json:"command"`
		Exit    int32    `json:"exit"`
		Error   *failure `json:"error"`
	}{n, index, exit, nil}
	var err error
	code := int(exit)
	switch {
	case a.asked.Err() != nil:
		err = fmt.Errorf("%w; transaction %d is still open", fault.ErrCancelled, n)
	case exit < 0:
		err = fmt.Errorf("the command could not be run; the daemon's log says why: %w", fault.ErrFailed)
	}
	if err != nil {
		doc.Error = failureOf(err)
		code = a.code(doc.Error.Exit)
	}
	if a.json {
		if err := a.document(doc); err != nil {
			return err
		}
	}
	if err != nil {
		a.complain(err)
	}
	if code == 0 {
		return nil
	}
	return status(code)
}

func (a *app) commitCommand() *cobra.Command {
	var m making
	c := &cobra.Command{
		Use:   "commit [NUMBER]",
		Short: "Make the snapshot of an open transaction what boots next",
		Long: "commit makes the snapshot of an open transaction what boots next, with what was edited meanwhile in the\n" +
			"running /etc. Where both changed a file so that only one can be in place, the running side's is, and the\n" +
			"other is kept beside it: \"txctl etc\". With --strict that is an error (11), and the transaction stays open.",
		RunE: func(c *cobra.Command, args []string) error {
			d, t, err := a.named(c, args)
			if err != nil {
				return err
			}
			if err := a.locked(d, func() error {
				return t.Commit(a.urged, client.About{Message: a.message, KeepUnchanged: m.keepUnchanged, Strict: m.strict})
			}); err != nil {
				return err
			}
			stop := a.cancelling(t)
			o, err := t.Wait(a.urged)
			stop()
			if err != nil {
				return err
			}
			return a.told(t, o, &m, a.out, a.out, false)
		},
	}
	c.Flags().BoolVar(&m.keepUnchanged, "keep-unchanged", false, "keep the snapshot even if nothing changed")
	c.Flags().BoolVar(&m.unchangedExit, "unchanged-exit", false, "exit with 77 if nothing changed")
	m.strictFlag(c.Flags())
	a.waitFlag(c.Flags())
	return c
}

// named reads the number of an open transaction that may be left out.
func (a *app) named(c *cobra.Command, args []string) (daemon, begun, error) {
	if err := atMostOne(c, args); err != nil {
		return nil, begun{}, err
	}
	if len(args) > 0 {
		if _, err := number("NUMBER", args[0]); err != nil {
			return nil, begun{}, err
		}
	}
	d, err := a.daemon()
	if err != nil {
		return nil, begun{}, err
	}
	t, err := a.open(d, args)
	return d, t, err
}

func (a *app) discardCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "discard [NUMBER]",
		Short: "Give up an open transaction, or one that is at work",
		Long: "discard undoes a transaction that is not committed yet; the record of it stays. If a command runs in\n" +
			"it, you are asked first, and the command is ended. What is committed is taken back by \"txctl rollback\".",
		RunE: func(c *cobra.Command, args []string) error {
			a.unrecorded("discard")
			_, t, err := a.named(c, args)
			if err != nil {
				return err
			}
			return a.discard(t)
		},
	}
}

// discard gives a transaction up. What runs in it is ended first, if that is
// wanted: somebody may be at the other end.
func (a *app) discard(t begun) error {
	st, err := t.State(a.urged)
	if err != nil {
		return err
	}
	if st.Running {
		if err := a.confirm("discard", fmt.Sprintf("A command runs in transaction %d. End it?", t.Number())); err != nil {
			return err
		}
		if err := t.Cancel(a.urged); err != nil {
			return err
		}
	}
	var o bus.Outcome
	if st.Running && st.Kind != "begin" {
		// One of a single command ends with it.
		o, err = t.Wait(a.urged)
	} else {
		o, err = a.discardOpen(t, st)
	}
	if err != nil {
		return err
	}
	if o.Phase == record.Committed {
		return fmt.Errorf("transaction %d was committed before it could be given up; \"txctl rollback\" goes back", t.Number())
	}
	var m making
	doc := m.document(o)
	doc.Error = nil // somebody wanted it so
	return a.result(doc, func(present.Screen) string {
		return fmt.Sprintf("transaction %d is given up; nothing was changed\n", t.Number())
	})
}

// discardOpen waits for the end of a command that was cancelled, and discards.
func (a *app) discardOpen(t begun, st client.State) (bus.Outcome, error) {
	d, err := a.daemon()
	if err != nil {
		return bus.Outcome{}, err
	}
	discard := func() error { return t.Discard(a.urged) }
	if st.Running {
		err = d.WhileBusy(a.asked, discard, nil)
	} else {
		err = discard()
	}
	if err != nil {
		return bus.Outcome{}, err
	}
	return t.Wait(a.urged)
}

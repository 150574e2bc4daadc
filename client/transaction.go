// Transactions as a client sees them.

package client

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/pkg/journal/record"
)

// About is what a transaction is told of itself. The zero value is the usual case.
type About struct {
	Message       *string // nil: none was given; an empty one is an error
	Tags          []string
	From          string
	KeepUnchanged bool
	Strict        bool // fail where the merge of /etc has conflicts
	Detach        bool
	DryRun        bool    // packages only
	Expires       *uint64 // seconds, Begin only; nil for the usual
}

// Terminal asks for a terminal.
type Terminal struct {
	Rows, Columns uint16
	Term          string // as in the environment
}

// Input is what a command reads, and where it runs.
type Input struct {
	Stdin    bool // what the client writes to the first descriptor of Attach
	Terminal *Terminal
}

func (a About) options() options {
	o := options{}
	put := func(name string, given bool, v any) {
		if given {
			o[name] = dbus.MakeVariant(v)
		}
	}
	if a.Message != nil {
		put(bus.OptMessage, true, *a.Message)
	}
	put(bus.OptTags, len(a.Tags) > 0, a.Tags)
	put(bus.OptFrom, a.From != "", a.From)
	put(bus.OptKeepUnchanged, a.KeepUnchanged, true)
	put(bus.OptStrict, a.Strict, true)
	put(bus.OptDetach, a.Detach, true)
	put(bus.OptDryRun, a.DryRun, true)
	if a.Expires != nil {
		put(bus.OptExpires, true, *a.Expires)
	}
	return o
}

func (i Input) into(o options) options {
	if i.Stdin {
		o[bus.OptStdin] = dbus.MakeVariant(true)
	}
	if t := i.Terminal; t != nil {
		o[bus.OptTerminal] = dbus.MakeVariant(true)
		o[bus.OptRows], o[bus.OptColumns] = dbus.MakeVariant(t.Rows), dbus.MakeVariant(t.Columns)
		if t.Term != "" {
			o[bus.OptTerm] = dbus.MakeVariant(t.Term)
		}
	}
	return o
}

// Transaction is one that is in progress, or has ended a short while ago.
type Transaction struct {
	c      *Client
	path   dbus.ObjectPath
	number uint64
}

// Begin opens a transaction that waits for Commit or Discard.
func (c *Client) Begin(ctx context.Context, a About) (*Transaction, error) {
	return c.start(ctx, "Begin", a.options())
}

// Run runs one command and commits.
func (c *Client) Run(ctx context.Context, argv []string, a About, in Input) (*Transaction, error) {
	return c.start(ctx, "Run", argv, in.into(a.options()))
}

// Shell runs an interactive shell, or argv, in a terminal, and commits.
func (c *Client) Shell(ctx context.Context, argv []string, a About, in Input) (*Transaction, error) {
	return c.start(ctx, "Shell", argv, in.into(a.options()))
}

// PackageAdd installs packages and commits.
func (c *Client) PackageAdd(ctx context.Context, names []string, a About) (*Transaction, error) {
	return c.start(ctx, "PackageAdd", names, a.options())
}

// PackageRemove removes packages and commits.
func (c *Client) PackageRemove(ctx context.Context, names []string, a About) (*Transaction, error) {
	return c.start(ctx, "PackageRemove", names, a.options())
}

// Update upgrades everything and commits.
func (c *Client) Update(ctx context.Context, a About) (*Transaction, error) {
	return c.start(ctx, "Update", a.options())
}

func (c *Client) start(ctx context.Context, method string, args ...any) (*Transaction, error) {
	if err := c.follow(); err != nil {
		return nil, err
	}
	var path dbus.ObjectPath
	if err := c.manager(ctx, method, args, &path); err != nil {
		return nil, err
	}
	n, err := bus.NumberIn(string(path), bus.TransactionPrefix)
	return &Transaction{c, path, n}, err
}

// Transaction takes hold of one by its number.
func (c *Client) Transaction(ctx context.Context, n uint64) (*Transaction, error) {
	if err := c.follow(); err != nil {
		return nil, err
	}
	t := &Transaction{c, dbus.ObjectPath(bus.TransactionPath(n)), n}
	st, err := t.State(ctx)
	if err == nil && st.Finished {
		c.mu.Lock()
		c.finished[t.path] = true // its signal has come and gone
		c.mu.Unlock()
	}
	return t, err
}

// Number is the transaction's and its snapshot's.
func (t *Transaction) Number() uint64 { return t.number }

// Streams are a client's ends: Stdin leads to the command.
type Streams struct{ Stdin, Stdout, Stderr *os.File }

// Attach connects to what runs: to the command with that index until its end,
// or for nil to all of the transaction until that ends.
func (t *Transaction) Attach(ctx context.Context, command *uint32) (Streams, error) {
	o := options{}
	if command != nil {
		o[bus.OptCommand] = dbus.MakeVariant(*command)
	}
	var in, out, errs dbus.UnixFD
	if err := t.call(ctx, "Attach", []any{o}, &in, &out, &errs); err != nil {
		return Streams{}, err
	}
	return Streams{os.NewFile(uintptr(in), "stdin"), os.NewFile(uintptr(out), "stdout"), os.NewFile(uintptr(errs), "stderr")}, nil
}

// Exec starts one more command and returns its index.
func (t *Transaction) Exec(ctx context.Context, argv []string, in Input, detach bool) (index uint32, err error) {
	o := in.into(options{})
	if detach {
		o[bus.OptDetach] = dbus.MakeVariant(true)
	}
	return index, t.call(ctx, "Exec", []any{argv, o}, &index)
}

// Commit starts the commit; Wait tells its end. Of about it takes Message, KeepUnchanged and Strict: with
// that, conflicts are an error at once, and the transaction stays open.
func (t *Transaction) Commit(ctx context.Context, about About) error {
	return t.call(ctx, "Commit", []any{About{Message: about.Message, KeepUnchanged: about.KeepUnchanged, Strict: about.Strict}.options()})
}

// Discard gives the transaction up.
func (t *Transaction) Discard(ctx context.Context) error {
	return t.call(ctx, "Discard", []any{options{}})
}

// Cancel ends what runs.
func (t *Transaction) Cancel(ctx context.Context) error {
	return t.call(ctx, "Cancel", []any{options{}})
}

// Resize tells the command's terminal its size.
func (t *Transaction) Resize(ctx context.Context, rows, columns uint16) error {
	// In the middle of what somebody types is no place for questions.
	return t.call(WithoutAsking(ctx), "Resize", []any{rows, columns, options{}})
}

func (t *Transaction) call(ctx context.Context, method string, args []any, into ...any) error {
	return t.c.call(ctx, string(t.path), bus.TransactionInterface+"."+method, args, into...)
}

// State reads the properties. The lists of an Outcome are filled by Result.
func (t *Transaction) State(ctx context.Context) (State, error) {
	var all options
	if err := t.c.call(ctx, string(t.path), bus.PropertiesInterface+".GetAll", []any{bus.TransactionInterface}, &all); err != nil {
		return State{}, err
	}
	return State{
		Finished: value[bool](all, "Finished"), Running: value[bool](all, "Running"),
		Outcome: Outcome{
			Number: value[uint64](all, "Number"), Parent: value[uint64](all, "Parent"), Kind: value[string](all, "Kind"),
			Phase: record.Phase(value[string](all, "Phase")), Unchanged: value[bool](all, "Unchanged"), Exit: value[int32](all, "ExitStatus"),
			Error: value[string](all, "Error"), ErrorMessage: value[string](all, "ErrorMessage"), Warnings: value[[]string](all, "Warnings"),
			PackageChanges: []record.PackageChange{},
		},
	}, nil
}

// State is how a transaction stands.
type State struct {
	Outcome
	Finished, Running bool
}

func value[T any](all options, name string) T {
	v, _ := all[name].Value().(T)
	return v
}

// WaitCommand waits for the end of a command and returns its exit status, -1 where it never ran.
func (t *Transaction) WaitCommand(ctx context.Context, command uint32) (exit int32, err error) {
	err = t.c.wait(ctx, func() (ok bool) {
		exit, ok = t.c.commands[t.path][command]
		return ok
	})
	return exit, err
}

// Finished waits for the end of the transaction.
func (t *Transaction) Finished(ctx context.Context) error {
	return t.c.wait(ctx, func() bool { return t.c.finished[t.path] })
}

// Wait waits for the end of the transaction and returns what it came to, with
// the changes of packages where it was committed. Where the daemon ended in the
// middle, the next one has brought it to an end, and its record tells which.
func (t *Transaction) Wait(ctx context.Context) (Outcome, error) {
	err := t.Finished(ctx)
	if errors.Is(err, errEnded) {
		return t.recorded(ctx)
	}
	if err != nil {
		return Outcome{}, err
	}
	st, err := t.State(ctx)
	if errors.Is(err, fault.ErrNotFound) || errors.Is(err, errNoReply) {
		return t.recorded(ctx) // it ended after it had told so
	}
	if err != nil {
		return Outcome{}, err
	}
	if st.Phase != record.Committed {
		return st.Outcome, nil
	}
	rec, err := t.c.Show(ctx, t.number)
	if err != nil {
		return st.Outcome, fmt.Errorf("it is committed, but cannot be shown: %w", err)
	}
	st.PackageChanges, st.Files, st.Warnings = rec.PackageChanges, rec.Files, append([]string{}, rec.Warnings...)
	return st.Outcome, nil
}

// recorded is the outcome as the record has it.
func (t *Transaction) recorded(ctx context.Context) (Outcome, error) {
	rec, err := t.c.Show(ctx, t.number)
	if err != nil || rec.Phase == record.Open {
		return Outcome{}, errors.Join(errEnded, err)
	}
	o := Outcome{
		Number: rec.Number, Kind: rec.Kind, Phase: rec.Phase, Exit: record.NoExit, Error: rec.ErrorCode, ErrorMessage: rec.Error,
		Warnings: append([]string{}, rec.Warnings...), PackageChanges: append([]record.PackageChange{}, rec.PackageChanges...), Files: rec.Files,
	}
	if rec.Parent != nil {
		o.Parent = *rec.Parent
	}
	for _, c := range rec.Commands {
		if c.Exit != record.NoExit {
			o.Exit = int32(c.Exit)
		}
	}
	return o, nil
}

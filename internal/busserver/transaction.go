// The methods of org.txupd1.Transaction.

package busserver

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/polkit"
	"github.com/txupd/txupd/internal/update"
	"github.com/txupd/txupd/pkg/snapshot"
)

func (s *Server) transactionMethods() map[string]method {
	of := func(fn func(*call, *update.Transaction) ([]any, error)) func(*call) ([]any, error) {
		return func(c *call) ([]any, error) {
			t, err := s.updater.Transaction(snapshot.Number(c.number))
			if err != nil {
				return nil, err
			}
			return fn(c, t)
		}
	}
	// Whoever began it may end it; to make it boot next is asked for again, and so is every further command.
	ends := func(does string) right { return right{action: polkit.Transact, does: does, own: true} }
	return map[string]method{
		"Exec": {right: right{action: polkit.Shell, does: "run a command in a transaction"}, changes: true, run: of(s.exec),
			options: []string{bus.OptStdin, bus.OptTerminal, bus.OptRows, bus.OptColumns, bus.OptTerm, bus.OptDetach}},
		// It is not only to watch: what is written there is typed into the command.
		"Attach": {right: right{action: polkit.Shell, does: "take part in a transaction", own: true, alone: true}, changes: true,
			options: []string{bus.OptCommand}, run: of(s.attach)},
		"Resize": {right: ends("resize the terminal of a transaction"), changes: true, run: of(resize)},
		"Signal": {right: ends("send a signal to a transaction"), changes: true, run: of(signal)},
		"Commit": {right: right{action: polkit.Transact, does: "commit a transaction"}, changes: true,
			options: []string{bus.OptMessage, bus.OptKeepUnchanged, bus.OptStrict}, run: of(commit)},
		"Discard": {right: ends("discard a transaction"), changes: true, run: of(discard)},
		"Cancel":  {right: ends("cancel a transaction"), changes: true, run: of(cancel)},
	}
}

func (s *Server) exec(c *call, t *update.Transaction) ([]any, error) {
	cmd, err := c.command(c.args[0].([]string))
	if err != nil {
		return nil, err
	}
	index, err := t.Exec(cmd)
	if err != nil {
		return nil, err
	}
	if !option[bool](c.options, bus.OptDetach) {
		s.own(c.from, owned{t, index})
	}
	return []any{uint32(index)}, nil
}

func (s *Server) attach(c *call, t *update.Transaction) ([]any, error) {
	command := update.Everything
	if _, given := c.options[bus.OptCommand]; given {
		command = int(option[uint32](c.options, bus.OptCommand))
	}
	a, err := t.Attach(command)
	if err != nil {
		return nil, err
	}
	return []any{a.Stdin, a.Stdout, a.Stderr}, nil
}

func resize(c *call, t *update.Transaction) ([]any, error) {
	rows, columns := c.args[0].(uint16), c.args[1].(uint16)
	if rows == 0 || columns == 0 {
		return nil, fmt.Errorf("%w: a terminal of %d rows and %d columns", fault.ErrInvalidArgument, rows, columns)
	}
	return nil, t.Resize(*update.Terminal(rows, columns))
}

func signal(c *call, t *update.Transaction) ([]any, error) {
	n := c.args[0].(uint32)
	if n == 0 || unix.SignalName(unix.Signal(n)) == "" {
		return nil, fmt.Errorf("%w: signal %d", fault.ErrInvalidArgument, n)
	}
	return nil, t.Signal(unix.Signal(n))
}

func commit(c *call, t *update.Transaction) ([]any, error) {
	message, err := c.words(bus.OptMessage)
	if err != nil {
		return nil, err
	}
	return nil, t.Commit(update.CommitOptions{KeepUnchanged: option[bool](c.options, bus.OptKeepUnchanged), Message: message,
		Strict: option[bool](c.options, bus.OptStrict)})
}

func discard(c *call, t *update.Transaction) ([]any, error) { return nil, t.Discard(c.ctx) }

func cancel(_ *call, t *update.Transaction) ([]any, error) {
	t.Cancel(errors.New("somebody asked for it"))
	return nil, nil
}

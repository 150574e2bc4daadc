// `txctl shell`: an interactive shell in a new snapshot.

package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/client"
)

func (a *app) shellCommand() *cobra.Command {
	var m making
	c := &cobra.Command{
		Use: "shell [-- COMMAND [ARGUMENT…]]",
		// Options stand before "--".
		DisableFlagsInUseLine: true,
		Short:                 "Open a shell in a new snapshot; leaving it makes the snapshot what boots next",
		Long: "shell opens root's login shell, or the given command, on a terminal in a new snapshot. What it\n" +
			"changed boots next, whatever its exit status, which is that of txctl too.\n" +
			"Where standard input is no terminal, /bin/sh reads its commands from there, and as with\n" +
			"\"txctl run\" nothing is changed if it fails.",
		Example: "  txctl shell -m \"tune the database\"\n  txctl shell -- bash --norc",
	}
	m.flags(a, c.Flags())
	m.once(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		_, argv, err := afterDashes(c, args, 0, true)
		if err != nil {
			return err
		}
		what := "shell"
		if len(argv) > 0 {
			what = describe(argv)
		}
		if !isTerminal(a.stdin) {
			if len(argv) == 0 {
				argv = []string{"/bin/sh"}
			}
			return a.runArgv(argv, &m, what)
		}
		return a.shell(argv, &m, what)
	}
	return c
}

func (a *app) shell(argv []string, m *making, what string) error {
	a.own = true
	if m.detach {
		return usagef("leave --detach out, or pipe the commands in", "txctl shell: --detach: a terminal cannot be detached")
	}
	about, err := m.about(a, what)
	if err != nil {
		return err
	}
	t := &terminal{fd: descriptor(a.stdin)}
	rows, columns, err := t.size()
	if err != nil {
		return err
	}
	b, err := a.start(func(d daemon) (transaction, error) {
		return d.Shell(a.urged, argv, about, client.Input{
			Stdin: true, Terminal: &client.Terminal{Rows: rows, Columns: columns, Term: a.getenv("TERM")},
		})
	})
	if err != nil {
		return err
	}
	st, err := b.State(a.urged)
	if err != nil {
		return err
	}
	io.WriteString(a.err, a.words().Paragraph(fmt.Sprintf("This is %s: what you change here boots next, what runs is not touched.", b.before.Parent(b.Number(), st.Parent))))
	io.WriteString(a.err, a.words().Paragraph(fmt.Sprintf("\"exit\" commits; \"txctl discard %d\" in another terminal gives it up.", b.Number())))
	restore, err := t.raw(a.urged, b)
	if err != nil {
		return fmt.Errorf("cannot prepare the terminal: %w", err)
	}
	defer restore()
	over := make(chan struct{})
	defer close(over)
	o, err := a.await(b, pipes{&keys{a.stdin, a.ask, over}, a.commandOutput(), a.stderr})
	restore()
	if err != nil || o.Error != "" {
		a.say("") // the prompt stands on the line
	}
	if err != nil {
		return err
	}
	return a.told(b, o, m, io.Discard, a.err, true)
}

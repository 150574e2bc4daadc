// `txctl run -- ARGV`.

package main

import (
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/present"
)

func (a *app) runCommand() *cobra.Command {
	var m making
	c := &cobra.Command{
		Use: "run -- COMMAND [ARGUMENT…]",
		// Options stand before "--".
		DisableFlagsInUseLine: true,
		Short:                 "Run a command in a new snapshot and make that what boots next",
		Long: "run runs one command in a new snapshot. If it succeeds and changed something, the snapshot boots next;\n" +
			"if it fails, nothing is changed. Its exit status is that of txctl; failures of our own exit with 125.\n" +
			"What is piped into txctl the command can read. With --json its output goes to standard error.",
		Example: "  txctl run -m \"longer history\" -- sed -i s/1000/9000/ /etc/skel/.bashrc",
	}
	m.flags(a, c.Flags())
	m.once(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		_, argv, err := afterDashes(c, args, 0, false)
		if err != nil {
			return err
		}
		return a.runArgv(argv, &m, describe(argv))
	}
	return c
}

// runArgv runs a command without a terminal, and commits.
func (a *app) runArgv(argv []string, m *making, what string) error {
	a.own = true
	about, err := m.about(a, what)
	if err != nil {
		return err
	}
	in := a.input()
	b, err := a.start(func(d daemon) (transaction, error) {
		return d.Run(a.urged, argv, about, client.Input{Stdin: in != nil && !m.detach})
	})
	if err != nil {
		return err
	}
	if m.detach {
		return a.detached(b)
	}
	o, err := a.await(b, pipes{in, a.commandOutput(), a.stderr})
	if err != nil {
		return err
	}
	return a.told(b, o, m, io.Discard, a.err, true)
}

// commandOutput is where a command's output goes: with --json standard output
// is for the document alone.
func (a *app) commandOutput() io.Writer {
	if a.json {
		return a.stderr
	}
	return a.stdout
}

// input is what a command may read: nothing where our input is a terminal,
// which the command has not, or closed.
func (a *app) input() io.Reader {
	f, file := a.stdin.(*os.File)
	if a.stdin == nil || isTerminal(a.stdin) {
		return nil
	}
	if file {
		if _, err := f.Stat(); err != nil {
			return nil
		}
	}
	return a.stdin
}

// describe is the message of a command for which none was given: its words, as
// far as they fit on a line.
func describe(argv []string) string {
	const most = 200
	text := present.CommandLine(argv)
	if i := strings.IndexFunc(text, unicode.IsControl); i >= 0 {
		text = text[:i]
	}
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return strings.ToValidUTF8(text, "?")
}

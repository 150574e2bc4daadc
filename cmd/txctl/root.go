// The verbs, the options that all have, and how a command line is refused.

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/txupd/txupd/internal/present"
)

// run runs one command line and returns the exit code.
func (a *app) run(args []string) int {
	// Also errors of the options before it are a document then.
	given := args
	if i := slices.Index(args, "--"); i >= 0 {
		given, a.dashes = args[:i], true
	}
	a.json = slices.Contains(given, "--json")
	root := a.root()
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		a.complete(root)
	}
	root.SetArgs(args)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.Execute()
	if a.client != nil {
		defer a.client.Close()
	}
	return a.end(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "txctl",
		Short: "Change the system in transactions: what runs is never touched, what boots next is",
		Long: "txctl changes the system in transactions. Each makes a new snapshot of the root, works in\n" +
			"there, records what happened and why, and makes it what boots next. What runs is never touched.\n" +
			"Without a verb it shows the status.",
		Example: "  txctl pkg add htop -m \"for the on-call team\"\n  txctl run -- sed -i s/a/b/ /etc/motd\n  txctl rollback",
		Args:    a.noVerb,
		RunE:    func(*cobra.Command, []string) error { return a.status() },
		Version: version,
		// Errors are told in one place, and never with a wall of usage.
		SilenceErrors: true, SilenceUsage: true,
		SuggestionsMinimumDistance: 2,
	}
	root.SetVersionTemplate("txctl {{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		// The library's own words repeat the whole value, and the whole of a flag that there is not.
		var invalid *pflag.InvalidValueError
		var unknown *pflag.NotExistError
		switch {
		case errors.As(err, &invalid):
			err = fmt.Errorf("--%s %s: %w", invalid.GetFlag().Name, short(invalid.GetValue()), invalid.Unwrap())
		case errors.As(err, &unknown) && len(err.Error()) > 100:
			err = fmt.Errorf("unknown flag %s", short(unknown.GetSpecifiedName()))
		}
		return usagef(fmt.Sprintf("\"%s --help\" shows what is accepted", c.CommandPath()), "%s: %v", c.CommandPath(), err)
	})
	flags := root.PersistentFlags()
	flags.BoolVar(&a.json, "json", a.json, "print one JSON document on standard output, and nothing else there")
	flags.VarP(&message{&a.message}, "message", "m", "why: kept with the snapshot")
	flags.BoolVarP(&a.yes, "yes", "y", false, "do not ask")
	flags.BoolVar(&a.noPager, "no-pager", false, "print what is longer than the screen at once")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "show the package manager's own words")
	root.AddCommand(a.statusCommand(), a.pkgCommand(), a.updateCommand(), a.runCommand(), a.shellCommand(),
		a.beginCommand(), a.execCommand(), a.commitCommand(), a.discardCommand(),
		a.listCommand(), a.treeCommand(), a.showCommand(), a.logCommand(), a.diffCommand(), a.blameCommand(), a.etcCommand(),
		a.noteCommand(), a.tagCommand(), a.pinCommand(), a.unpinCommand(), a.outputCommand(), a.replayCommand(), a.grepCommand(),
		a.verifyCommand(), a.watchCommand(), a.journalCommand(), a.rollbackCommand(), a.bootOnceCommand(), a.deleteCommand(), a.gcCommand(), a.autoCommand(), a.rebootCommand(), a.metricsCommand(), a.doctorCommand(), a.setupCommand(), a.configCommand(), a.versionCommand(), a.completionCommand())
	root.CompletionOptions.DisableDefaultCmd = true // ours is in completion.go
	root.SetHelpCommand(a.helpCommand())
	a.helpIn(root)
	return root
}

// noVerb refuses a verb that there is not, with the ones that may be meant.
func (a *app) noVerb(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := fmt.Sprintf("\"%s --help\" lists what there is", c.CommandPath())
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		for i := range near {
			near[i] = fmt.Sprintf("\"%s %s\"", c.CommandPath(), near[i])
		}
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return usagef(hint, "%s has no verb %s", c.CommandPath(), short(args[0]))
}

// message is the value of -m. That it was given is kept: an empty one is an
// error, none is not.
type message struct{ into **string }

var _ pflag.Value = (*message)(nil)

// maxMessage is as long as the daemon takes.
const maxMessage = 16 << 10

func (m *message) String() string { return "" }
func (m *message) Type() string   { return "text" }

func (m *message) Set(text string) error {
	switch {
	case strings.TrimSpace(text) == "":
		return errors.New("the message is empty")
	case len(text) > maxMessage:
		return fmt.Errorf("the message is %d bytes long, at most %d are accepted", len(text), maxMessage)
	}
	*m.into = &text
	return nil
}

// unrecorded says so where a message has no place to be kept.
func (a *app) unrecorded(verb string) {
	if a.message != nil {
		a.say("txctl: \"%s\" records no message: it is not kept", verb)
	}
}

// waitFlag is for verbs that nobody else may be in the way of.
func (a *app) waitFlag(flags *pflag.FlagSet) {
	flags.BoolVar(&a.wait, "wait", false, "where another transaction is in progress, wait for its end")
}

// versionCommand is `txctl version`.
func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the versions of txctl and of the daemon",
		Long:  "version shows both. They may differ after an update or a rollback, until the daemon is started again.",
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			doc := struct {
				Txctl string  `json:"txctl"`
				Txupd *string `json:"txupd"` // null where the daemon does not answer
			}{Txctl: version}
			d, err := a.daemon()
			if err == nil {
				var v string
				if v, err = d.Version(a.asked); err == nil {
					doc.Txupd = &v
				}
			}
			return a.result(doc, func(present.Screen) string {
				if err != nil {
					return fmt.Sprintf("txctl %s\ntxupd does not answer: %v\n", version, err)
				}
				return fmt.Sprintf("txctl %s\ntxupd %s\n", version, *doc.Txupd)
			})
		},
	}
}

// `txctl help`, and what --help prints with --json: from that the man pages are
// made.

package main

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpVerb is the document of `help` on one verb.
type helpVerb struct {
	Name    string       `json:"name"` // with all that stands before it: "txctl pkg add"
	Usage   string       `json:"usage"`
	Aliases []string     `json:"aliases"`
	Short   string       `json:"short"`
	Long    string       `json:"long"`
	Example string       `json:"example"`
	Hidden  bool         `json:"hidden"`
	Options []helpOption `json:"options"` // without those of the verbs above it
	Verbs   []helpVerb   `json:"verbs"`
}

// helpOption is one option.
type helpOption struct {
	Name      string `json:"name"`
	Shorthand string `json:"shorthand"`
	Value     string `json:"value"` // what its value is, "" where it takes none
	Usage     string `json:"usage"`
	Default   string `json:"default"` // "" where that says nothing
	Below     bool   `json:"below"`   // the verbs below take it too
}

func (a *app) helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [VERB…]",
		Short:   "Show what a verb does and what it takes",
		Long:    "help shows the same as --help behind a verb. With --json it is a document, also of all verbs at once.",
		Example: "  txctl help\n  txctl help pkg add",
		RunE: func(c *cobra.Command, args []string) error {
			found, rest, err := c.Root().Find(args)
			if err != nil {
				return err
			}
			if err := a.noVerb(found, rest); err != nil {
				return err
			}
			found.InitDefaultHelpFlag()
			found.InitDefaultVersionFlag()
			return found.Help()
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			found, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return nil, nothing
			}
			var verbs []cobra.Completion
			for _, below := range found.Commands() {
				if !below.Hidden {
					verbs = append(verbs, described(below.Name(), below.Short))
				}
			}
			return verbs, nothing
		},
	}
}

// helpIn makes every --help of root a document with --json.
func (a *app) helpIn(root *cobra.Command) {
	text := root.HelpFunc()
	root.SetHelpFunc(func(c *cobra.Command, args []string) {
		if !a.json {
			text(c, args)
			return
		}
		if err := a.document(helpOn(c)); err != nil {
			a.say("txctl: cannot print the document: %v", err)
		}
	})
}

func helpOn(c *cobra.Command) helpVerb {
	doc := helpVerb{
		Name: c.CommandPath(), Usage: c.UseLine(), Aliases: append([]string{}, c.Aliases...), Short: c.Short, Long: c.Long, Example: c.Example,
		Hidden: c.Hidden, Options: []helpOption{}, Verbs: []helpVerb{},
	}
	c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		value, usage := pflag.UnquoteUsage(f)
		o := helpOption{Name: f.Name, Shorthand: f.Shorthand, Value: value, Usage: usage, Default: f.DefValue, Below: c.PersistentFlags().Lookup(f.Name) == f}
		if slices.Contains([]string{"false", "[]"}, o.Default) {
			o.Default = ""
		}
		if f.Name != "help" {
			doc.Options = append(doc.Options, o)
		}
	})
	for _, below := range c.Commands() {
		doc.Verbs = append(doc.Verbs, helpOn(below))
	}
	return doc
}

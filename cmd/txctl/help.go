// `txctl help`, and what --help prints with --json: from that the man pages are
// made.

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

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
	Groups  []helpGroup  `json:"groups"` // of verbs, as they are listed; without hidden ones
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

// helpGroup is some verbs under a heading.
type helpGroup struct {
	Title string   `json:"title"`
	Verbs []string `json:"verbs"` // without what stands before them
}

// groupsOf are the verbs below c that are listed, those of txctl itself by what
// somebody wants. One that nobody put anywhere is listed behind all.
func groupsOf(c *cobra.Command) []helpGroup {
	var groups []helpGroup
	if !c.HasParent() {
		groups = []helpGroup{
			{"Change the system", []string{"pkg", "update", "auto", "run", "shell"}},
			{"Change it in several steps", []string{"begin", "exec", "commit", "discard"}},
			{"Look", []string{"status", "list", "tree", "show", "diff", "etc", "watch"}},
			{"Look back", []string{"log", "blame", "output", "replay", "grep", "verify", "journal"}},
			{"Go back, keep and delete", []string{"rollback", "boot-once", "pin", "unpin", "delete", "gc"}},
			{"Write down", []string{"note", "tag"}},
			{"This machine", []string{"reboot", "setup", "doctor", "config", "metrics"}},
		}
	}
	rest := helpGroup{Title: "Verbs", Verbs: []string{}}
	if len(groups) > 0 {
		rest.Title = "More verbs"
	}
	for _, below := range c.Commands() {
		if !below.Hidden && !slices.ContainsFunc(groups, func(g helpGroup) bool { return slices.Contains(g.Verbs, below.Name()) }) {
			rest.Verbs = append(rest.Verbs, below.Name())
		}
	}
	if len(rest.Verbs) > 0 {
		groups = append(groups, rest)
	}
	return groups
}

// helpIn makes the library speak in our words, and every --help of root a document with --json.
func (a *app) helpIn(root *cobra.Command) {
	root.PersistentFlags().BoolP("help", "h", false, "show what a verb does and takes")
	root.Flags().Bool("version", false, "show the version")
	root.SetHelpFunc(func(c *cobra.Command, _ []string) {
		var err error
		if a.json {
			err = a.document(helpOn(c))
		} else {
			_, err = io.WriteString(a.stdout, helpText(c))
		}
		if err != nil {
			a.say("txctl: cannot print the help: %v", err)
		}
	})
}

// helpText is what a person reads.
func helpText(c *cobra.Command) string {
	var b strings.Builder
	what := c.Long
	if what == "" {
		what = c.Short + "."
	}
	fmt.Fprintf(&b, "%s\n\nUsage: %s\n", what, usageOf(c))
	if len(c.Aliases) > 0 {
		fmt.Fprintf(&b, "Also:  %s\n", strings.Join(c.Aliases, ", "))
	}
	if c.Example != "" {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", c.Example)
	}
	for _, g := range groupsOf(c) {
		fmt.Fprintf(&b, "\n%s:\n", g.Title)
		for _, verb := range g.Verbs {
			if below, _, err := c.Find([]string{verb}); err == nil {
				fmt.Fprintf(&b, "  %-*s  %s\n", c.NamePadding(), verb, below.Short)
			}
		}
	}
	if own := c.NonInheritedFlags(); own.HasAvailableFlags() && c.HasParent() {
		fmt.Fprintf(&b, "\nOptions:\n%s", own.FlagUsages())
	}
	fmt.Fprintf(&b, "\nOptions of all verbs:\n%s", c.Root().PersistentFlags().FlagUsages())
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n\"%s VERB --help\" tells more.\n", c.CommandPath())
	}
	return b.String()
}

// usageOf is the line to type, with the place of the options.
func usageOf(c *cobra.Command) string {
	name, arguments, _ := strings.Cut(c.Use, " ")
	line := strings.TrimSuffix(c.CommandPath(), name) + name + " [OPTION…]"
	if c.HasAvailableSubCommands() {
		line += " [VERB]"
	}
	return strings.TrimSpace(line + " " + arguments)
}

func helpOn(c *cobra.Command) helpVerb {
	doc := helpVerb{
		Name: c.CommandPath(), Usage: usageOf(c), Aliases: append([]string{}, c.Aliases...), Short: c.Short, Long: c.Long, Example: c.Example,
		Hidden: c.Hidden, Options: []helpOption{}, Verbs: []helpVerb{}, Groups: append([]helpGroup{}, groupsOf(c)...),
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

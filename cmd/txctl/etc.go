// `txctl etc`.

package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/present"
)

func (a *app) etcCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "etc [NUMBER]",
		Short: "Show what a reboot will do to /etc, and which conflicts wait for a decision",
		Long: "etc shows how the running /etc and that of the pending snapshot, or of another one, differ, and what a\n" +
			"reboot will do: which edits of the running system come along, which files are merged line by line, and\n" +
			"of which both sides were changed so that only one can be in place. There the running side's is, and the\n" +
			"snapshot's is kept beside it as NAME.txupd-N until somebody decides. Nothing is changed by looking.",
		Example: "  txctl etc\n  txctl etc diff /etc/ssh",
		RunE: func(c *cobra.Command, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
				if err := snapshotName("NUMBER", name); err != nil {
					return a.noVerb(c, args)
				}
			}
			if err := atMostOne(c, args); err != nil {
				return err
			}
			return a.etc(name)
		},
		SuggestionsMinimumDistance: 2,
	}
	c.AddCommand(a.etcDiffCommand(), a.etcResolveCommand())
	return c
}

func (a *app) etc(name string) error {
	d, err := a.daemon()
	if err != nil {
		return err
	}
	doc, err := d.Etc(a.asked, name)
	if err != nil {
		return err
	}
	return a.look(doc, func(s present.Screen) string { return s.BothEtc(doc) })
}

func (a *app) etcDiffCommand() *cobra.Command {
	var o client.DiffOptions
	var name, context string
	c := &cobra.Command{
		Use:   "diff [PATH…]",
		Short: "Show line by line what a reboot will do to files in /etc",
		Long: "diff shows files in /etc as they run and as they will be after the reboot, when what was edited meanwhile\n" +
			"is merged. With --now it is the snapshot's /etc as it is now, without what will come along. PATH is a file,\n" +
			"a directory or a pattern.",
		Example: "  txctl etc diff\n  txctl etc diff /etc/ssh '/etc/**.conf'\n  txctl etc diff --snapshot 4",
		RunE: func(c *cobra.Command, paths []string) error {
			if name != "" {
				if err := snapshotName("--snapshot", name); err != nil {
					return err
				}
			}
			for _, p := range paths {
				if err := inEtc(p); err != nil {
					return err
				}
			}
			o.Paths = paths
			if c.Flags().Changed("unified") {
				n, err := strconv.ParseUint(context, 10, 16)
				if err != nil {
					return usagef("a number of lines is accepted", "-U: %s is no number of lines", short(context))
				}
				lines := uint32(n)
				o.Context = &lines
			}
			d, err := a.daemon()
			if err != nil {
				return err
			}
			doc, err := d.EtcDiff(a.asked, name, o)
			if err != nil {
				return err
			}
			return a.look(doc, func(s present.Screen) string { return s.EtcDiff(doc) })
		},
	}
	c.Flags().StringVar(&name, "snapshot", "", "with this `snapshot`: a number, default, pending or last-good (default: the pending one)")
	c.Flags().BoolVar(&o.Now, "now", false, "its /etc as it is now, without what a reboot brings along")
	c.Flags().StringVarP(&context, "unified", "U", "", "with this `number` of lines around each change (3)")
	return c
}

// inEtc checks a path in /etc.
func inEtc(p string) error {
	if err := absolute("PATH", p); err != nil {
		return err
	}
	if p != "/etc" && !strings.HasPrefix(p, "/etc/") {
		return usagef("something in /etc is accepted", "PATH: %s is not in /etc", short(p))
	}
	return nil
}

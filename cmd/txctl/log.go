// `txctl log`.

package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/present"
	"github.com/txupd/txupd/pkg/journal/record"
)

func (a *app) logCommand() *cobra.Command {
	var limit, since, until string
	var filter client.LogFilter
	var full, oneline bool
	c := &cobra.Command{
		Use:   "log",
		Short: "Show what happened, newest first, failures and deletions included",
		Long: "log shows the transactions that all the given conditions select, newest first. A time is a date\n" +
			"(2026-03-14, \"2026-03-14 15:04\"), \"today\", \"yesterday\", or how long ago it was (90m, 36h, 2d, 1w).\n" +
			"A path selects what changed it or something below it; * ? [a-z] and ** (also across /) match.",
		Example: "  txctl log --since 2d --full\n  txctl log --package nginx --state bad\n  txctl log --path '/etc/ssh/**' --actor anna",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if full && oneline {
				return usagef("one of both is accepted", "txctl log: --full and --oneline exclude each other")
			}
			var err error
			if filter.Limit, err = limitOf(c, limit, false); err != nil {
				return err
			}
			for _, f := range []struct{ name, value, wanted string }{
				{"package", filter.Package, "the name of a package"}, {"path", filter.Path, "an absolute path or pattern"},
				{"actor", filter.Actor, "the name or number of a user, or a unit"}, {"tag", filter.Tag, "one tag"}, {"grep", filter.Text, "a text"},
			} {
				if c.Flags().Changed(f.name) && f.value == "" {
					return usagef(f.wanted+" is accepted", "--%s: it is empty", f.name)
				}
			}
			if filter.Path != "" {
				if err := absolute("--path", filter.Path); err != nil {
					return err
				}
			}
			if c.Flags().Changed("state") && !slices.Contains(bus.States, filter.State) {
				return usagef("accepted are "+strings.Join(bus.States, ", "), "--state: %s is no state", short(filter.State))
			}
			if c.Flags().Changed("since") {
				if filter.Since, err = a.instant("--since", since); err != nil {
					return err
				}
			}
			if c.Flags().Changed("until") {
				if filter.Until, err = a.instant("--until", until); err != nil {
					return err
				}
			}
			return a.log(filter, full)
		},
	}
	flags := c.Flags()
	flags.StringVarP(&limit, "limit", "n", "", "show at most this `number` of transactions")
	flags.StringVar(&filter.Package, "package", "", "only those that changed this `package`")
	flags.StringVar(&filter.Path, "path", "", "only those that changed this `path`, what is below it, or what matches it")
	flags.StringVar(&since, "since", "", "only those begun at this `time` or later")
	flags.StringVar(&until, "until", "", "only those begun before this `time`")
	flags.StringVar(&filter.Actor, "actor", "", "only those of this `user` or unit")
	flags.StringVar(&filter.State, "state", "", "only those in this `state`: "+strings.Join(bus.States[:len(bus.States)-1], ", ")+" or "+bus.States[len(bus.States)-1])
	flags.StringVar(&filter.Tag, "tag", "", "only those with this `tag`")
	flags.StringVar(&filter.Text, "grep", "", "only those whose message or notes hold this `text`, in whatever case")
	flags.BoolVar(&full, "full", false, "show each with its commands and packages")
	flags.BoolVar(&oneline, "oneline", false, "show one line for each, as is usual")
	return c
}

// limitOf reads -n; 0 stands for no limit, where that may be said.
func limitOf(c *cobra.Command, text string, orAll bool) (uint64, error) {
	if !c.Flags().Changed("limit") {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || n == 0 && !orAll {
		hint := "a number from 1 on is accepted"
		if orAll {
			hint = "a number is accepted; 0 is without limit"
		}
		return 0, usagef(hint, "-n: %s is not such a number", short(text))
	}
	return n, nil
}

func (a *app) log(filter client.LogFilter, full bool) error {
	d, err := a.daemon()
	if err != nil {
		return err
	}
	filtered := filter != (client.LogFilter{Limit: filter.Limit})
	filter.Brief = !full && !a.json // one line of each has no room for more
	doc, err := d.Log(a.asked, filter)
	if err != nil {
		return err
	}
	if doc.Records == nil {
		doc.Records = []record.Record{}
	}
	return a.look(doc, func(s present.Screen) string {
		switch {
		case len(doc.Records) == 0 && filtered:
			return "Nothing that is recorded fits.\n"
		case full:
			return s.FullLog(doc)
		}
		return s.Log(doc)
	})
}

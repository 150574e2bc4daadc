// `txctl log`.

package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/busclient"
	"github.com/txupd/txupd/internal/present"
	"github.com/txupd/txupd/pkg/journal/record"
)

func (a *app) logCommand() *cobra.Command {
	var limit, name string
	var full bool
	c := &cobra.Command{
		Use:   "log",
		Short: "Show what happened, newest first, failures and deletions included",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			filter := busclient.LogFilter{Package: name}
			if c.Flags().Changed("limit") {
				n, err := strconv.ParseUint(limit, 10, 63)
				if err != nil || n == 0 {
					return usagef("a number from 1 on is accepted", "-n: %s is not a number of records", short(limit))
				}
				filter.Limit = n
			}
			if c.Flags().Changed("package") && name == "" {
				return usagef("the name of a package is accepted", "--package: it is empty")
			}
			d, err := a.daemon()
			if err != nil {
				return err
			}
			doc, err := d.Log(a.asked, filter)
			if err != nil {
				return err
			}
			if doc.Records == nil {
				doc.Records = []record.Record{}
			}
			return a.result(doc, func(s present.Screen) string { return logText(s, doc, full) })
		},
	}
	c.Flags().StringVarP(&limit, "limit", "n", "", "show at most this `number` of transactions")
	c.Flags().StringVar(&name, "package", "", "show only transactions that changed this package")
	c.Flags().BoolVar(&full, "full", false, "show each with its commands and packages")
	return c
}

func logText(s present.Screen, doc bus.Log, full bool) string {
	if full {
		return s.FullLog(doc)
	}
	return s.Log(doc)
}

// `txctl diff`.

package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/present"
	"github.com/txupd/txupd/pkg/journal/record"
)

func (a *app) diffCommand() *cobra.Command {
	var parts present.DiffParts
	var o client.DiffOptions
	var context string
	c := &cobra.Command{
		Use:   "diff [A [B]] [PATH…]",
		Short: "Show what is different between two snapshots",
		Long: "diff shows what is different between two snapshots, as they were committed: packages, and files with\n" +
			"the package that they belong to. Without A and B that is what runs and what is pending; without B, A\n" +
			"and what boots next. \"base\" as A is what B was made from. A root that txupd did not make is taken as\n" +
			"it was when the other's line was forked from it, else as it is now.\n" +
			"With --now both are taken as they are now; the same one twice shows what was written to it since it\n" +
			"was committed.",
		Example: "  txctl diff\n  txctl diff 3 7 /etc\n  txctl diff -p base 7 '/etc/**.conf'\n  txctl diff --now booted booted",
		RunE: func(c *cobra.Command, args []string) error {
			from, to, paths, err := diffArguments(args)
			if err != nil {
				return err
			}
			o.Paths = paths
			if c.Flags().Changed("unified") {
				n, err := strconv.ParseUint(context, 10, 16)
				if err != nil {
					return usagef("a number of lines is accepted", "-U: %s is no number of lines", short(context))
				}
				lines := uint32(n)
				o.Context, parts.Patch = &lines, true
			}
			o.Patch = parts.Patch
			if parts == (present.DiffParts{}) {
				parts.Packages, parts.Files = true, true
			}
			return a.diff(from, to, o, parts)
		},
	}
	flags := c.Flags()
	flags.BoolVar(&parts.Packages, "packages", false, "only packages")
	flags.BoolVar(&parts.Files, "files", false, "only files")
	flags.BoolVar(&parts.Stat, "stat", false, "only how many files, by the package that they belong to")
	flags.BoolVarP(&parts.Patch, "patch", "p", false, "only the contents of files, as a unified diff")
	flags.StringVarP(&context, "unified", "U", "", "-p with this `number` of lines around each change (3)")
	flags.BoolVar(&o.Now, "now", false, "compare them as they are now")
	return c
}

// diffArguments tells snapshots from paths.
func diffArguments(args []string) (from, to string, paths []string, err error) {
	for i, arg := range args {
		if strings.HasPrefix(arg, "/") {
			return from, to, args[i:], absoluteAll(args[i:])
		}
		if i > 1 {
			return "", "", nil, absolute("PATH", arg)
		}
		if i == 0 && arg == bus.WordBase {
			from = arg
			continue
		}
		if err := snapshotName([]string{"A", "B"}[i], arg); err != nil {
			return "", "", nil, err
		}
		if i == 0 {
			from = arg
		} else {
			to = arg
		}
	}
	return from, to, nil, nil
}

func absoluteAll(paths []string) error {
	for _, p := range paths {
		if err := absolute("PATH", p); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) diff(from, to string, o client.DiffOptions, parts present.DiffParts) error {
	d, err := a.daemon()
	if err != nil {
		return err
	}
	doc, err := d.Diff(a.asked, from, to, o)
	if err != nil {
		return err
	}
	if doc.Packages == nil {
		doc.Packages = []record.PackageChange{}
	}
	if doc.Files == nil {
		doc.Files = []record.FileChange{}
	}
	return a.look(doc, func(s present.Screen) string { return s.Diff(doc, parts) })
}

// What the shell completes: the arguments of each verb and the values of each
// option. Whatever goes wrong completes to nothing: nobody wants to read errors
// on the line that they type.

package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/present"
	"github.com/txupd/txupd/pkg/journal/record"
)

// completionPatience is how long somebody who pressed a key waits for the
// daemon. It may have to start first, and to finish what was interrupted.
const completionPatience = 2 * time.Second

// completedTransactions is how many of the latest are offered.
const completedTransactions = 100

// nothing is completed, not even the names of files.
const nothing = cobra.ShellCompDirectiveNoFileComp

// inOrder: as they are given, the likeliest first.
const inOrder = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder

// complete says for each verb and option of root what is completed. The library
// keeps that for as long as the process runs, so that it is said to it only when
// a shell asks.
func (a *app) complete(root *cobra.Command) {
	arguments, options := a.completedArguments(), a.completedOptions()
	eachVerb(root, func(c *cobra.Command) {
		switch complete := arguments[c.CommandPath()]; {
		case complete != nil:
			c.ValidArgsFunction = complete
		case c.ValidArgsFunction == nil && len(c.ValidArgs) == 0:
			c.ValidArgsFunction = fixed()
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.NoOptDefVal != "" || c.HasParent() && c.Parent().PersistentFlags().Lookup(f.Name) == f {
				return
			}
			complete, known := options[f.Name]
			if !known {
				complete = fixed()
			}
			// The only error is that there is one already.
			_ = c.RegisterFlagCompletionFunc(f.Name, complete)
		})
	})
}

// files leaves it to the shell.
func files(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// fixed completes some words.
func fixed(words ...string) cobra.CompletionFunc { return cobra.FixedCompletions(words, inOrder) }

// completedArguments is what is completed of the arguments of verbs; of others nothing is.
func (a *app) completedArguments() map[string]cobra.CompletionFunc {
	all, transaction := a.completeSnapshots(anySnapshot, snapshotWords...), atWord(0, a.completeTransactions)
	bootable := atWord(0, a.completeSnapshots(bootable, snapshotWords...))
	return map[string]cobra.CompletionFunc{
		"txctl show": transaction, "txctl note": transaction, "txctl output": transaction, "txctl replay": transaction,
		"txctl tag": func(c *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return transaction(c, args, toComplete)
			}
			return a.completeTags(nil)
		},
		"txctl pin":         atWord(0, a.completeSnapshots(func(s bus.Snapshot) bool { return !s.Pinned }, snapshotWords...)),
		"txctl unpin":       atWord(0, a.completeSnapshots(func(s bus.Snapshot) bool { return s.Pinned })),
		"txctl rollback":    bootable,
		"txctl boot-once":   bootable,
		"txctl delete":      a.completeSnapshots(deletable),
		"txctl diff":        a.completeDiff,
		"txctl blame":       atWord(0, pathOr(a.completePackages)),
		"txctl etc":         atWord(0, all),
		"txctl etc diff":    files,
		"txctl etc resolve": atWord(0, a.completeConflicts),
		"txctl pkg add":     a.completeNames,
		"txctl pkg remove":  a.completePackages,
		"txctl exec":        a.completeExec,
		"txctl commit":      atWord(0, a.completeOpen),
		"txctl discard":     atWord(0, a.completeOpen),
		"txctl run":         files,
		"txctl shell":       files,
	}
}

// completedOptions is what is completed of the values of options, whichever verb
// has them; of others, a number or a text, nothing is.
func (a *app) completedOptions() map[string]cobra.CompletionFunc {
	snapshots, times := a.completeSnapshots(anySnapshot, snapshotWords...), fixed("today", "yesterday", "1d", "1w")
	return map[string]cobra.CompletionFunc{
		"from": snapshots, "snapshot": snapshots,
		"tag": func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return a.completeTags(nil)
		},
		"remove": func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return a.completeTags(args)
		},
		"package": a.completePackages,
		"path":    files,
		"state":   fixed(bus.States...),
		"etc":     fixed(bus.EtcRestore, bus.EtcKeep),
		"var":     fixed("keep", "restore"),
		"since":   times, "until": times,
		"expires": fixed("1h", "24h", "7d", "never"),
	}
}

// eachVerb visits c and all below it.
func eachVerb(c *cobra.Command, visit func(*cobra.Command)) {
	visit(c)
	for _, below := range c.Commands() {
		eachVerb(below, visit)
	}
}

// atWord completes the argument at one place only.
func atWord(place int, f cobra.CompletionFunc) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) != place {
			return nil, nothing
		}
		return f(c, args, toComplete)
	}
}

// pathOr leaves what begins with "/" to the shell.
func pathOr(f cobra.CompletionFunc) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if strings.HasPrefix(toComplete, "/") {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return f(c, args, toComplete)
	}
}

// asking asks the daemon for what can be completed, and takes no for an answer.
func (a *app) asking(ask func(context.Context, daemon) ([]cobra.Completion, error)) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(a.asked, completionPatience)
	defer cancel()
	d, err := a.daemon()
	if err != nil {
		return nil, nothing
	}
	found, err := ask(ctx, d)
	if err != nil {
		return nil, nothing
	}
	return found, inOrder
}

// described is a word with what the shell shows beside it.
func described(word, text string) cobra.Completion {
	const most = 72
	text, _, _ = strings.Cut(text, "\n")
	text = present.Plain(text)
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return cobra.CompletionWithDesc(word, text)
}

func anySnapshot(bus.Snapshot) bool { return true }

func bootable(s bus.Snapshot) bool { return s.Phase == record.Committed }

// deletable leaves out what the daemon would refuse anyway.
func deletable(s bus.Snapshot) bool {
	return !s.Pinned && !s.Adopted && !slices.ContainsFunc(s.Roles, func(r string) bool { return r != bus.RoleSuperseded })
}

// completeSnapshots completes numbers, the newest first, and after them words.
func (a *app) completeSnapshots(wanted func(bus.Snapshot) bool, words ...string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return a.asking(func(ctx context.Context, d daemon) ([]cobra.Completion, error) {
			doc, err := d.List(ctx)
			if err != nil {
				return nil, err
			}
			var found, roles []cobra.Completion
			for _, s := range slices.Backward(doc.Snapshots) {
				number := strconv.FormatUint(s.Number, 10)
				if !wanted(s) || slices.Contains(args, number) {
					continue
				}
				text := s.Message
				if told := told(s.Roles); len(told) > 0 {
					text = strings.Join(told, ", ") + ": " + text
				}
				found = append(found, described(number, text))
				for _, word := range words {
					if slices.Contains(s.Roles, word) {
						roles = append(roles, described(word, fmt.Sprintf("%d: %s", s.Number, s.Message)))
					}
				}
			}
			return append(found, roles...), nil
		})
	}
}

// completeTransactions completes numbers of the latest, whatever became of them, and words.
func (a *app) completeTransactions(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.asking(func(ctx context.Context, d daemon) ([]cobra.Completion, error) {
		doc, err := d.Log(ctx, client.LogFilter{Limit: completedTransactions, Brief: true})
		if err != nil {
			return nil, err
		}
		var found []cobra.Completion
		for _, r := range doc.Records {
			text := r.Message
			if r.Phase != record.Committed {
				text = strings.TrimSuffix(string(r.Phase)+": "+text, ": ")
			}
			found = append(found, described(strconv.FormatUint(r.Number, 10), text))
		}
		return append(found, snapshotWords...), nil
	})
}

// completeTags completes the tags that there are: of the transaction that the
// first of args names, else all.
func (a *app) completeTags(args []string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.asking(func(ctx context.Context, d daemon) ([]cobra.Completion, error) {
		doc, err := d.Log(ctx, client.LogFilter{Brief: true})
		if err != nil {
			return nil, err
		}
		var tags []cobra.Completion
		for _, r := range doc.Records {
			if len(args) == 0 || args[0] == strconv.FormatUint(r.Number, 10) {
				tags = append(tags, r.Tags...)
			}
		}
		slices.Sort(tags)
		return slices.Compact(tags), nil
	})
}

// completePackages completes what is installed: where --from says, else in what
// the next transaction starts from.
func (a *app) completePackages(c *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	from := ""
	if f := c.Flags().Lookup("from"); f != nil {
		from = f.Value.String()
	}
	return a.asking(func(ctx context.Context, d daemon) ([]cobra.Completion, error) {
		doc, err := d.PackageList(ctx, from)
		if err != nil {
			return nil, err
		}
		var found []cobra.Completion
		for _, p := range doc.Packages {
			if strings.HasPrefix(p.Name, toComplete) && !slices.Contains(args, p.Name) {
				found = append(found, described(p.Name, p.Version))
			}
		}
		return slices.Compact(found), nil
	})
}

// completeNames completes what can be added, once there is a letter of it: all
// that a distribution has is no help.
func (a *app) completeNames(_ *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if toComplete == "" {
		return nil, nothing
	}
	return a.asking(func(ctx context.Context, d daemon) ([]cobra.Completion, error) {
		doc, err := d.PackageNames(ctx, toComplete)
		return slices.DeleteFunc(doc.Names, func(name string) bool { return slices.Contains(args, name) }), err
	})
}

// completeDiff completes two snapshots, and paths.
func (a *app) completeDiff(c *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	path := func(arg string) bool { return strings.HasPrefix(arg, "/") }
	if path(toComplete) || len(args) > 1 || slices.ContainsFunc(args, path) {
		return nil, cobra.ShellCompDirectiveDefault
	}
	found, directive := a.completeSnapshots(anySnapshot, snapshotWords...)(c, args, toComplete)
	if len(args) == 0 && len(found) > 0 {
		found = append(found, described(bus.WordBase, "what the second one was made from"))
	}
	return found, directive
}

// completeConflicts completes the files of /etc that wait for a decision.
func (a *app) completeConflicts(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.asking(func(ctx context.Context, d daemon) ([]cobra.Completion, error) {
		st, err := d.Status(ctx)
		if err != nil {
			return nil, err
		}
		var found []cobra.Completion
		for _, conflict := range st.EtcConflicts {
			found = append(found, described(conflict.Path, fmt.Sprintf("kept in %d: %s", conflict.Snapshot, conflict.Kept)))
		}
		return found, nil
	})
}

// completeOpen completes the transaction that is open.
func (a *app) completeOpen(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.asking(func(ctx context.Context, d daemon) ([]cobra.Completion, error) {
		st, err := d.Status(ctx)
		if err != nil || st.Transaction == nil {
			return nil, err
		}
		return []cobra.Completion{described(strconv.FormatUint(st.Transaction.Number, 10), st.Transaction.Message)}, nil
	})
}

// completeExec completes the open transaction, and behind "--" what the shell knows.
func (a *app) completeExec(c *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if a.dashes {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return atWord(0, a.completeOpen)(c, args, toComplete)
}

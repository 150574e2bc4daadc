// `txctl delete N…`.

package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/present"
)

func (a *app) deleteCommand() *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use:   "delete NUMBER…",
		Short: "Delete snapshots; their records stay",
		Long: "delete deletes the subvolumes of snapshots, after it asked. What happened in them is still known: \"txctl\n" +
			"log\", \"txctl show\" and \"txctl blame\" show it. Not deleted are what runs, what boots next, the last good one,\n" +
			"what is open or pinned, the system as txupd found it, and a snapshot whose writes to shared trees are still to\n" +
			"be handed over (5). A wrong number deletes none of them.",
		Example:    "  txctl delete 3 4\n  txctl delete -y 5",
		SuggestFor: []string{"rm", "remove"},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("usage: txctl "+c.Use, "txctl delete: NUMBER is missing")
			}
			var numbers []uint64
			for _, arg := range args {
				n, err := number("NUMBER", arg)
				if err != nil {
					return err
				}
				if !slices.Contains(numbers, n) {
					numbers = append(numbers, n)
				}
			}
			a.unrecorded("delete")
			return a.delete(numbers, dryRun)
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be done, and do nothing")
	a.waitFlag(c.Flags())
	return c
}

// deletion is the document of `delete`.
type deletion struct {
	Deleted []uint64 `json:"deleted"` // in a dry run: what would be
	DryRun  bool     `json:"dry_run"`
	Error   *failure `json:"error"`
}

func (a *app) delete(numbers []uint64, dryRun bool) error {
	d, err := a.daemon()
	if err != nil {
		return err
	}
	doomed, err := a.doomed(d, numbers)
	if err != nil {
		return err
	}
	if dryRun {
		return a.result(deletion{numbers, true, nil}, func(s present.Screen) string { return s.Deleted(numbers, true) })
	}
	question := fmt.Sprintf("Delete this snapshot?\n%sIts record stays, its files do not.", a.words().Deletion(doomed))
	if len(doomed) > 1 {
		question = fmt.Sprintf("Delete these %d snapshots?\n%sTheir records stay, their files do not.", len(doomed), a.words().Deletion(doomed))
	}
	if err := a.confirm("delete", question); err != nil {
		return err
	}
	doc := deletion{Deleted: []uint64{}}
	for _, n := range numbers {
		if a.asked.Err() != nil {
			err = fault.ErrCancelled
		} else {
			err = a.locked(d, func() error { return d.Delete(a.urged, n) })
		}
		if err != nil {
			doc.Error = failureOf(err)
			break
		}
		doc.Deleted = append(doc.Deleted, n)
	}
	if a.json {
		if e := a.document(doc); e != nil {
			return e
		}
	} else if len(doc.Deleted) > 0 {
		io.WriteString(a.out, a.screen().Deleted(doc.Deleted, false))
	}
	return err
}

// doomed finds the snapshots, so that a wrong number among them deletes none.
func (a *app) doomed(d daemon, numbers []uint64) ([]bus.Snapshot, error) {
	list, err := d.List(a.asked)
	if err != nil {
		return nil, err
	}
	found := make([]bus.Snapshot, len(numbers))
	for i, n := range numbers {
		at := slices.IndexFunc(list.Snapshots, func(one bus.Snapshot) bool { return one.Number == n })
		if at < 0 {
			return nil, fmt.Errorf("snapshot %d: %w", n, fault.ErrNotFound)
		}
		found[i] = list.Snapshots[at]
	}
	return found, nil
}

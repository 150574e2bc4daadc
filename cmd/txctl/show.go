// `txctl show N`.

package main

import (
	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/present"
)

func (a *app) showCommand() *cobra.Command {
	var files bool
	c := &cobra.Command{
		Use:   "show NUMBER|booted|default|pending|last-good",
		Short: "Show everything that is known of a snapshot and its transaction",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("usage: txctl "+c.Use, "txctl show: NUMBER is missing")
			}
			if err := atMostOne(c, args); err != nil {
				return err
			}
			if err := snapshotName("NUMBER", args[0]); err != nil {
				return err
			}
			return a.show(args[0], files)
		},
	}
	c.Flags().BoolVar(&files, "files", false, "show all changed files, however many")
	return c
}

func (a *app) show(name string, files bool) error {
	d, err := a.daemon()
	if err != nil {
		return err
	}
	st, err := d.Status(a.asked)
	if err != nil {
		return err
	}
	n, err := resolve("NUMBER", name, st)
	if err != nil {
		return err
	}
	rec, err := d.Show(a.asked, n)
	if err != nil {
		return err
	}
	return a.result(rec, func(s present.Screen) string { return s.Show(rec, rolesOf(n, st), files) })
}

// rolesOf names the roles that number n has.
func rolesOf(n uint64, st bus.Status) []string {
	var roles []string
	for _, r := range []struct {
		one  *bus.Snapshot
		name string
	}{{st.Booted, bus.RoleBooted}, {st.Pending, bus.RolePending}, {st.LastGood, bus.RoleLastGood}} {
		if r.one != nil && r.one.Number == n && !r.one.Foreign {
			roles = append(roles, r.name)
		}
	}
	return roles
}

// `txctl boot-once`, `txctl doctor` and `txctl setup`: how the machine boots.

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/present"
)

func (a *app) bootOnceCommand() *cobra.Command {
	var cancel bool
	c := &cobra.Command{
		Use:   "boot-once NUMBER|booted|default|pending|last-good",
		Short: "Boot a snapshot at the next boot, and only then",
		Long: "boot-once boots a snapshot one time: to try it, or to look at it. The boot after that is again\n" +
			"one of what boots by default. --cancel takes it back.",
		Example: "  txctl boot-once 7\n  txctl boot-once --cancel",
		RunE: func(c *cobra.Command, args []string) error {
			if err := atMostOne(c, args); err != nil {
				return err
			}
			if cancel != (len(args) == 0) {
				return usagef("usage: txctl "+c.Use, "txctl boot-once: either NUMBER or --cancel is accepted, and needed")
			}
			a.unrecorded("boot-once")
			if cancel {
				return a.bootOnce("")
			}
			if err := snapshotName("NUMBER", args[0]); err != nil {
				return err
			}
			return a.bootOnce(args[0])
		},
	}
	c.Flags().BoolVar(&cancel, "cancel", false, "take it back")
	a.waitFlag(c.Flags())
	return c
}

// bootedOnce is the document of `boot-once`.
type bootedOnce struct {
	Next    *uint64 `json:"next"`    // boots at the next boot only, null where it was taken back
	Default uint64  `json:"default"` // boots after that
}

func (a *app) bootOnce(name string) error {
	d, err := a.daemon()
	if err != nil {
		return err
	}
	doc := bootedOnce{}
	if err := a.locked(d, func() error {
		st, err := d.Status(a.urged)
		if err != nil {
			return err
		}
		if st.Default != nil {
			doc.Default = st.Default.Number
		}
		if name == "" {
			return d.BootOnce(a.urged, -1)
		}
		n, err := resolve("NUMBER", name, st)
		if err != nil {
			return err
		}
		doc.Next = &n
		return d.BootOnce(a.urged, int64(n))
	}); err != nil {
		return err
	}
	return a.result(doc, func(s present.Screen) string { return s.BootOnce(doc.Next, doc.Default) })
}

func (a *app) doctorCommand() *cobra.Command {
	var repair bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Show how this machine boots, what follows from it, and what to do",
		Long: "doctor shows how this machine boots, what is wrong, what to do, and what was repaired last.\n" +
			"--repair ends what was interrupted and rebuilds what is derived, as every start of the daemon does.",
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			d, err := a.daemon()
			if err != nil {
				return err
			}
			if repair {
				return a.repair(d)
			}
			doc, err := d.Doctor(a.asked)
			if err != nil {
				return err
			}
			return a.look(doc, func(s present.Screen) string { return s.Doctor(doc) })
		},
	}
	c.Flags().BoolVar(&repair, "repair", false, "end what was interrupted, and rebuild what is derived")
	a.waitFlag(c.Flags())
	return c
}

func (a *app) repair(d daemon) error {
	a.unrecorded("doctor --repair")
	var doc bus.Repair
	if err := a.locked(d, func() (err error) {
		doc, err = d.Repair(a.urged)
		return err
	}); err != nil {
		return err
	}
	if err := a.result(doc, func(s present.Screen) string { return s.Repair(doc) }); err != nil {
		return err
	}
	if len(doc.Left) > 0 {
		return fmt.Errorf("%w: %d things could not be repaired", fault.ErrUnreconciled, len(doc.Left))
	}
	return nil
}

// setUp is the document of `setup`.
type setUp struct {
	Done []string `json:"done"`
}

func (a *app) setupCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "setup",
		Short: "Prepare the boot loader, once for a machine",
		Long: "setup makes the boot loader read the menu in which every snapshot has its entry. Where the loader's\n" +
			"files lie in a root, it moves them to a subvolume of their own. It may be run again.",
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			a.unrecorded("setup")
			d, err := a.daemon()
			if err != nil {
				return err
			}
			var doc setUp
			if err := a.locked(d, func() (err error) {
				doc.Done, err = d.Setup(a.urged)
				return err
			}); err != nil {
				return err
			}
			return a.result(doc, func(s present.Screen) string { return s.SetUp(doc.Done) })
		},
	}
	a.waitFlag(c.Flags())
	return c
}

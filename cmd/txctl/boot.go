// `txctl boot-once`, `txctl doctor` and `txctl setup`: how the machine boots.

package main

import (
	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/present"
)

func (a *app) bootOnceCommand() *cobra.Command {
	var cancel bool
	c := &cobra.Command{
		Use:   "boot-once NUMBER|booted|default|pending|last-good",
		Short: "Boot a snapshot at the next boot, and only then",
		Long: "boot-once boots a snapshot one time: to try it, or to look at it. The boot after that is again\n" +
			"one of what boots by default. --cancel takes it back.",
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
	return &cobra.Command{
		Use:   "doctor",
		Short: "Show how this machine boots, what follows from it, and what to do",
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			d, err := a.daemon()
			if err != nil {
				return err
			}
			doc, err := d.Doctor(a.asked)
			if err != nil {
				return err
			}
			return a.result(doc, func(s present.Screen) string { return s.Doctor(doc) })
		},
	}
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

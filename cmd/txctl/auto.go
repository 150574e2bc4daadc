// `txctl auto`.

package main

import (
	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/present"
)

func (a *app) autoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "auto",
		Short: "Update unattended, by the policy of [auto]",
		Long: "auto is what txupd-auto.timer does every day where it is enabled. By auto.policy it looks whether there is an\n" +
			"update (check), makes it what boots next (stage), or also asks for a reboot in a window (apply). Where nothing\n" +
			"is to be updated, nothing is left behind. What is pending already is built upon. An update that brings again\n" +
			"all that a snapshot went bad with is held back until something of that changes. Where somebody is at work it\n" +
			"does nothing (6). A failure is shown by \"txctl status\" until one goes well.",
		Example: "  txctl auto\n  systemctl enable --now txupd-auto.timer",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			a.unrecorded("auto")
			d, err := a.daemon()
			if err != nil {
				return err
			}
			doc, err := d.Auto(a.asked)
			if err != nil {
				return err
			}
			return a.result(doc, func(s present.Screen) string { return s.Auto(doc) })
		},
	}
}

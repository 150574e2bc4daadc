// `txctl config`.

package main

import (
	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/present"
)

func (a *app) configCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Show the configuration that is in force, and where it comes from",
		Long: "config shows every key with its value and the file and line that it comes from. If a file is wrong, that is\n" +
			"said, and the values are the defaults. Keys are described in txupd.toml(5).",
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			d, err := a.daemon()
			if err != nil {
				return err
			}
			doc, err := d.Config(a.asked)
			if err != nil {
				return err
			}
			return a.look(doc, func(s present.Screen) string { return s.Config(doc) })
		},
	}
}

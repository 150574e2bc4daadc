// `txctl metrics`: the state in numbers, for those who watch many machines.

package main

import (
	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/metrics"
	"github.com/txupd/txupd/internal/present"
)

func (a *app) metricsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "metrics",
		Short: "Print the state in numbers, as Prometheus reads them",
		Long: "metrics prints what runs and what boots next, whether a reboot is needed, what unattended updates came to, how\n" +
			"many snapshots there are and how much is free, in the text format of Prometheus. The daemon writes the same to a\n" +
			"file after each change (metrics.textfile), and txupd-metrics.socket answers it over HTTP on a socket.",
		Example: "  txctl metrics\n  curl --unix-socket /run/txupd/metrics.sock http://localhost/metrics",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			d, err := a.daemon()
			if err != nil {
				return err
			}
			doc, err := d.Metrics(a.asked)
			if err != nil {
				return err
			}
			return a.result(doc, func(present.Screen) string { return metrics.Text(doc.Families) })
		},
	}
}

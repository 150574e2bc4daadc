// `txupd metrics`, which txupd-metrics.socket starts: the state in numbers over HTTP.

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/daemon"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/metrics"
)

// metricsIdle is after how long without a request it leaves: the next one starts it again.
const metricsIdle = time.Minute

func metricsServer(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("txupd metrics", flag.ContinueOnError)
	flags.SetOutput(stderr)
	debug := flags.Bool("debug", false, "say more")
	if err := flags.Parse(args); err != nil {
		return fault.Usage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "txupd metrics: %q: no arguments are accepted, only options\n", flags.Arg(0))
		return fault.Usage
	}
	sockets, err := activation.Listeners()
	if err != nil || len(sockets) != 1 {
		fmt.Fprintf(stderr, "txupd metrics: it is started by txupd-metrics.socket with one socket; there are %d\n", len(sockets))
		return fault.Usage
	}
	if err := daemon.ServeMetrics(context.Background(), sockets[0], metricsIdle, logger(stderr, *debug), ask); err != nil {
		fmt.Fprintln(stderr, "txupd metrics:", err)
		return fault.Exit(err)
	}
	return 0
}

// ask asks the daemon, which is started where it does not run.
func ask(r *http.Request) (string, error) {
	d, err := client.Connect(r.Context())
	if err != nil {
		return "", err
	}
	defer d.Close()
	doc, err := d.Metrics(r.Context())
	if err != nil {
		return "", err
	}
	return metrics.Text(doc.Families), nil
}

// txctl changes and looks at a system by way of the daemon on the bus.
package main

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/bus"
)

// version is set when a release is built.
var version = "devel"

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := newApp(stdin, stdout, stderr, os.Getenv)
	a.now = time.Now
	a.connect = func(ctx context.Context, progress func(uint64, bus.Progress)) (daemon, error) {
		c, err := client.Connect(ctx)
		if err != nil {
			return nil, err
		}
		c.OnProgress(progress)
		if a.mayAsk() {
			c.OnAsking(a.passwordAgent)
		}
		return onBus{c}, nil
	}
	stop := a.catchSignals()
	defer stop()
	return a.run(args)
}

// Signals that ask txctl to end: the first cancels what it asked for and waits
// for that, the second leaves at once.

package main

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// catchSignals makes asked and urged follow the signals; stop gives them back.
func (a *app) catchSignals() (stop func()) {
	asked, ask := context.WithCancel(context.Background())
	urged, urge := context.WithCancel(context.Background())
	a.asked, a.urged, a.ask = asked, urged, ask
	came := make(chan os.Signal, 2)
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP} {
		// Whoever started us to ignore it (nohup) is heard.
		if !signal.Ignored(s) {
			signal.Notify(came, s)
		}
	}
	ended := make(chan struct{})
	go func() {
		for _, end := range []func(){ask, urge} {
			select {
			case <-came:
				end()
			case <-ended:
				return
			}
		}
	}()
	return func() {
		signal.Stop(came)
		close(ended)
		ask()
		urge()
	}
}

// `txctl watch`.

package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/txupd/txupd/internal/bus"
)

func (a *app) watchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "watch",
		Short: "Show what happens, as it happens, until Ctrl-C",
		Long: "watch tells when a transaction begins, what it is doing and how it ends, which snapshots come and go, and what\n" +
			"boots next, whoever does it. Ctrl-C ends it, and it alone. With --json there is a document on each line.",
		Example: "  txctl watch\n  txctl watch --json | jq --unbuffered 'select(.event == \"boots-next\")'",
		Args:    noArguments,
		RunE:    func(*cobra.Command, []string) error { return a.watchEvents() },
	}
}

func (a *app) watchEvents() error {
	d, err := a.daemon()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(a.asked)
	defer stop(nil)
	a.lines = true
	lines := a.screen().NewWatching()
	err = d.Watch(ctx, func(e bus.Event) {
		var err error
		if a.json {
			err = a.document(e)
		} else {
			_, err = io.WriteString(a.out, lines.Line(e))
		}
		if err != nil {
			stop(err) // nobody reads any more
		}
	})
	if a.asked.Err() != nil {
		return nil // that is how it ends
	}
	return err
}

// Following the streams of a transaction or of one of its commands.

package main

import (
	"context"
	"io"
	"os"
	"sync"
)

// pipes are where the streams of a command go. A nil reader is nothing to read.
type pipes struct {
	in       io.Reader
	out, err io.Writer
}

// attached is a transaction that is being read along.
type attached struct{ copies sync.WaitGroup }

// attach starts copying, of the given command alone or for nil of everything.
func attach(ctx context.Context, t transaction, command *uint32, p pipes) (*attached, error) {
	streams, err := t.Attach(ctx, command)
	if err != nil {
		return nil, err
	}
	if p.in == nil {
		streams.Stdin.Close()
	} else {
		// Nobody waits for this one: a read of a terminal or pipe cannot be interrupted.
		go func() {
			defer streams.Stdin.Close()
			// A command that ends, or that does not read, is no failure.
			_, _ = io.Copy(streams.Stdin, p.in)
		}()
	}
	a := &attached{}
	for from, to := range map[*os.File]io.Writer{streams.Stdout: p.out, streams.Stderr: p.err} {
		a.copies.Go(func() {
			defer from.Close()
			if _, err := io.Copy(to, from); err != nil {
				// Nobody reads any more; the command goes on all the same.
				_, _ = io.Copy(io.Discard, from)
			}
		})
	}
	return a, nil
}

// finish waits for the end of the streams, which comes with that of what was attached to.
func (a *attached) finish() { a.copies.Wait() }

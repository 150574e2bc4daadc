// Following the streams of a transaction or of one of its commands.

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// pipes are where the streams of a command go. A nil reader is nothing to read.
type pipes struct {
	in       io.Reader
	out, err io.Writer
}

// attached is a transaction that is being read along.
type attached struct {
	copies sync.WaitGroup
	ended  chan struct{}
}

// attach starts copying, from the output of the given command on.
func attach(ctx context.Context, t transaction, command uint32, p pipes) (*attached, error) {
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
	a := &attached{ended: make(chan struct{})}
	for from, to := range map[*os.File]io.Writer{streams.Stdout: p.out, streams.Stderr: p.err} {
		a.copies.Go(func() { a.copy(to, from) })
	}
	return a, nil
}

// finish waits for the end of the streams, after that of the transaction.
func (a *attached) finish() { a.copies.Wait() }

// finishCommand waits for the last words of a command that has ended in a
// transaction that goes on, and whose streams stay open.
func (a *attached) finishCommand() {
	close(a.ended)
	a.copies.Wait()
}

// quiet is how long streams must be silent after the end of their command.
const quiet = 100 * time.Millisecond

func (a *attached) copy(to io.Writer, from *os.File) {
	defer from.Close()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-a.ended:
			_ = from.SetReadDeadline(time.Now().Add(quiet)) // a closed file reads its end
		case <-stop:
		}
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// What came while nobody looked at the clock is read all the same.
			n, err = readNow(from, buf)
		}
		if n > 0 {
			if _, e := to.Write(buf[:n]); e != nil {
				to = io.Discard // the command goes on although nobody reads
			}
			select {
			case <-a.ended:
				_ = from.SetReadDeadline(time.Now().Add(quiet))
			default:
			}
		}
		if err != nil {
			return
		}
	}
}

// readNow reads what is there, and fails where nothing is.
func readNow(from *os.File, buf []byte) (n int, err error) {
	raw, err := from.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { n, failed = unix.Read(int(fd), buf) })
	if err = errors.Join(err, failed); err == nil && n == 0 {
		err = io.EOF
	}
	return max(n, 0), err
}

// Reading along: what a client that attaches to a transaction gets, and that
// nothing of it stays once the client has gone.

package update

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/fault"
)

// maxReaders bounds how many may read along.
const maxReaders = 64

// reader is who reads one stream along.
type reader struct{ left bool }

// join lets n more read along, each of them to the end of copyTo.
func (o *Output) join(n int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.readers+n > maxReaders {
		return fmt.Errorf("%w: %d streams of it are read already, at most %d may be", fault.ErrBusy, o.readers, maxReaders)
	}
	o.readers += n
	return nil
}

// dismiss ends a reader that will read no more. It may be waiting for what
// nobody prints, for as long as the transaction lives.
func (o *Output) dismiss(r *reader) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r.left = true
	o.grown.Broadcast()
}

// Attachment is a client's ends of a transaction's streams.
type Attachment struct{ Stdin, Stdout, Stderr *os.File }

// Attach lets a client read along, from the given command on, and write what
// the running command reads: the first who asks gets that, others a pipe that
// leads nowhere.
func (t *Transaction) Attach(command int) (Attachment, error) {
	outR, outW, err := os.Pipe()
	if err != nil {
		return Attachment{}, err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		return Attachment{}, errors.Join(err, outR.Close(), outW.Close())
	}
	if err := t.output.join(2); err != nil {
		err = fmt.Errorf("cannot attach to transaction %d: %w", t.number, err)
		return Attachment{}, errors.Join(err, outR.Close(), outW.Close(), errR.Close(), errW.Close())
	}
	for s, w := range map[Stream]*os.File{Stdout: outW, Stderr: errW} {
		r := &reader{}
		go func() {
			awaitHangUp(w)
			t.output.dismiss(r)
		}()
		go func() {
			defer w.Close()
			// A client that leaves is no failure of ours.
			_ = t.output.copyTo(r, w, s, command)
		}()
	}
	in, err := t.claimStdin()
	if err != nil { // who reads nothing ends what was begun
		return Attachment{}, errors.Join(err, outR.Close(), errR.Close())
	}
	return Attachment{Stdin: in, Stdout: outR, Stderr: errR}, nil
}

// awaitHangUp waits until nobody can read what is written to a pipe any more, or it was closed.
func awaitHangUp(w *os.File) {
	c, err := w.SyscallConn()
	if err != nil {
		return
	}
	// A pipe is never readable at this end: what wakes us is an error.
	_ = c.Read(func(fd uintptr) bool {
		poll := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(poll, 0)
		return err == nil && n == 1 && poll[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0
	})
}

func (t *Transaction) claimStdin() (*os.File, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stdin != nil && !t.stdin.taken {
		t.stdin.taken = true
		return t.stdin.write, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return w, r.Close()
}

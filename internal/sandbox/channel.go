// The wire between the daemon and the sandbox's pid 1: a stream socket pair
// with length-prefixed frames, descriptors beside the prefix. A stream, because
// a datagram cannot be larger than the send buffer, and argument lists can.

package sandbox

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// maxFrame is above what the kernel takes as arguments and environment (6 MiB).
	maxFrame = 16 << 20
	maxFiles = 4
)

// channel is one end. Reads block a thread: the other end's death is then
// noticed by the kernel's wake-up alone, without a poller or a timer.
type channel struct {
	fd     int
	write  sync.Mutex
	closed bool // guarded by write: the number may be another file's afterwards
}

// socketpair makes both ends, close-on-exec.
func socketpair() (ours *channel, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a socket pair: %w", err)
	}
	return &channel{fd: fds[0]}, os.NewFile(uintptr(fds[1]), "sandbox"), nil
}

// send writes one message with descriptors, which stay the caller's.
func (c *channel) send(m message, fds ...int) error {
	c.write.Lock()
	defer c.write.Unlock()
	if c.closed {
		return ErrEnded
	}
	frame := append(make([]byte, 4), encode(m)...)
	if len(frame) > maxFrame {
		return fmt.Errorf("the arguments and environment are %d bytes long, more than %d", len(frame), maxFrame)
	}
	binary.LittleEndian.PutUint32(frame, uint32(len(frame)-4))
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	// The prefix travels alone with the descriptors, so that its reader gets them whole.
	if _, err := retry(func() (int, error) {
		return unix.SendmsgN(c.fd, frame[:4], rights, nil, unix.MSG_NOSIGNAL)
	}); err != nil {
		return err
	}
	for rest := frame[4:]; len(rest) > 0; {
		n, err := retry(func() (int, error) { return unix.SendmsgN(c.fd, rest, nil, nil, unix.MSG_NOSIGNAL) })
		if err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// receive waits for the next message. io.EOF means that the other end is gone.
// The descriptors are close-on-exec and the caller's.
func (c *channel) receive() (message, []int, error) {
	var prefix [4]byte
	rights := make([]byte, unix.CmsgSpace(4*maxFiles))
	var oobn int
	n, err := retry(func() (int, error) {
		n, o, _, _, err := unix.Recvmsg(c.fd, prefix[:], rights, unix.MSG_CMSG_CLOEXEC|unix.MSG_WAITALL)
		oobn = o
		return n, err
	})
	if err != nil {
		return nil, nil, err
	}
	if n == 0 {
		return nil, nil, io.EOF
	}
	fds, err := parseRights(rights[:oobn])
	if err != nil {
		return nil, nil, err
	}
	m, err := c.body(prefix[:n])
	if err != nil {
		closeAll(fds)
		return nil, nil, err
	}
	return m, fds, nil
}

func (c *channel) body(prefix []byte) (message, error) {
	if len(prefix) < 4 {
		return nil, io.ErrUnexpectedEOF
	}
	size := binary.LittleEndian.Uint32(prefix)
	if size > maxFrame {
		return nil, fmt.Errorf("internal error: sandbox message of %d bytes", size)
	}
	frame := make([]byte, size)
	for at := 0; at < len(frame); {
		n, err := retry(func() (int, error) { return unix.Read(c.fd, frame[at:]) })
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, io.ErrUnexpectedEOF
		}
		at += n
	}
	return decode(frame)
}

// close ends it, when nobody receives any more.
func (c *channel) close() error {
	c.write.Lock()
	defer c.write.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	return unix.Close(c.fd)
}

func parseRights(oob []byte) ([]int, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("cannot read the descriptors of a sandbox message: %w", err)
	}
	var fds []int
	for i := range messages {
		got, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue
		}
		fds = append(fds, got...)
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// retry repeats a call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}

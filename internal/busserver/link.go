// The socket to the bus, between it and the library. The library's own reading
// is not up to strangers: it ends the connection where the bus allows what it
// does not, keeps descriptors that nobody asked for, decodes whatever is sent
// before anybody can say no, and starts a goroutine for each call. So calls are
// taken out here, before they are decoded, and the library sees only what the
// bus itself says.

package busserver

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

const (
	// maxCall is the longest call that is read, head and all (bytes).
	maxCall = 2 << 20
	// maxAnswer is the longest message that we send: at 32 MiB the bus would throw us out.
	maxAnswer = 16 << 20
)

// busName is the bus itself, as sender of signals and answers.
const busName = "org.freedesktop.DBus"

// incoming is a method call as it came.
type incoming struct {
	header
	size int64  // of the whole message (bytes)
	raw  []byte // all of it, once it was accepted
	from *caller
	user *uint32 // for whom it is counted, once that is known
}

func (in *incoming) wantsAnswer() bool { return in.flags&dbus.FlagNoReplyExpected == 0 }

// receiver is who takes the calls. None of its functions may take long: nothing is read meanwhile.
type receiver struct {
	// accept decides by the head whether the body is read. Who is refused is told so by refuse.
	accept func(*incoming) error
	refuse func(*incoming, error)
	serve  func(*incoming)
}

// link is the transport under the library.
type link struct {
	socket *net.UnixConn
	in     *bufio.Reader
	to     receiver
	begun  bool   // messages are exchanged; before, the lines of the authentication
	rest   []byte // of a message that the library has not read to its end

	mu     sync.Mutex // held while a message is written
	serial uint32

	hearing sync.Mutex
	heard   map[string]int // by unique name: how many questions wait for its answers
}

// newLink takes over a socket on which nothing was said yet.
func newLink(socket *net.UnixConn, to receiver) *link {
	return &link{socket: socket, in: bufio.NewReaderSize(deaf{socket, make([]byte, 4096)}, 64<<10), to: to}
}

// connect authenticates and says hello; from here on calls come in.
func (l *link) connect() (*dbus.Conn, error) {
	conn, err := dbus.NewConn(l, dbus.WithSerialGenerator(l), dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if err := conn.Auth(nil); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := conn.Hello(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// Read gives the library what the bus says, and nothing of others.
func (l *link) Read(p []byte) (int, error) {
	if !l.begun {
		return l.in.Read(p)
	}
	for len(l.rest) == 0 {
		message, err := l.next()
		if err != nil {
			return 0, err
		}
		l.rest = message
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

// next reads up to the next message of the bus; calls before it are served.
func (l *link) next() ([]byte, error) {
	var fixed [fixedHeader]byte
	for {
		if _, err := io.ReadFull(l.in, fixed[:]); err != nil {
			return nil, err
		}
		fields, body, err := lengths(fixed[:])
		if err != nil {
			return nil, err
		}
		if fields > maxCall { // not even who sent it is worth reading that
			if err := l.skip(fields + body); err != nil {
				return nil, err
			}
			continue
		}
		head := make([]byte, fixedHeader+fields)
		copy(head, fixed[:])
		if _, err := io.ReadFull(l.in, head[fixedHeader:]); err != nil {
			return nil, err
		}
		h, err := readHeader(head)
		switch {
		case err == nil && h.kind == dbus.TypeMethodCall:
			err = l.take(&incoming{header: h, size: int64(len(head)) + body}, head, body)
		case err == nil && body <= maxCall && (h.sender == busName || l.hears(h)):
			return l.whole(head, body)
		default:
			// Signals and answers of others: nobody here waits for any.
			err = l.skip(body)
		}
		if err != nil {
			return nil, err
		}
	}
}

// hear lets the library see answers of one more connection, which we trust.
func (l *link) hear(unique string) (done func()) {
	change := func(by int) {
		l.hearing.Lock()
		defer l.hearing.Unlock()
		if l.heard == nil {
			l.heard = map[string]int{}
		}
		if l.heard[unique] += by; l.heard[unique] == 0 {
			delete(l.heard, unique)
		}
	}
	change(1)
	return sync.OnceFunc(func() { change(-1) })
}

// hears reports whether a message is such an answer.
func (l *link) hears(h header) bool {
	if h.kind != dbus.TypeMethodReply && h.kind != dbus.TypeError {
		return false
	}
	l.hearing.Lock()
	defer l.hearing.Unlock()
	return l.heard[h.sender] > 0
}

// take reads a call to its end.
func (l *link) take(in *incoming, head []byte, body int64) error {
	if refused := l.to.accept(in); refused != nil {
		if err := l.skip(body); err != nil {
			return err
		}
		l.to.refuse(in, refused)
		return nil
	}
	raw, err := l.whole(head, body)
	if err != nil {
		return err
	}
	in.raw = raw
	l.to.serve(in)
	return nil
}

func (l *link) whole(head []byte, body int64) ([]byte, error) {
	raw := make([]byte, int64(len(head))+body)
	copy(raw, head)
	_, err := io.ReadFull(l.in, raw[len(head):])
	return raw, err
}

func (l *link) skip(n int64) error {
	_, err := io.CopyN(io.Discard, l.in, n)
	return err
}

// Write sends what the library says: a line of the authentication, or one whole message.
func (l *link) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.begun {
		if string(p) == "BEGIN\r\n" {
			if err := l.negotiate(); err != nil {
				return 0, err
			}
			l.begun = true
		}
		return l.socket.Write(p)
	}
	return len(p), l.put(p, nil)
}

// negotiate agrees with the bus that descriptors may be passed. The library
// does that only where it reads the socket itself.
func (l *link) negotiate() error {
	if _, err := l.socket.Write([]byte("NEGOTIATE_UNIX_FD\r\n")); err != nil {
		return err
	}
	answer, err := l.in.ReadString('\n')
	if err != nil {
		return err
	}
	if strings.TrimSpace(answer) != "AGREE_UNIX_FD" {
		return fmt.Errorf("the bus passes no descriptors: %q", strings.TrimSpace(answer))
	}
	return nil
}

func (l *link) Close() error { return l.socket.Close() }

// encode makes the bytes of a message that goes with so many files.
func (l *link) encode(message *dbus.Message, files int) ([]byte, error) {
	if files > 0 {
		message.Headers[dbus.FieldUnixFDs] = dbus.MakeVariant(uint32(files))
	}
	var b bytes.Buffer
	if err := message.EncodeTo(&b, binary.LittleEndian); err != nil {
		return nil, err
	}
	if b.Len() > maxAnswer {
		return nil, tooLong(b.Len())
	}
	// Bytes 8 to 11 are the serial, which the library sets in its own messages only.
	binary.LittleEndian.PutUint32(b.Bytes()[8:], l.GetSerial())
	return b.Bytes(), nil
}

// send sends what encode made, with the files that its descriptors stand for, in their order.
func (l *link) send(raw []byte, files []*os.File) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.put(raw, files)
}

// tooLong is a message that the bus would not take.
type tooLong int

func (n tooLong) Error() string {
	return fmt.Sprintf("a message of %d bytes cannot be sent, only up to %d", int(n), maxAnswer)
}

// put writes one whole message. l.mu is held.
func (l *link) put(p []byte, files []*os.File) error {
	if len(p) > maxAnswer {
		return tooLong(len(p))
	}
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd()) // and so it blocks those who read it, as they expect
		}
		n, _, err := l.socket.WriteMsgUnix(p, unix.UnixRights(fds...), nil)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	_, err := l.socket.Write(p)
	return err
}

// GetSerial and RetireSerial make the link the connection's generator of serials.
func (l *link) GetSerial() uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.serial++; l.serial == 0 {
		l.serial = 1
	}
	return l.serial
}

func (l *link) RetireSerial(uint32) {}

// deaf reads a socket and closes the descriptors that come with it: we take none.
type deaf struct {
	*net.UnixConn
	control []byte
}

func (d deaf) Read(p []byte) (int, error) {
	n, c, _, _, err := d.ReadMsgUnix(p, d.control)
	if c > 0 {
		closeRights(d.control[:c])
	}
	return max(n, 0), err // -1 goes with an error
}

func closeRights(control []byte) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
}

var (
	_ io.ReadWriteCloser   = (*link)(nil)
	_ dbus.SerialGenerator = (*link)(nil)
)

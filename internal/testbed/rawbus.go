// A client of the bus without a library, which sends what a library would not.

package testbed

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/bus"
)

// RawBus is a connection to the bus. It starts no goroutine, and reads answers only when it is asked to.
type RawBus struct {
	Name   string // the unique one
	socket *net.UnixConn
	in     *bufio.Reader
	serial uint32
}

// RawCall is a message to be sent, a method call of org.txupd1 unless it says otherwise.
type RawCall struct {
	Type        dbus.Type
	Flags       dbus.Flags
	Destination string // "" is org.txupd1
	Path        string // "" is /org/txupd1
	Interface   string
	Member      string
	Signature   string
	Body        []byte // little endian, as Signature has it
	Files       []int  // descriptors that go along
}

// Raw connects to the bus as who we are and says hello.
func (b *Bus) Raw() (*RawBus, error) { return b.RawAs(os.Geteuid()) }

// RawAs connects to the bus as another user, for which we have to be root.
func (b *Bus) RawAs(uid int) (*RawBus, error) {
	socket, err := b.dialAs(uid)
	if err != nil {
		return nil, err
	}
	r := &RawBus{socket: socket, in: bufio.NewReader(socket)}
	if err := r.begin(uid); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot connect to the bus: %w", err), socket.Close())
	}
	return r, nil
}

// dialAs connects in a thread that has become the user: the kernel tells the
// bus who a socket's other end was when it connected.
func (b *Bus) dialAs(uid int) (socket *net.UnixConn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if uid != os.Geteuid() {
			runtime.LockOSThread() // for good: the thread ends with this goroutine
			if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
				err = fmt.Errorf("cannot become user %d: %w", uid, errno)
				return
			}
		}
		path, _ := strings.CutPrefix(b.Address, "unix:path=")
		socket, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	}()
	<-done
	return socket, err
}

func (r *RawBus) begin(uid int) error {
	for _, line := range []string{fmt.Sprintf("\x00AUTH EXTERNAL %x\r\n", fmt.Sprint(uid)), "NEGOTIATE_UNIX_FD\r\n"} {
		if _, err := r.socket.Write([]byte(line)); err != nil {
			return err
		}
		answer, err := r.in.ReadString('\n')
		if err != nil {
			return err
		}
		if !strings.HasPrefix(answer, "OK ") && !strings.HasPrefix(answer, "AGREE_UNIX_FD") {
			return fmt.Errorf("the bus answers %q", answer)
		}
	}
	if _, err := r.socket.Write([]byte("BEGIN\r\n")); err != nil {
		return err
	}
	serial, err := r.Send(RawCall{Destination: "org.freedesktop.DBus", Path: "/org/freedesktop/DBus", Interface: "org.freedesktop.DBus", Member: "Hello"})
	if err != nil {
		return err
	}
	m, err := r.Answer(serial)
	if err != nil {
		return err
	}
	return dbus.Store(m.Body, &r.Name)
}

// Patience ends reads and writes that take longer than that from now on.
func (r *RawBus) Patience(d time.Duration) error { return r.socket.SetDeadline(time.Now().Add(d)) }

// Close leaves the bus.
func (r *RawBus) Close() error { return r.socket.Close() }

// Send sends a message and returns its serial.
func (r *RawBus) Send(c RawCall) (uint32, error) {
	raw, err := r.encode(c)
	if err != nil {
		return 0, err
	}
	if len(c.Files) > 0 {
		n, _, err := r.socket.WriteMsgUnix(raw, unix.UnixRights(c.Files...), nil)
		if err != nil {
			return 0, err
		}
		raw = raw[n:]
	}
	_, err = r.socket.Write(raw)
	return r.serial, err
}

// SendHalf sends only the first half of a message.
func (r *RawBus) SendHalf(c RawCall) error {
	raw, err := r.encode(c)
	if err != nil {
		return err
	}
	_, err = r.socket.Write(raw[:len(raw)/2])
	return err
}

func (r *RawBus) encode(c RawCall) ([]byte, error) {
	if c.Type == 0 {
		c.Type = dbus.TypeMethodCall
	}
	if c.Destination == "" {
		c.Destination = bus.Name
	}
	if c.Path == "" {
		c.Path = bus.Path
	}
	m := dbus.Message{Type: c.Type, Flags: c.Flags, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(c.Destination), dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath(c.Path)),
		dbus.FieldMember: dbus.MakeVariant(c.Member),
	}}
	if c.Interface != "" {
		m.Headers[dbus.FieldInterface] = dbus.MakeVariant(c.Interface)
	}
	if c.Signature != "" {
		signature, err := dbus.ParseSignature(c.Signature)
		if err != nil {
			return nil, err
		}
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(signature)
	}
	if len(c.Files) > 0 {
		m.Headers[dbus.FieldUnixFDs] = dbus.MakeVariant(uint32(len(c.Files)))
	}
	var head bytes.Buffer
	if err := m.EncodeTo(&head, binary.LittleEndian); err != nil {
		return nil, err
	}
	r.serial++
	raw := head.Bytes()
	binary.LittleEndian.PutUint32(raw[4:], uint32(len(c.Body)))
	binary.LittleEndian.PutUint32(raw[8:], r.serial)
	return append(raw, c.Body...), nil
}

// Answer reads up to the answer to a call. An error message is a dbus.Error.
func (r *RawBus) Answer(serial uint32) (*dbus.Message, error) {
	for {
		m, err := dbus.DecodeMessage(r.in)
		if err != nil {
			return nil, err
		}
		if to, ok := m.Headers[dbus.FieldReplySerial].Value().(uint32); !ok || to != serial {
			continue
		}
		if m.Type == dbus.TypeError {
			name, _ := m.Headers[dbus.FieldErrorName].Value().(string)
			return m, dbus.Error{Name: name, Body: m.Body}
		}
		return m, nil
	}
}

// Next reads the next answer, whatever it is to, and returns the serial of its call.
func (r *RawBus) Next() (uint32, error) {
	for {
		m, err := dbus.DecodeMessage(r.in)
		if err != nil {
			return 0, err
		}
		if to, ok := m.Headers[dbus.FieldReplySerial].Value().(uint32); ok {
			return to, nil
		}
	}
}

// RawBody encodes values as a body.
func RawBody(values ...any) (signature string, body []byte) {
	m := dbus.Message{Type: dbus.TypeSignal, Body: values, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/")), dbus.FieldInterface: dbus.MakeVariant("a.b"), dbus.FieldMember: dbus.MakeVariant("c"),
		dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(values...)),
	}}
	var b bytes.Buffer
	if err := m.EncodeTo(&b, binary.LittleEndian); err != nil {
		panic(err) // values of a test that cannot be sent are an error of the test
	}
	n := binary.LittleEndian.Uint32(b.Bytes()[4:]) // the length of the body
	return dbus.SignatureOf(values...).String(), b.Bytes()[b.Len()-int(n):]
}

// RawNested is the body of options (a{sv}) in which one, of that name, is so many
// variants around an empty array of the given type. Libraries refuse to write
// what is nested as deeply as the bus lets pass.
func RawNested(option string, variants int, array string) []byte {
	var b bytes.Buffer
	pad := func(n int) {
		for b.Len()%n != 0 {
			b.WriteByte(0)
		}
	}
	number := func(n int) {
		pad(4)
		b.Write(binary.LittleEndian.AppendUint32(nil, uint32(n)))
	}
	number(0) // the length of the map, below
	pad(8)
	number(len(option))
	b.WriteString(option + "\x00")
	for range variants - 1 {
		b.WriteString("\x01v\x00")
	}
	b.WriteByte(byte(len(array)))
	b.WriteString(array + "\x00")
	number(0)
	if array[1] == '{' || array[1] == '(' || array[1] == 't' {
		pad(8)
	}
	binary.LittleEndian.PutUint32(b.Bytes(), uint32(b.Len()-8))
	return b.Bytes()
}

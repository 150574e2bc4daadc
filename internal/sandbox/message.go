// The messages between the daemon and the sandbox's pid 1. Each type lists its
// fields once; the same list writes and reads them, so that the two sides,
// which are the same executable, cannot disagree.

package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// message is one frame's content. The kind is the first number of the frame.
type message interface {
	kind() uint64
	fields(*codec)
}

// The requests of the daemon: setup comes first and once.
type (
	setup struct {
		Root, Host string
		Caches     []string
		Shared     []Shared
		ReadOnly   bool
		KeepSync   bool
	}
	run struct {
		ID         uint64
		Argv, Env  []string
		Dir        string
		TTY        bool
		Rows, Cols uint64
		// Files says which of the descriptors 0 to 3 come with the message (bit 0 to 3).
		// The others are /dev/null; there is no 3 then.
		Files uint64
	}
	deliver struct{ ID, Signal uint64 }
)

// The answers of pid 1.
type (
	ready  struct{}
	failed struct{ Text string }
	// started comes with the terminal's master side where the command has one.
	started struct{ ID uint64 }
	// refused: the command cannot be executed, as a shell would say with status 126 or 127.
	refused struct {
		ID, Status uint64
		Text       string
	}
	// broken: the sandbox could not do its own part.
	broken struct {
		ID   uint64
		Text string
	}
	exited struct {
		ID, WaitStatus         uint64
		Duration, User, System time.Duration
		MaxRSS                 uint64
	}
)

func (*setup) kind() uint64   { return 1 }
func (*run) kind() uint64     { return 2 }
func (*deliver) kind() uint64 { return 3 }
func (*ready) kind() uint64   { return 4 }
func (*failed) kind() uint64  { return 5 }
func (*started) kind() uint64 { return 6 }
func (*refused) kind() uint64 { return 7 }
func (*broken) kind() uint64  { return 8 }
func (*exited) kind() uint64  { return 9 }

func (m *setup) fields(c *codec) {
	c.text(&m.Root)
	c.text(&m.Host)
	c.texts(&m.Caches)
	list(c, &m.Shared, func(s *Shared) {
		c.text(&s.Path)
		c.texts(&s.Lower)
		c.text(&s.Upper)
		c.text(&s.Work)
		c.text(&s.Bind)
		c.flag(&s.ReadOnly)
	})
	c.flag(&m.ReadOnly)
	c.flag(&m.KeepSync)
}

func (m *run) fields(c *codec) {
	c.number(&m.ID)
	c.texts(&m.Argv)
	c.texts(&m.Env)
	c.text(&m.Dir)
	c.flag(&m.TTY)
	c.number(&m.Rows)
	c.number(&m.Cols)
	c.number(&m.Files)
}

func (m *deliver) fields(c *codec) { c.number(&m.ID); c.number(&m.Signal) }
func (m *ready) fields(*codec)     {}
func (m *failed) fields(c *codec)  { c.text(&m.Text) }
func (m *started) fields(c *codec) { c.number(&m.ID) }

func (m *refused) fields(c *codec) {
	c.number(&m.ID)
	c.number(&m.Status)
	c.text(&m.Text)
}

func (m *broken) fields(c *codec) { c.number(&m.ID); c.text(&m.Text) }

func (m *exited) fields(c *codec) {
	c.number(&m.ID)
	c.number(&m.WaitStatus)
	c.duration(&m.Duration)
	c.duration(&m.User)
	c.duration(&m.System)
	c.number(&m.MaxRSS)
}

// exit turns the kernel's words into what Wait returns.
func (m *exited) exit() Exit {
	e := Exit{Started: true, Duration: m.Duration, User: m.User, System: m.System, MaxRSS: int64(m.MaxRSS)}
	if w := syscall.WaitStatus(m.WaitStatus); w.Signaled() {
		e.Signal = w.Signal()
		e.Status = 128 + int(e.Signal)
	} else {
		e.Status = w.ExitStatus()
	}
	return e
}

// newMessage returns an empty message of a kind, nil for an unknown one.
func newMessage(kind uint64) message {
	for _, m := range []message{
		new(setup), new(run), new(deliver), new(ready), new(failed), new(started), new(refused), new(broken), new(exited),
	} {
		if m.kind() == kind {
			return m
		}
	}
	return nil
}

func encode(m message) []byte {
	c := &codec{}
	kind := m.kind()
	c.number(&kind)
	m.fields(c)
	return c.buf
}

func decode(frame []byte) (message, error) {
	c := &codec{buf: frame, reading: true}
	var kind uint64
	c.number(&kind)
	m := newMessage(kind)
	if c.err != nil || m == nil {
		return nil, fmt.Errorf("internal error: sandbox message of unknown kind %d", kind)
	}
	m.fields(c)
	if c.err == nil && len(c.buf) != 0 {
		c.err = errors.New("it is longer than its fields")
	}
	if c.err != nil {
		return nil, fmt.Errorf("internal error: sandbox message of kind %d: %w", kind, c.err)
	}
	return m, nil
}

// codec appends fields to buf or, reading, takes them from its start. Text is
// kept as bytes: arguments and paths need not be UTF-8.
type codec struct {
	buf     []byte
	reading bool
	err     error
}

var errShort = errors.New("it is shorter than its fields")

func (c *codec) number(n *uint64) {
	if !c.reading {
		c.buf = binary.AppendUvarint(c.buf, *n)
		return
	}
	v, size := binary.Uvarint(c.buf)
	if size <= 0 {
		c.err, c.buf = errShort, nil
		return
	}
	*n, c.buf = v, c.buf[size:]
}

func (c *codec) text(s *string) {
	n := uint64(len(*s))
	c.number(&n)
	if !c.reading {
		c.buf = append(c.buf, *s...)
		return
	}
	if c.err != nil || n > uint64(len(c.buf)) {
		c.err, c.buf = errShort, nil
		return
	}
	*s, c.buf = string(c.buf[:n]), c.buf[n:]
}

func (c *codec) texts(texts *[]string) { list(c, texts, c.text) }

func list[T any](c *codec, items *[]T, fields func(*T)) {
	n := uint64(len(*items))
	c.number(&n)
	if c.reading {
		// Every item takes a byte at least, so a length beyond the frame is a lie.
		if c.err != nil || n > uint64(len(c.buf)) {
			c.err, c.buf = errShort, nil
			return
		}
		*items = make([]T, n)
	}
	for i := range *items {
		fields(&(*items)[i])
	}
}

func (c *codec) flag(b *bool) {
	var n uint64
	if *b {
		n = 1
	}
	c.number(&n)
	*b = n != 0
}

func (c *codec) duration(d *time.Duration) {
	n := uint64(*d)
	c.number(&n)
	*d = time.Duration(n)
}

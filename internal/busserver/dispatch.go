// Package busserver puts the updater on the bus. It dispatches by itself, from
// the introspection data: one place checks who may have how much, signatures,
// options and authorisation and catches panics, objects may come and go while
// others introspect, and descriptors are closed once they were sent.
package busserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
)

// call is one method call on its way.
type call struct {
	ctx    context.Context
	from   *caller
	path   dbus.ObjectPath
	number uint64 // of the transaction or snapshot that the path names
	args   []any
	options
}

// Names of errors that every program on the bus has.
const (
	errUnknownObject    = "org.freedesktop.DBus.Error.UnknownObject"
	errUnknownInterface = "org.freedesktop.DBus.Error.UnknownInterface"
	errUnknownMethod    = "org.freedesktop.DBus.Error.UnknownMethod"
)

// receive makes the server the one that takes the calls.
func (s *Server) receive() receiver {
	return receiver{
		accept: s.callers.enter,
		refuse: s.turnAway,
		serve: func(in *incoming) {
			queued, first := s.callers.waits(in)
			switch {
			case first:
				s.handling.Go(func() { s.identify(in.from) })
			case !queued:
				s.handling.Go(func() { s.handle(in) })
			}
		},
	}
}

// identify finds out who calls, and serves what came meanwhile.
func (s *Server) identify(c *caller) {
	leave := s.enter()
	defer leave()
	<-s.connected
	if s.conn == nil {
		return
	}
	user, unknown := s.credentials(c)
	for _, in := range s.callers.dequeue(c) {
		err := unknown
		if err == nil {
			err = s.callers.count(in, user.uid)
		}
		if err != nil {
			s.turnAway(in, err)
			s.callers.left(in)
			continue
		}
		s.handling.Go(func() { s.handle(in) })
	}
}

// handle serves one call to its end.
func (s *Server) handle(in *incoming) {
	defer s.callers.left(in)
	leave := s.enter()
	defer leave()
	values, err := s.serve(in)
	s.answer(in, values, err)
}

// turnAway answers a call that was not let in, unless even that is too much for its caller.
func (s *Server) turnAway(in *incoming, why error) {
	raw, err := s.link.encode(failed(in, why), 0)
	if size := (debt{bytes: len(raw)}); err == nil && in.wantsAnswer() && s.ledger.book(in.from, in.from.uid(), size) {
		err = s.link.send(raw, nil)
		s.ledger.sent(in.from, size)
	}
	if err != nil {
		s.log.Debug("cannot answer", "caller", in.sender, "error", err)
	}
}

func (s *Server) serve(in *incoming) (values []any, err error) {
	changing := false
	defer func() {
		if changing {
			// What a change that fails like this left is undone by the next start; a
			// process that went on would go on with what it holds.
			return
		}
		if p := recover(); p != nil {
			s.log.Error("a call failed inside", "path", in.path, "method", in.member, "panic", p, "stack", string(debug.Stack()))
			values, err = nil, fmt.Errorf("internal error: %v", p)
		}
	}()
	k, number, ok := s.kindOf(in.path)
	if in.iface == bus.PeerInterface {
		k, number, ok = s.manager, 0, true // every path has it
	}
	if !ok {
		return nil, dbus.NewError(errUnknownObject, []any{fmt.Sprintf("there is no object %s", quoted(string(in.path)))})
	}
	name, m, takes, err := k.find(in)
	if err != nil {
		return nil, err
	}
	if in.signature != takes.signature {
		return nil, fmt.Errorf("%w: %s takes arguments of type %q, not %q", fault.ErrInvalidArgument, name, takes.signature, in.signature)
	}
	if k.handsOut[name] && !in.wantsAnswer() {
		// Nobody would take the descriptors.
		return nil, fmt.Errorf("%w: %s answers with descriptors, and no answer is wanted", fault.ErrInvalidArgument, name)
	}
	uid := *in.user
	c := &call{ctx: s.ctx, from: in.from, path: in.path, number: number}
	done := func() {}
	defer func() { done() }()
	turn := func() error { // which a question has
		over, err := s.turns.take(c.ctx, lineKey{uid, m.slow || k.handsOut[name]}, in.sender)
		if err == nil {
			done = over
		}
		return err
	}
	if !m.changes {
		c.ctx = in.from.ctx
	}
	if m.forAll() {
		if err := turn(); err != nil {
			return nil, err
		}
	}
	if err := s.admits(in, c); err != nil {
		return nil, err
	}
	if c.args, err = in.arguments(); err != nil {
		return nil, fmt.Errorf("%w: the arguments of %s cannot be read: %w", fault.ErrInvalidArgument, name, err)
	}
	if n := len(c.args); n > 0 {
		c.options, _ = c.args[n-1].(map[string]dbus.Variant)
	}
	if err := checkArguments(takes.names, c.args); err != nil {
		return nil, err
	}
	if err := c.options.check(name, m.options); err != nil {
		return nil, err
	}
	if !m.forAll() {
		if err := s.authorise(in, m.right, takes.names, c); err != nil {
			return nil, err
		}
		// Not before: whoever thinks about a password must not be in anybody's way.
		if !m.changes {
			if err := turn(); err != nil {
				return nil, err
			}
		}
	}
	changing = m.changes
	values, err = m.run(c)
	changing = false
	if err != nil {
		return nil, err
	}
	return s.documents.open(uid, values)
}

// admits decides what needs no look at the arguments.
func (s *Server) admits(in *incoming, c *call) error {
	if in.iface == bus.PeerInterface {
		return nil
	}
	if !s.exists(c) {
		return dbus.NewError(errUnknownObject, []any{fmt.Sprintf("there is no object %s", quoted(string(c.path)))})
	}
	if s.refuse != nil && in.member != "Introspect" {
		return s.refuse
	}
	return nil
}

// arguments decodes the call. The bus has looked at it before, but what it
// takes for well-formed and what the library does is not quite the same.
func (in *incoming) arguments() ([]any, error) {
	message, err := dbus.DecodeMessage(bytes.NewReader(in.raw))
	in.raw = nil
	if err != nil {
		return nil, err
	}
	return message.Body, nil
}

// answer sends what came of a call, and closes the files that go with it.
func (s *Server) answer(in *incoming, values []any, failure error) {
	var files []*os.File
	body := make([]any, len(values))
	for i, v := range values {
		if f, ok := v.(*os.File); ok {
			body[i] = dbus.UnixFDIndex(len(files))
			files = append(files, f)
			defer f.Close()
			continue
		}
		body[i] = v
	}
	if !in.wantsAnswer() {
		return
	}
	var raw []byte
	if failure == nil {
		var err error
		if raw, err = s.link.encode(reply(in, body), len(files)); err != nil {
			failure = fmt.Errorf("internal error: the answer cannot be sent: %w", err)
		}
	}
	var err error
	if failure != nil {
		files = nil
		raw, err = s.link.encode(failed(in, failure), 0)
	}
	size := debt{len(raw), len(files)}
	if err == nil {
		err = s.ledger.wait(s.conn.Context(), in.from, in.from.uid(), size)
	}
	if err == nil {
		err = s.link.send(raw, files)
		s.ledger.sent(in.from, size)
	}
	if err != nil {
		s.log.Debug("cannot answer", "caller", in.sender, "error", err)
	}
}

func reply(in *incoming, body []any) *dbus.Message {
	m := &dbus.Message{Type: dbus.TypeMethodReply, Flags: dbus.FlagNoReplyExpected, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(in.sender), dbus.FieldReplySerial: dbus.MakeVariant(in.serial),
	}}
	if len(body) > 0 {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	}
	return m
}

func failed(in *incoming, why error) *dbus.Message {
	name := fault.Prefix + fault.Name(why)
	if already, ok := errors.AsType[*dbus.Error](why); ok {
		name = already.Name
	}
	m := reply(in, []any{text(why.Error(), maxErrorText)})
	m.Type = dbus.TypeError
	m.Headers[dbus.FieldErrorName] = dbus.MakeVariant(name)
	return m
}

// maxErrorText is how much an error says at most (bytes).
const maxErrorText = 8 << 10

// text makes of what came from files and programs what the bus takes: valid UTF-8 without NUL, of at most limit bytes.
func text(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

func texts(list []string) []string {
	clean := make([]string, len(list))
	for i, s := range list {
		clean[i] = text(s, maxErrorText)
	}
	return clean
}

// Package busserver puts the updater on the bus. It dispatches by itself, from
// the introspection data: one place checks signatures, options and
// authorisation and catches panics, objects may come and go while others
// introspect, and descriptors are closed once they were sent.
package busserver

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
)

// call is one method call on its way.
type call struct {
	ctx    context.Context
	sender string
	path   dbus.ObjectPath
	number uint64 // of the transaction or snapshot that the path names
	args   []any
	known  *credentials // of the sender, once they were asked for
	options
}

// method is one method of an interface: what it takes is in the introspection data.
type method struct {
	private bool     // needs authorisation
	options []string // what the last argument may hold
	run     func(*call) ([]any, error)
}

// kind of object: its interfaces, and which paths are of it.
type kind struct {
	methods map[string]map[string]method // interface, name
	in      map[string]map[string]string // interface, name → signature of the arguments
	// handsOut are the methods that answer with descriptors, as interface.name.
	handsOut map[string]bool
	xml      string
}

// newKind ties methods to their introspection data and refuses to start where they differ.
func newKind(interfaces string, methods map[string]map[string]method) (kind, error) {
	k := kind{methods: methods, in: map[string]map[string]string{}, handsOut: map[string]bool{}, xml: interfaces}
	var node struct {
		Interfaces []struct {
			Name    string `xml:"name,attr"`
			Methods []struct {
				Name string `xml:"name,attr"`
				Args []struct {
					Type      string `xml:"type,attr"`
					Direction string `xml:"direction,attr"`
				} `xml:"arg"`
			} `xml:"method"`
		} `xml:"interface"`
	}
	if err := xml.Unmarshal([]byte("<node>"+interfaces+"</node>"), &node); err != nil {
		return kind{}, fmt.Errorf("internal error: introspection data: %w", err)
	}
	described := 0
	for _, i := range node.Interfaces {
		if i.Name == bus.PeerInterface {
			continue // the library answers it
		}
		k.in[i.Name] = map[string]string{}
		for _, m := range i.Methods {
			sig := ""
			for _, a := range m.Args {
				if a.Direction == "in" {
					sig += a.Type
				} else if a.Type == "h" {
					k.handsOut[i.Name+"."+m.Name] = true
				}
			}
			k.in[i.Name][m.Name] = sig
			described++
			if _, ok := methods[i.Name][m.Name]; !ok {
				return kind{}, fmt.Errorf("internal error: %s.%s is described and not there", i.Name, m.Name)
			}
		}
	}
	for _, table := range methods {
		described -= len(table)
	}
	if described != 0 {
		return kind{}, errors.New("internal error: methods without a description")
	}
	return k, nil
}

// LookupObject makes the server the connection's handler.
func (s *Server) LookupObject(path dbus.ObjectPath) (found dbus.ServerObject, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("an object could not be looked up", "path", path, "panic", p)
			found, ok = nil, false
		}
	}()
	if k, n, ok := s.kindOf(path); ok {
		return object{s, k, path, n}, true
	}
	return nil, false
}

type object struct {
	s      *Server
	kind   kind
	path   dbus.ObjectPath
	number uint64
}

// LookupInterface finds an interface; a call may leave its name out, and then any method of that name will do.
func (o object) LookupInterface(name string) (dbus.Interface, bool) {
	if name == "" {
		return face{o, ""}, true
	}
	_, ok := o.kind.methods[name]
	return face{o, name}, ok
}

type face struct {
	object
	name string
}

func (f face) LookupMethod(name string) (dbus.Method, bool) {
	for i, table := range f.kind.methods {
		if f.name != "" && f.name != i {
			continue
		}
		if m, ok := table[name]; ok {
			return exported{f.object, i + "." + name, m, f.kind.in[i][name], f.kind.handsOut[i+"."+name]}, true
		}
	}
	return nil, false
}

// exported is a method as the library calls it.
type exported struct {
	object
	name      string
	method    method
	signature string
	handsOut  bool
}

func (exported) NumArguments() int     { return 0 } // DecodeArguments takes them all
func (exported) NumReturns() int       { return 0 }
func (exported) ArgumentValue(int) any { return nil }
func (exported) ReturnValue(int) any   { return nil }

// DecodeArguments passes the message on as a whole.
func (e exported) DecodeArguments(_ *dbus.Conn, sender string, msg *dbus.Message, body []any) ([]any, error) {
	if e.handsOut && msg.Flags&dbus.FlagNoReplyExpected != 0 {
		// Nobody would take the descriptors, and nobody close them.
		return nil, toBus(fmt.Errorf("%w: %s answers with descriptors, and no answer is wanted", fault.ErrInvalidArgument, e.name))
	}
	if got := signatureOf(msg); got != e.signature {
		closeDescriptors(body)
		return nil, toBus(fmt.Errorf("%w: %s takes arguments of type %q, not %q", fault.ErrInvalidArgument, e.name, e.signature, got))
	}
	return []any{sender, body}, nil
}

func signatureOf(msg *dbus.Message) string {
	sig, _ := msg.Headers[dbus.FieldSignature].Value().(dbus.Signature)
	return strings.Trim(sig.String(), `"`)
}

// closeDescriptors closes what nobody will take: our interface accepts no descriptors.
func closeDescriptors(body []any) {
	for _, v := range body {
		if fd, ok := v.(dbus.UnixFD); ok {
			os.NewFile(uintptr(fd), "").Close()
		}
	}
}

// Call runs the method in the goroutine that the library made for it.
func (e exported) Call(args ...any) (ret []any, err error) {
	sender, body := args[0].(string), args[1].([]any)
	c := &call{ctx: e.s.ctx, sender: sender, path: e.path, number: e.number, args: body}
	changing := false
	defer func() {
		if changing {
			// What a change that fails like this left is undone by the next start; a
			// process that went on would go on with what it holds.
			return
		}
		if p := recover(); p != nil {
			e.s.log.Error("a call failed inside", "method", e.name, "panic", p, "stack", string(debug.Stack()))
			ret, err = nil, toBus(fmt.Errorf("internal error: %v", p))
		}
	}()
	leave := e.s.enter()
	defer leave()
	if n := len(body); n > 0 {
		if o, ok := body[n-1].(map[string]dbus.Variant); ok {
			c.options = o
		}
	}
	if e.s.refuse != nil && !strings.HasPrefix(e.name, bus.IntrospectInterface) {
		return nil, toBus(e.s.refuse)
	}
	if e.method.private {
		if err := e.s.authorise(c); err != nil {
			return nil, toBus(err)
		}
	}
	if err := c.options.check(e.name, e.method.options); err != nil {
		return nil, toBus(err)
	}
	changing = e.method.private
	if ret, err = e.method.run(c); err != nil {
		return nil, toBus(err)
	}
	return ret, nil
}

// toBus makes the named error of an error.
func toBus(err error) error {
	var already *dbus.Error
	if errors.As(err, &already) {
		return *already
	}
	return *dbus.NewError(fault.Prefix+fault.Name(err), []any{err.Error()})
}

// files carries descriptors that are closed once the reply was sent: the
// library says so by retiring the reply's serial.
type files struct {
	mu      sync.Mutex
	next    uint32
	pending map[uint32][]*os.File
	promise map[dbus.UnixFD]*os.File
}

func newFiles() *files {
	return &files{pending: map[uint32][]*os.File{}, promise: map[dbus.UnixFD]*os.File{}}
}

// hand gives the descriptor for a reply and takes over the file.
func (f *files) hand(file *os.File) dbus.UnixFD {
	f.mu.Lock()
	defer f.mu.Unlock()
	fd := dbus.UnixFD(file.Fd())
	f.promise[fd] = file
	return fd
}

// sending notes which message carries which files.
func (f *files) sending(msg *dbus.Message) {
	if msg.Type != dbus.TypeMethodReply {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range msg.Body {
		if fd, ok := v.(dbus.UnixFD); ok {
			if file, ok := f.promise[fd]; ok {
				delete(f.promise, fd)
				f.pending[msg.Serial()] = append(f.pending[msg.Serial()], file)
			}
		}
	}
}

// GetSerial and RetireSerial make files the connection's generator of serials.
func (f *files) GetSerial() uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next++; f.next == 0 {
		f.next = 1
	}
	return f.next
}

// RetireSerial is called when a message that expects no answer was sent, or a call was answered.
func (f *files) RetireSerial(serial uint32) {
	f.mu.Lock()
	done := f.pending[serial]
	delete(f.pending, serial)
	f.mu.Unlock()
	for _, file := range done {
		file.Close()
	}
}

// options are the last argument of a method. All are checked before anything
// is done: one that the method does not have is an error, not silently nothing.
type options map[string]dbus.Variant

// optionTypes are the signatures of every option.
var optionTypes = map[string]string{
	bus.OptMessage: "s", bus.OptTags: "as", bus.OptFrom: "s", bus.OptDetach: "b", bus.OptKeepUnchanged: "b",
	bus.OptStdin: "b", bus.OptTerminal: "b", bus.OptRows: "q", bus.OptColumns: "q", bus.OptTerm: "s",
	bus.OptDryRun: "b", bus.OptExpires: "t", bus.OptLimit: "t", bus.OptPackage: "s", bus.OptCommand: "u",
	bus.OptAsCommitted: "b", bus.OptPath: "s", bus.OptPaths: "as", bus.OptSince: "x", bus.OptUntil: "x", bus.OptActor: "s",
	bus.OptState: "s", bus.OptTag: "s", bus.OptText: "s", bus.OptNote: "s", bus.OptDropTags: "as", bus.OptPin: "b",
	bus.OptNow: "b", bus.OptPatch: "b", bus.OptContext: "u", bus.OptIgnoreCase: "b", bus.OptHead: "s", bus.OptBrief: "b",
}

func (o options) check(method string, accepted []string) error {
	for name, v := range o {
		if !slices.Contains(accepted, name) {
			return fmt.Errorf("%w: %s has no option %q", fault.ErrInvalidArgument, method, name)
		}
		if got := v.Signature().String(); got != optionTypes[name] {
			return fmt.Errorf("%w: option %q is of type %q, not %q", fault.ErrInvalidArgument, name, optionTypes[name], got)
		}
	}
	return nil
}

// option reads one that check has seen; the zero value where it is not given.
func option[T any](o options, name string) T {
	value, _ := o[name].Value().(T)
	return value
}

var (
	_ dbus.Handler         = (*Server)(nil)
	_ dbus.SerialGenerator = (*files)(nil)
	_ dbus.ArgumentDecoder = exported{}
)

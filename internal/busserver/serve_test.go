// The server on a real bus, with methods of the tests: what callers may have of
// it, and that nothing of what they had stays.

package busserver

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/polkit"
	"github.com/txupd/txupd/internal/testbed"
)

// patience bounds every wait: reaching it is a failure, never a pass.
const patience = time.Minute

const testXML = `
 <interface name="org.txupd1.Manager">
  <method name="Ask"><arg name="options" type="a{sv}" direction="in"/><arg name="answer" type="s" direction="out"/></method>
  <method name="Wait"><arg name="options" type="a{sv}" direction="in"/></method>
  <method name="Work"><arg name="options" type="a{sv}" direction="in"/></method>
  <method name="Install"><arg name="names" type="as" direction="in"/><arg name="options" type="a{sv}" direction="in"/></method>
  <method name="Upgrade"><arg name="options" type="a{sv}" direction="in"/></method>
  <method name="Say"><arg name="what" type="s" direction="in"/><arg name="answer" type="s" direction="out"/></method>
  <method name="Much"><arg name="size" type="u" direction="in"/><arg name="answer" type="s" direction="out"/></method>
  <method name="Document"><arg name="size" type="u" direction="in"/><arg name="document" type="h" direction="out"/></method>
 </interface>`

// testServer serves methods that do what the test wants.
type testServer struct {
	*Server
	t   *testing.T
	bus *testbed.Bus

	release chan struct{} // closed: Wait and Work return
	mu      sync.Mutex
	waiting int // in Wait and Work
	ended   int // Waits that ended because their caller left
	most    int // that waited at the same time
	wake    chan struct{}
}

// serveTest starts a server on a bus of its own.
func serveTest(t *testing.T) *testServer {
	t.Helper()
	testbed.NeedRoot(t)
	b := testbed.PrivateBus(t, testbed.BusOptions{Log: io.Discard}) // it says a lot about a flood
	s, err := New(t.Context(), Config{Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Version: "test", Address: b.Address})
	if err != nil {
		t.Fatal(err)
	}
	ts := &testServer{Server: s, t: t, bus: b, release: make(chan struct{}), wake: make(chan struct{}, 1)}
	s.manager, err = newKind(testXML, map[string]map[string]method{bus.ManagerInterface: {
		"Ask":     {options: []string{bus.OptMessage, bus.OptTags}, run: func(*call) ([]any, error) { return []any{"here"}, nil }},
		"Wait":    {run: ts.wait},
		"Work":    {right: right{action: polkit.Transact, does: "work"}, changes: true, run: ts.wait},
		"Install": {right: right{action: polkit.Transact, does: "install packages"}, changes: true, run: ts.wait},
		"Upgrade": {right: right{action: polkit.Update, does: "update the system"}, changes: true, run: ts.wait},
		"Say": {run: func(c *call) ([]any, error) {
			switch said := c.args[0].(string); said {
			case "long":
				return []any{strings.Repeat("x", maxAnswer+1)}, nil
			case "latin":
				return []any{"\xe4"}, nil
			case "latin error":
				return nil, errors.New("no file b\xe4r\x00" + strings.Repeat("r", maxErrorText))
			case "panic":
				panic("as asked")
			default:
				return []any{said}, nil
			}
		}},
		"Much":     {run: func(c *call) ([]any, error) { return []any{strings.Repeat("x", int(c.args[0].(uint32)))}, nil }},
		"Document": {run: func(c *call) ([]any, error) { return []any{document(make([]byte, c.args[0].(uint32)))}, nil }},
	}})
	if err != nil {
		t.Fatal(err)
	}
	ready, served := make(chan struct{}), make(chan error, 1)
	go func() { served <- s.Serve(nil, 0, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-served:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ts.letGo()
		s.Close()
		if err := <-served; err != nil && !strings.Contains(err.Error(), "the bus went away") {
			t.Error(err)
		}
	})
	return ts
}

func (ts *testServer) letGo() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	select {
	case <-ts.release:
	default:
		close(ts.release)
	}
}

func (ts *testServer) wait(c *call) ([]any, error) {
	ts.count(1)
	defer ts.count(-1)
	select {
	case <-ts.release:
		return nil, nil
	case <-c.ctx.Done():
		ts.mu.Lock()
		ts.ended++
		ts.mu.Unlock()
		return nil, fault.ErrCancelled
	}
}

func (ts *testServer) count(n int) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.waiting += n
	ts.most = max(ts.most, ts.waiting)
}

func (ts *testServer) state() (waiting, ended, most int) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.waiting, ts.ended, ts.most
}

// eventually waits for what nothing signals.
func (ts *testServer) eventually(what string, ok func() bool) {
	ts.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// calm is how many goroutines there are once what ends by itself has ended.
func (ts *testServer) calm() int {
	ts.t.Helper()
	least, same := runtime.NumGoroutine(), 0
	ts.eventually("goroutines end", func() bool {
		if n := runtime.NumGoroutine(); n < least {
			least, same = n, 0
		}
		same++
		return same > 20
	})
	return least
}

func (ts *testServer) client() *dbus.Conn {
	ts.t.Helper()
	conn, err := dbus.Connect(ts.bus.Address)
	if err != nil {
		ts.t.Fatal(err)
	}
	ts.t.Cleanup(func() { conn.Close() })
	return conn
}

func (ts *testServer) raw() *testbed.RawBus {
	ts.t.Helper()
	r, err := ts.bus.Raw()
	if err == nil {
		err = r.Patience(2 * patience) // of its whole life
	}
	if err != nil {
		ts.t.Fatal(err)
	}
	ts.t.Cleanup(func() { r.Close() })
	return r
}

func ask(conn *dbus.Conn, method string, args ...any) *dbus.Call {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return conn.Object(bus.Name, bus.Path).CallWithContext(ctx, bus.ManagerInterface+"."+method, 0, args...)
}

// answers asks the server as somebody else.
func (ts *testServer) answers(conn *dbus.Conn) {
	ts.t.Helper()
	if err := ask(conn, "Ask", options{}).Err; err != nil {
		ts.t.Errorf("another client is not answered: %v", err)
	}
}

// send sends a call without reading what comes of it.
func send(t *testing.T, r *testbed.RawBus, member string, flags dbus.Flags, args ...any) uint32 {
	t.Helper()
	signature, body := testbed.RawBody(args...)
	serial, err := r.Send(testbed.RawCall{Interface: bus.ManagerInterface, Member: member, Signature: signature, Body: body, Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	return serial
}

func errorName(err error) string {
	var e dbus.Error
	if errors.As(err, &e) {
		return e.Name
	}
	return ""
}

const limits = "org.freedesktop.DBus.Error.LimitsExceeded"

// TestFloodOfOneIsRefusedAndOthersAreAnswered: thousands of calls of methods that
// do not return, without reading an answer, of both kinds and without wanting one.
func TestFloodOfOneIsRefusedAndOthersAreAnswered(t *testing.T) {
	for name, c := range map[string]struct {
		method string
		flags  dbus.Flags
		calls  int
	}{
		"questions": {"Wait", 0, 10_000}, "changes": {"Work", 0, 2000}, "without answers": {"Wait", dbus.FlagNoReplyExpected, 2000},
		"quick questions": {"Ask", 0, 2000},
	} {
		t.Run(name, func(t *testing.T) {
			ts := serveTest(t)
			other := ts.client()
			ts.answers(other)
			before := ts.calm()
			flood := ts.raw()
			for i := range c.calls {
				send(t, flood, c.method, c.flags, options{})
				if i%1000 == 0 {
					ts.answers(other)
				}
			}
			ts.answers(other)
			if n := runtime.NumGoroutine(); n > before+2*maxCalls {
				t.Errorf("%d goroutines serve a flood, there were %d before", n, before)
			}
			flood.Close()
			ts.letGo()
			ts.eventually("everything of the flood ends", func() bool { return runtime.NumGoroutine() <= before })
			ts.answers(other)
			// What is answered is let go of a moment later.
			ts.eventually("nothing of the flood is left", func() bool {
				ts.callers.mu.Lock()
				defer ts.callers.mu.Unlock()
				ts.turns.mu.Lock()
				defer ts.turns.mu.Unlock()
				return len(ts.callers.all) == 1 && ts.callers.pending == 0 && len(ts.callers.users) == 0 && len(ts.turns.lines) == 0
			})
		})
	}
}

func TestWhoFloodsIsToldSo(t *testing.T) {
	ts := serveTest(t)
	r := ts.raw()
	for range maxCalls {
		send(t, r, "Wait", 0, options{})
	}
	_, err := r.Answer(send(t, r, "Ask", 0, options{}))
	if errorName(err) != limits || !strings.Contains(err.Error(), "64 calls") {
		t.Errorf("call %d: %v", maxCalls+1, err)
	}
	// Bytes too: what one may send at a time, and all together.
	long := strings.Repeat("x", maxCall)
	_, err = r.Answer(send(t, r, "Say", 0, long))
	if errorName(err) != limits || !strings.Contains(err.Error(), "bytes long") {
		t.Errorf("a call of more than %d bytes: %v", maxCall, err)
	}
}

func TestQuestionsOfOneTakeTurns(t *testing.T) {
	ts := serveTest(t)
	for range 3 {
		r := ts.raw()
		for range 10 {
			send(t, r, "Wait", 0, options{})
		}
	}
	ts.eventually("the first questions are served", func() bool { n, _, _ := ts.state(); return n == 3*perCaller })
	ts.answers(ts.client())
	ts.letGo()
	ts.eventually("all are served", func() bool { n, _, _ := ts.state(); return n == 0 })
	if _, _, most := ts.state(); most != 3*perCaller {
		t.Errorf("%d questions of three callers were served at the same time, want %d", most, 3*perCaller)
	}
}

func TestQuestionsEndWithWhoAskedThem(t *testing.T) {
	ts := serveTest(t)
	asks, works := ts.raw(), ts.raw()
	for range 10 {
		send(t, asks, "Wait", 0, options{})
		send(t, works, "Work", 0, options{})
	}
	ts.eventually("they are served", func() bool { n, _, _ := ts.state(); return n == perCaller+10 })
	asks.Close()
	works.Close()
	ts.eventually("questions end", func() bool { _, ended, _ := ts.state(); return ended == perCaller })
	// What changes something is not left half done because nobody waits for it.
	if n, _, _ := ts.state(); n != 10 {
		t.Errorf("%d changes go on, want 10", n)
	}
}

// TestNobodyElseSaysWhoLeft: anybody may send a signal that looks like the bus's own.
func TestNobodyElseSaysWhoLeft(t *testing.T) {
	ts := serveTest(t)
	victim, liar := ts.raw(), ts.client()
	serial := send(t, victim, "Wait", 0, options{})
	ts.eventually("the question is served", func() bool { n, _, _ := ts.state(); return n == 1 })
	lie := &dbus.Message{Type: dbus.TypeSignal, Body: []any{victim.Name, victim.Name, ""}, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(bus.Name), dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/org/freedesktop/DBus")),
		dbus.FieldInterface: dbus.MakeVariant("org.freedesktop.DBus"), dbus.FieldMember: dbus.MakeVariant("NameOwnerChanged"),
		dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf("", "", "")),
	}}
	if err := liar.Send(lie, nil).Err; err != nil {
		t.Fatal(err)
	}
	ts.answers(liar) // after the signal
	ts.letGo()
	if _, err := victim.Answer(serial); err != nil {
		t.Errorf("a forged signal ended a call: %v", err)
	}
}

// TestWhatTheLibraryCannotRead: the bus lets an empty map pass at a depth that
// the library refuses, and closed the connection for.
func TestWhatTheLibraryCannotRead(t *testing.T) {
	ts := serveTest(t)
	conn := ts.client()
	unreadable := 0
	for _, array := range []string{"a{sv}", "ay", "av"} {
		for variants := 57; variants <= 66; variants++ {
			r := ts.raw()
			body := testbed.RawNested(bus.OptMessage, variants, array)
			serial, err := r.Send(testbed.RawCall{Interface: bus.ManagerInterface, Member: "Ask", Signature: "a{sv}", Body: body})
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.Answer(serial)
			if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
				continue // beyond its own limit the bus throws the caller out
			}
			if errorName(err) != fault.Prefix+"InvalidArgument" || !strings.Contains(err.Error(), "Ask") && !strings.Contains(err.Error(), "message") {
				t.Errorf("%d variants around an empty %s: %v", variants, array, err)
			} else if strings.Contains(err.Error(), "depth limit") {
				unreadable++
			}
		}
	}
	if unreadable == 0 {
		t.Error("the library could read everything: this test shows nothing any more")
	}
	ts.answers(conn)
}

func TestAnswersThatTheBusDoesNotTake(t *testing.T) {
	ts := serveTest(t)
	conn := ts.client()
	for what, words := range map[string]string{
		"long": "16777", "latin": "internal error", "latin error": "no file b\uFFFDr\uFFFDrrr", "panic": "internal error: as asked",
	} {
		err := ask(conn, "Say", what).Err
		if err == nil || !strings.Contains(err.Error(), words) || len(err.Error()) > 2*maxErrorText {
			t.Errorf("%s: %.200v, want one with %q", what, err, words)
		}
	}
	if err := ts.conn.Emit("/", "a.b.C", strings.Repeat("x", maxAnswer+1)); err == nil {
		t.Error("a signal that the bus does not take was sent")
	}
	ts.answers(conn)
}

func TestArgumentsThatAreTooLongAreNamed(t *testing.T) {
	ts := serveTest(t)
	conn := ts.client()
	long := strings.Repeat("x", maxString+1)
	for _, c := range []struct {
		method string
		arg    any
		words  string
	}{
		{"Say", long, `argument "what"`},
		{"Ask", options{bus.OptTags: dbus.MakeVariant([]string{long})}, `option "tags"`},
		{"Ask", options{bus.OptTags: dbus.MakeVariant(make([]string, maxList+1))}, `option "tags"`},
		{"Ask", options{strings.Repeat("\x01", 40_000): dbus.MakeVariant("x")}, `no option "\x01`},
	} {
		err := ask(conn, c.method, c.arg).Err
		if errorName(err) != fault.Prefix+"InvalidArgument" || !strings.Contains(err.Error(), c.words) || len(err.Error()) > 1000 {
			t.Errorf("%s: %.300v, want one that names %s", c.method, err, c.words)
		}
	}
	ts.answers(conn)
}

func TestDocumentsThatNobodyReads(t *testing.T) {
	ts := serveTest(t)
	conn := ts.client()
	ts.answers(conn)
	before, files := ts.calm(), openFiles(t)
	const size = 4 << 20
	var unread []dbus.UnixFD
	for {
		var fd dbus.UnixFD
		err := ask(conn, "Document", uint32(size)).Store(&fd)
		if errorName(err) == limits {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		unread = append(unread, fd)
		if len(unread) > maxUnread {
			t.Fatal("nobody minds")
		}
	}
	if want := maxUnreadBytes / size; len(unread) != want {
		t.Errorf("%d documents of %d bytes could be left unread, want %d", len(unread), size, want)
	}
	ts.answers(conn)
	// One of them is read after all, the others are given up by those who have them.
	for i, fd := range unread {
		f := os.NewFile(uintptr(fd), "document")
		if n, err := io.Copy(io.Discard, f); i == 0 && (n != size || err != nil) {
			t.Errorf("read %d bytes of %d: %v", n, size, err)
		}
		f.Close()
	}
	ts.eventually("nothing of them is left", func() bool { return runtime.NumGoroutine() <= before && openFiles(t) <= files })
}

func TestDocumentIsDroppedWhenNobodyReadsIt(t *testing.T) {
	ts := serveTest(t)
	conn := ts.client()
	ts.documents.mu.Lock()
	ts.documents.patience = 50 * time.Millisecond
	ts.documents.mu.Unlock()
	var fd dbus.UnixFD
	if err := ask(conn, "Document", uint32(4<<20)).Store(&fd); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "document")
	defer f.Close()
	ts.eventually("the writer gives up", func() bool {
		ts.documents.mu.Lock()
		defer ts.documents.mu.Unlock()
		return len(ts.documents.pipes) == 0
	})
	if n, err := io.Copy(io.Discard, f); err != nil || n >= 4<<20 {
		t.Errorf("%d bytes were left in the pipe, %v", n, err)
	}
}

// TestClientThatReadsNothingMutesNobody: what the bus keeps for it counts as
// ours, and beyond its bounds the bus would not read what we say to anybody.
func TestClientThatReadsNothingMutesNobody(t *testing.T) {
	for what, c := range map[string]struct {
		method string
		size   uint32
		calls  int
	}{
		"bytes": {"Much", 1 << 20, 200}, "descriptors": {"Document", 10, 600}, "large documents": {"Document", 1 << 20, 600}, "refusals": {"Nothing", 0, 600},
	} {
		t.Run(what, func(t *testing.T) {
			ts := serveTest(t)
			other, reads := ts.client(), ts.raw()
			ts.answers(other)
			before := ts.calm()
			deaf := ts.raw()
			for i := range c.calls {
				send(t, deaf, c.method, 0, c.size)
				if i%25 == 0 {
					ts.answers(other)
				}
			}
			// What it did not read is not held against who reads.
			for range 20 {
				if _, err := reads.Answer(send(t, reads, "Much", 0, uint32(1<<20))); err != nil {
					t.Errorf("a client that reads: %v", err)
				}
			}
			if kept, err := ts.kept(t.Context(), deaf.Name); err != nil || kept.bytes > 4<<20 || kept.files > 2*perCallerDebt.files {
				t.Errorf("the bus keeps %+v for it, %v", kept, err)
			}
			deaf.Close()
			ts.eventually("everything ends", func() bool { return runtime.NumGoroutine() <= before })
			ts.ledger.mu.Lock()
			defer ts.ledger.mu.Unlock()
			if len(ts.ledger.owing) > 2 {
				t.Errorf("the ledger has %d accounts left: %+v", len(ts.ledger.owing), ts.ledger.all)
			}
		})
	}
}

// TestAnswersWaitForWhoReadsAfterAll: nothing is lost of what a slow client asked for.
func TestAnswersWaitForWhoReadsAfterAll(t *testing.T) {
	ts := serveTest(t)
	r, other := ts.raw(), ts.client()
	var serials []uint32
	for range 30 {
		serials = append(serials, send(t, r, "Much", 0, uint32(1<<20)))
	}
	ts.answers(other)
	ts.eventually("answers wait", func() bool {
		ts.ledger.mu.Lock()
		defer ts.ledger.mu.Unlock()
		return len(ts.ledger.owing) > 0 && ts.ledger.all.bytes > 1<<20
	})
	wanted := map[uint32]bool{}
	for _, serial := range serials {
		wanted[serial] = true
	}
	for len(wanted) > 0 {
		serial, err := r.Next()
		if err != nil || !wanted[serial] {
			t.Fatalf("answer to %d, %v; %d are missing", serial, err, len(wanted))
		}
		delete(wanted, serial)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func TestSmallThings(t *testing.T) {
	ts := serveTest(t)
	conn := ts.client()
	for path, want := range map[dbus.ObjectPath]string{
		"/": errUnknownInterface, bus.Path: "", "/org/txupd1/snapshot/1": errUnknownObject, "/org/txupd1/nothing": errUnknownObject,
	} {
		if got := errorName(conn.Object(bus.Name, path).Call(bus.ManagerInterface+".Ask", 0, options{}).Err); got != want {
			t.Errorf("Ask at %s: %q, want %q", path, got, want)
		}
	}
	if got := errorName(ask(conn, "Nothing").Err); got != errUnknownMethod {
		t.Errorf("an unknown method: %q", got)
	}
	if err := conn.Object(bus.Name, bus.Path).Call("Ask", 0, options{}).Err; err != nil {
		t.Errorf("a call without an interface: %v", err)
	}
	// Who wants no answer gets none, not even that something is wrong.
	r := ts.raw()
	send(t, r, "Nothing", dbus.FlagNoReplyExpected)
	if _, err := r.Answer(send(t, r, "Ask", 0, options{})); err != nil {
		t.Error(err)
	}
	err := conn.Object(bus.Name, bus.Path).Go(bus.ManagerInterface+".Document", dbus.FlagNoReplyExpected, nil, uint32(1)).Err
	if err != nil {
		t.Error(err)
	}
	ts.answers(conn)
}

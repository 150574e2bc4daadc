// Callers that come in floods, leave in the middle, or never read.

package integration

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/client"
	"github.com/txupd/txupd/internal/bus"
	faults "github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/testbed"
	"github.com/txupd/txupd/pkg/journal/record"
)

const stranger = 65534 // nobody

// question is a call that anybody may make.
func question(iface, member string, args ...any) testbed.RawCall {
	return raw(target{path: bus.Path, iface: iface, method: member}, args...)
}

// questions of every cost.
func questions() []testbed.RawCall {
	none := map[string]dbus.Variant{}
	return []testbed.RawCall{
		question(bus.ManagerInterface, "Status", none), question(bus.ManagerInterface, "List", none), question(bus.ManagerInterface, "Log", none),
		question(bus.ManagerInterface, "Show", uint64(1), none), question(bus.ManagerInterface, "Tree", none), question(bus.ManagerInterface, "Blame", "/usr", none),
		question(bus.ManagerInterface, "Diff", "booted", "default", map[string]dbus.Variant{bus.OptNow: dbus.MakeVariant(true)}),
		question(bus.ManagerInterface, "Verify", none), question(bus.ManagerInterface, "PackageList", none), question(bus.ManagerInterface, "Doctor", none),
		question(bus.ManagerInterface, "Config", none), question(bus.IntrospectInterface, "Introspect"),
		question(bus.ObjectsInterface, "GetManagedObjects"), question(bus.PropertiesInterface, "GetAll", bus.ManagerInterface),
	}
}

// TestFloodsStarveNobody: 10,000 calls each of root and of a stranger who read
// no answer, and as many that want none.
func TestFloodsStarveNobody(t *testing.T) {
	s := newSystem(t, options{daemon: []string{"--idle", "0"}})
	s.must("run", "--", "touch", "/usr/one")
	all := questions()
	for what, c := range map[string]struct {
		uid   int
		flags dbus.Flags
	}{
		"root reads no answers": {0, 0}, "a stranger reads no answers": {stranger, 0}, "a stranger wants no answers": {stranger, dbus.FlagNoReplyExpected},
	} {
		s.survives(what, func() {
			r := s.rawAs(c.uid)
			defer r.Close()
			for i := range 10_000 {
				call := all[i%len(all)]
				call.Flags = c.flags
				if _, err := r.Send(call); err != nil {
					t.Fatalf("%s: call %d: %v", what, i, err)
				}
			}
		})
	}
	// Messages that are no calls, from anybody, and as long as the bus lets them be.
	s.survives("signals and answers that nobody asked for", func() {
		r := s.rawAs(stranger)
		defer r.Close()
		for i := range 1000 {
			c := question("org.freedesktop.DBus", "NameOwnerChanged", ":1.1", ":1.1", "")
			c.Type = dbus.TypeSignal
			if i%100 == 0 {
				c = question("a.b", "C", strings.Repeat("x", 20<<20))
				c.Type = dbus.TypeSignal
			}
			if _, err := r.Send(c); err != nil {
				t.Fatal(err)
			}
		}
	})
	s.survives("a crowd", func() {
		var crowd sync.WaitGroup
		for range 50 {
			crowd.Go(func() {
				r, err := s.bus.RawAs(stranger)
				if err != nil {
					t.Error(err)
					return
				}
				defer r.Close()
				for i := range 200 {
					if _, err := r.Send(all[i%len(all)]); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		crowd.Wait()
	})
}

// TestClientsThatLeaveInTheMiddle: of a message, of a call, of what they read, of a transaction.
func TestClientsThatLeaveInTheMiddle(t *testing.T) {
	s := newSystem(t, options{daemon: []string{"--idle", "0"}})
	s.must("run", "--", "touch", "/usr/one")
	all := questions()
	s.survives("clients that leave at once", func() {
		for i := range 1000 {
			r := s.rawAs([]int{0, stranger}[i%2])
			c := all[i%len(all)]
			if i%3 == 0 {
				if err := r.SendHalf(c); err != nil {
					t.Fatal(err)
				}
			} else if _, err := r.Send(c); err != nil {
				t.Fatal(err)
			}
			r.Close()
		}
	})
	s.untouched("transactions whose callers leave", func() {
		s.survives("transactions whose callers leave", func() {
			defer s.eventually("the last transaction ends", func() bool { return s.status().Transaction == nil && s.sandboxed() == 0 })
			for i := range 10 {
				r := s.raw()
				c := question(bus.ManagerInterface, "Run", []string{"sleep", "4711"}, map[string]dbus.Variant{})
				if i%2 == 0 {
					if _, err := r.Send(c); err != nil { // and gone before there is an answer
						t.Fatal(err)
					}
				} else if serial, err := r.Send(c); err != nil {
					t.Fatal(err)
				} else if _, err := r.Answer(serial); err != nil && errorNameOf(err) != faults.Prefix+"Busy" { // with the one before
					t.Fatal(err)
				}
				r.Close()
			}
		})
	})
	s.untouched("an open transaction that clients attach to and leave", func() {
		s.must("begin")
		n := s.status().Transaction.Number
		s.survives("clients that attach and leave", func() {
			for range 300 {
				r := s.raw()
				c := raw(target{path: bus.TransactionPath(n), iface: bus.TransactionInterface, method: "Attach"}, map[string]dbus.Variant{})
				if _, err := r.Send(c); err != nil {
					t.Fatal(err)
				}
				r.Close()
			}
		})
		s.must("exec", "--", "true") // attaches
		s.must("discard")
	})
}

// TestReadersThatDoNotRead: output is kept for them, and holds nobody up.
func TestReadersThatDoNotRead(t *testing.T) {
	s := newSystem(t, options{daemon: []string{"--idle", "0"}})
	s.must("begin")
	n := s.status().Transaction.Number
	tr, err := s.client().Transaction(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	// The sandbox and what the first command opens stay until the end.
	s.must("exec", "--", "echo", "something")
	const size = 4 << 20
	s.survives("readers that do not read", func() {
		var streams []client.Streams
		defer func() {
			for _, one := range streams {
				closeStreams(one)
			}
		}()
		index, err := tr.Exec(t.Context(), []string{"sh", "-c", "read go; head -c 4194304 /dev/zero"}, client.Input{Stdin: true}, true)
		if err != nil {
			t.Fatal(err)
		}
		for {
			one, err := tr.Attach(t.Context(), &index)
			if err != nil {
				break // there is a bound
			}
			streams = append(streams, one)
		}
		if len(streams) != 32 {
			t.Errorf("%d could attach, want 32", len(streams))
		}
		if _, err := io.WriteString(streams[0].Stdin, "go\n"); err != nil {
			t.Fatal(err)
		}
		if exit, err := tr.WaitCommand(t.Context(), index); err != nil || exit != 0 {
			t.Errorf("the command ended with %d, %v", exit, err)
		}
		// Every second one reads after all, and gets everything.
		var reading sync.WaitGroup
		for i, one := range streams {
			if i%2 == 0 {
				reading.Go(func() {
					if got, err := io.Copy(io.Discard, one.Stdout); err != nil || got != size {
						t.Errorf("reader %d got %d bytes, %v", i, got, err)
					}
				})
			}
		}
		reading.Wait()
	})
	if err := tr.Commit(t.Context(), client.About{KeepUnchanged: true}); err != nil {
		t.Fatal(err)
	}
	if out, err := tr.Wait(t.Context()); err != nil || out.Phase != record.Committed {
		t.Errorf("the transaction ended as %+v, %v", out, err)
	}
}

func closeStreams(s client.Streams) {
	s.Stdin.Close()
	s.Stdout.Close()
	s.Stderr.Close()
}

// TestListenersAndIntrospectionDuringChanges: clients come, ask for every signal
// that there is, look at everything and go, while transactions begin and end.
func TestListenersAndIntrospectionDuringChanges(t *testing.T) {
	s := newSystem(t, options{daemon: []string{"--idle", "0"}})
	s.must("run", "--", "touch", "/usr/one")
	s.untouched("listeners", func() {
		s.survives("listeners while transactions begin and end", func() {
			ctx, stop := context.WithCancel(t.Context())
			var others sync.WaitGroup
			for range 4 {
				others.Go(func() { s.listenAndLook(ctx) })
			}
			others.Go(func() { s.subscribe(ctx) })
			c := s.client()
			for range 15 {
				tr, err := c.Begin(t.Context(), client.About{})
				if err != nil {
					t.Error(err)
					break
				}
				if err := tr.Discard(t.Context()); err != nil {
					t.Error(err)
				}
			}
			stop()
			others.Wait()
			c.Close()
		})
	})
}

// listenAndLook introspects and reads everything, again and again.
func (s *system) listenAndLook(ctx context.Context) {
	conn, err := dbus.Connect(s.bus.Address)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer conn.Close()
	manager := conn.Object(bus.Name, bus.Path)
	for ctx.Err() == nil {
		var objects map[dbus.ObjectPath]map[string]map[string]dbus.Variant
		if err := manager.Call(bus.ObjectsInterface+".GetManagedObjects", 0).Store(&objects); err != nil {
			s.t.Errorf("the objects cannot be listed: %v", err)
			return
		}
		for path := range objects {
			err := conn.Object(bus.Name, path).Call(bus.IntrospectInterface+".Introspect", 0).Err
			var gone dbus.Error // since it was listed
			if errors.As(err, &gone) && gone.Name == "org.freedesktop.DBus.Error.UnknownObject" && path != bus.Path {
				continue
			}
			if err != nil {
				s.t.Errorf("%s cannot be introspected: %v", path, err)
				return
			}
		}
	}
}

// subscribe comes and goes with as many match rules as the bus allows.
func (s *system) subscribe(ctx context.Context) {
	for ctx.Err() == nil {
		r, err := s.bus.RawAs(stranger)
		if err != nil {
			s.t.Error(err)
			return
		}
		for i := range 2000 { // beyond the bus's own bound, and nobody reads what comes
			rule := "type='signal',sender='" + bus.Name + "'"
			if i%2 == 0 {
				rule += ",path='" + bus.SnapshotPath(uint64(i)) + "'"
			}
			c := raw(target{path: "/org/freedesktop/DBus", iface: "org.freedesktop.DBus", method: "AddMatch"}, rule)
			c.Destination = "org.freedesktop.DBus"
			if _, err := r.Send(c); err != nil {
				break
			}
		}
		r.Close()
	}
}

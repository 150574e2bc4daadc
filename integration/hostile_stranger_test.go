// What a user without any right can do: ask.

package integration

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/txupd/txupd/internal/bus"
	faults "github.com/txupd/txupd/internal/fault"
	"github.com/txupd/txupd/internal/testbed"
)

// forEverybody are the methods that change nothing and tell nothing that only
// root may know. Every other one has to ask who calls, a new one too.
var forEverybody = []string{
	bus.ManagerInterface + ".Status", bus.ManagerInterface + ".List", bus.ManagerInterface + ".Show", bus.ManagerInterface + ".Log",
	bus.ManagerInterface + ".Tree", bus.ManagerInterface + ".Blame", bus.ManagerInterface + ".Diff", bus.ManagerInterface + ".Verify",
	bus.ManagerInterface + ".PackageList", bus.ManagerInterface + ".PackageNames", bus.ManagerInterface + ".RebootStatus", bus.ManagerInterface + ".Metrics", bus.ManagerInterface + ".Config", bus.ManagerInterface + ".Doctor", bus.ManagerInterface + ".Etc",
	bus.IntrospectInterface + ".Introspect", bus.PeerInterface + ".Ping", bus.PeerInterface + ".GetMachineId",
	bus.PropertiesInterface + ".Get", bus.PropertiesInterface + ".GetAll", bus.PropertiesInterface + ".Set", // which no property takes
	bus.ObjectsInterface + ".GetManagedObjects",
}

func TestStrangersMayDoNothing(t *testing.T) {
	s := newSystem(t, options{daemon: []string{"--idle", "0"}})
	s.must("run", "--", "touch", "/usr/one")
	s.must("begin")
	state := func() string {
		return s.must("verify", "--json").stdout + s.must("log", "--json").stdout + s.must("status", "--json").stdout
	}
	before, footprint := state(), s.footprint()
	targets := s.targets()
	for _, name := range forEverybody {
		if !slices.ContainsFunc(targets, func(m target) bool { return m.name() == name }) {
			t.Errorf("there is no method %s", name)
		}
	}
	r := s.rawAs(stranger)
	defer r.Close()
	refused := 0
	for _, m := range targets {
		calls := append([]testbed.RawCall{raw(m, m.values(map[string]dbus.Variant{})...)}, garbage(m)...)
		without := calls[0] // a call without an interface reaches any method of that name
		without.Interface = ""
		calls = append(calls, without)
		for i, c := range calls {
			serial, err := r.Send(c)
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.Answer(serial)
			name := errorNameOf(err)
			open := slices.Contains(forEverybody, m.name())
			if !open && len(c.Body) > 128<<10 {
				open = name == "org.freedesktop.DBus.Error.LimitsExceeded"
			}
			// What makes no sense need not come so far that it is asked who calls.
			rubbish := !open && i > 0 && c.Interface != "" && name == faults.Prefix+"InvalidArgument"
			if open == (name == faults.Prefix+"NotAuthorized") && !rubbish {
				t.Errorf("%s at %s for a stranger: %v", m.name(), m.path, err)
			}
			if !open {
				refused++
			}
		}
	}
	if refused < 30 {
		t.Errorf("only %d calls were refused", refused)
	}
	// What is in files is root's to read.
	diff := question(bus.ManagerInterface, "Diff", "base", "default", map[string]dbus.Variant{bus.OptPatch: dbus.MakeVariant(true)})
	if serial, err := r.Send(diff); err != nil {
		t.Fatal(err)
	} else if _, err := r.Answer(serial); errorNameOf(err) != faults.Prefix+"NotAuthorized" {
		t.Errorf("a stranger reads a patch: %v", err)
	}
	if after := state(); after != before {
		t.Errorf("a stranger changed something:\nbefore %s\nafter  %s", before, after)
	}
	if now := s.footprint(); !slices.Equal(now.Subvolumes, footprint.Subvolumes) || now.Processes != footprint.Processes || now.Mounts != footprint.Mounts {
		t.Errorf("a stranger changed something:\nbefore %+v\nafter  %+v", footprint, now)
	}
	s.must("discard")
}

func errorNameOf(err error) string {
	var e dbus.Error
	if errors.As(err, &e) {
		return e.Name
	}
	return ""
}

// TestStrangersCancelNothing: anybody may send a signal, also one that says that somebody has left the bus.
func TestStrangersCancelNothing(t *testing.T) {
	s := newSystem(t, options{daemon: []string{"--idle", "0"}})
	cmd, _ := s.startWaiting("run", "--", "sh", "-c", "echo going; exec sleep 4711")
	st := s.status()
	if st.Transaction == nil {
		t.Fatal("nothing runs")
	}
	caller := st.Transaction.Actor.BusName
	r := s.rawAs(stranger)
	defer r.Close()
	lie := question("org.freedesktop.DBus", "NameOwnerChanged", caller, caller, "")
	lie.Type, lie.Path = dbus.TypeSignal, "/org/freedesktop/DBus"
	for _, iface := range []string{"org.freedesktop.DBus", "a.b"} {
		lie.Interface = iface
		if _, err := r.Send(lie); err != nil {
			t.Fatal(err)
		}
	}
	// Answered after both were read.
	serial, err := r.Send(question(bus.ManagerInterface, "Status", map[string]dbus.Variant{}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Answer(serial); err != nil {
		t.Fatal(err)
	}
	if now := s.status(); now.Transaction == nil || !now.Transaction.Running {
		t.Errorf("after a stranger's signal %+v is in progress", now.Transaction)
	}
	client := s.client()
	tr, err := client.Transaction(t.Context(), st.Transaction.Number)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := exitOf(t, cmd); got != 130 {
		t.Errorf("the command exits with %d after root cancelled it, want 130", got)
	}
	if out, err := tr.Wait(t.Context()); err != nil || !strings.Contains(out.ErrorMessage, "somebody asked for it") {
		t.Errorf("it ended as %+v, %v", out, err)
	}
}

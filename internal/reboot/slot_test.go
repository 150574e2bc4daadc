package reboot

import (
	"strings"
	"testing"
	"time"

	"github.com/txupd/txupd/internal/bus"
	"github.com/txupd/txupd/internal/fleetlock"
	"github.com/txupd/txupd/internal/fleetlock/fleetlocktest"
)

// inFleet makes the machine one of a fleet; good says whether its boot is.
func (m *machine) inFleet(server *fleetlocktest.Server, good *bool) {
	m.config.Fleet = fleetlock.Client{URL: server.URL, Group: "workers", ID: "me"}
	m.config.Steady = func() bool { return *good }
	m.keeper = New(m.config)
}

// booted starts the daemon of another boot.
func (m *machine) booted(id string) {
	m.config.BootID, m.reboots = id, 0
	m.keeper = New(m.config)
}

// TestASlotIsKeptFromTheRebootToTheGoodBoot: over a power cut, servers that are down and boots that are not good yet.
func TestASlotIsKeptFromTheRebootToTheGoodBoot(t *testing.T) {
	m, server, good := newMachine(t, t.TempDir()), fleetlocktest.New(t, 1), true
	m.inFleet(server, &good)
	held := func() string { return strings.Join(server.Held("workers"), " ") }
	server.Take("workers", "another")
	m.ask(bus.RebootWindow, time.Time{})
	if m.until(clock(2, 3, 10)) || !strings.Contains(m.keeper.Status(t.Context()).Waits, "slot") && !strings.Contains(m.keeper.Status(t.Context()).Waits, "all_slots_full") {
		t.Fatalf("without a slot: %d reboots, %+v", m.reboots, m.keeper.Status(t.Context()))
	}
	server.Free("workers")
	if !m.until(clock(2, 3, 30)) || held() != "me" {
		t.Fatalf("with a slot: %d reboots, held by %q", m.reboots, held())
	}
	good = false
	m.booted("the next")
	m.until(m.now.Add(time.Hour))
	if held() != "me" || !m.keeper.Pending() {
		t.Errorf("the boot is not good yet, and the slot is held by %q", held())
	}
	good = true
	server.Down(true)
	m.until(m.now.Add(time.Hour))
	server.Down(false)
	if held() != "me" || !m.keeper.Pending() {
		t.Errorf("the server was down, and the slot is held by %q", held())
	}
	m.until(m.now.Add(longest + time.Minute))
	if held() != "" || m.keeper.Pending() {
		t.Errorf("the boot is good, and the slot is held by %q", held())
	}
	m.booted("one more")
	if m.keeper.Pending() {
		t.Error("there is still a slot")
	}
}

// TestNoSlotIsHeldWhileAPersonIsWaitedFor, nor after the request was taken back, nor by a daemon that was killed.
func TestNoSlotIsHeldWhileAPersonIsWaitedFor(t *testing.T) {
	m, server, good := newMachine(t, t.TempDir()), fleetlocktest.New(t, 1), true
	m.inFleet(server, &good)
	held := func() string { return strings.Join(server.Held("workers"), " ") }
	m.people = []string{"alice"}
	m.ask(bus.RebootWindow, time.Time{})
	if m.until(clock(2, 3, 10)) || held() != "" {
		t.Errorf("somebody is logged in, and a slot is held by %q", held())
	}
	// Somebody comes between the grant and the reboot.
	m.people = nil
	for m.now = clock(2, 3, 20); held() == "" && m.reboots == 0; {
		m.keeper.look(t.Context())
	}
	m.people = []string{"bob"}
	if m.until(clock(2, 3, 30)) || held() != "" {
		t.Errorf("bob came, %d reboots, and a slot is held by %q", m.reboots, held())
	}
	m.people = nil
	for m.now = clock(2, 3, 40); held() == "" && m.reboots == 0; {
		m.keeper.look(t.Context())
	}
	m.keeper = New(m.config) // it was killed right then
	if err := m.keeper.Cancel("root"); err != nil {
		t.Fatal(err)
	}
	m.keeper.look(t.Context())
	if held() != "" || m.keeper.Pending() {
		t.Errorf("taken back, and a slot is held by %q", held())
	}
}

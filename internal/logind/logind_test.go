package logind

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/txupd/txupd/internal/testbed"
)

// manager is a logind that hands out locks as the real one does, one end of a pipe, and knows who is logged in.
type manager struct {
	asked chan [4]string
	pipe  chan [2]int

	sessions   []listed
	inhibitors []inhibitor
	reboots    atomic.Int32
}

// Inhibit is the method of org.freedesktop.login1.Manager.
func (m *manager) Inhibit(what, who, why, mode string) (dbus.UnixFD, *dbus.Error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	m.asked <- [4]string{what, who, why, mode}
	m.pipe <- p
	return dbus.UnixFD(p[1]), nil
}

// ListSessions is a method of org.freedesktop.login1.Manager.
func (m *manager) ListSessions() ([]listed, *dbus.Error) { return m.sessions, nil }

// listed is one session in an answer of ListSessions.
type listed struct {
	ID   string
	UID  uint32
	User string
	Seat string
	Path dbus.ObjectPath
}

// inhibitor is one in an answer of ListInhibitors.
type inhibitor struct {
	What, Who, Why, Mode string
	UID, PID             uint32
}

// ListInhibitors is a method of org.freedesktop.login1.Manager.
func (m *manager) ListInhibitors() ([]inhibitor, *dbus.Error) { return m.inhibitors, nil }

// Reboot is a method of org.freedesktop.login1.Manager.
func (m *manager) Reboot(interactive bool) *dbus.Error {
	if interactive {
		return dbus.MakeFailedError(errors.New("nobody is there to be asked"))
	}
	m.reboots.Add(1)
	return nil
}

// properties answers GetAll of one session.
type properties map[string]dbus.Variant

// GetAll is a method of org.freedesktop.DBus.Properties.
func (p properties) GetAll(string) (map[string]dbus.Variant, *dbus.Error) {
	if p == nil {
		return nil, dbus.NewError(unknown, []any{"it ended meanwhile"})
	}
	return p, nil
}

// TestWhomARebootWouldDisturb: people are those with a session of their own that
// lasts, inhibitors those who block a shutdown.
func TestWhomARebootWouldDisturb(t *testing.T) {
	testbed.NeedRoot(t)
	b := testbed.PrivateBus(t, testbed.BusOptions{})
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", b.Address)
	ctx := t.Context()
	if _, err := (Machine{}).People(ctx); err == nil {
		t.Error("people are known where there is no logind")
	}
	conn, err := dbus.Connect(b.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	m := &manager{inhibitors: []inhibitor{
		{What: "sleep:shutdown", Who: "backup", Why: "nightly run", Mode: "block"}, {What: "shutdown", Who: "txupd", Why: "merges", Mode: "delay"},
		{What: "sleep", Who: "player", Why: "a film", Mode: "block"},
	}}
	for i, s := range []struct {
		user string
		is   properties
	}{
		{"alice", properties{"Class": dbus.MakeVariant("user"), "State": dbus.MakeVariant("active"), "TTY": dbus.MakeVariant("tty2")}},
		{"bob", properties{"Class": dbus.MakeVariant("user"), "State": dbus.MakeVariant("online"), "TTY": dbus.MakeVariant(""), "RemoteHost": dbus.MakeVariant("10.0.0.7")}},
		{"gdm", properties{"Class": dbus.MakeVariant("greeter"), "State": dbus.MakeVariant("active")}},
		{"carol", properties{"Class": dbus.MakeVariant("user"), "State": dbus.MakeVariant("closing")}},
		{"dave", nil},
	} {
		at := dbus.ObjectPath("/org/freedesktop/login1/session/" + s.user)
		m.sessions = append(m.sessions, listed{ID: s.user, UID: uint32(1000 + i), User: s.user, Path: at})
		if err := conn.Export(s.is, at, "org.freedesktop.DBus.Properties"); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Export(m, path, login); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName(name, dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	people, err := (Machine{}).People(ctx)
	if err != nil || strings.Join(people, ", ") != "alice (tty2), bob (10.0.0.7)" {
		t.Errorf("logged in are %q (%v)", people, err)
	}
	inhibitors, err := (Machine{}).Inhibitors(ctx)
	if err != nil || strings.Join(inhibitors, ", ") != "backup: nightly run" {
		t.Errorf("held by %q (%v)", inhibitors, err)
	}
	if err := (Machine{}).Reboot(ctx); err != nil || m.reboots.Load() != 1 {
		t.Errorf("%d reboots (%v)", m.reboots.Load(), err)
	}
}

// TestDelayIsHeldUntilReleased: what logind watches is closed by release, and not before.
func TestDelayIsHeldUntilReleased(t *testing.T) {
	testbed.NeedRoot(t)
	b := testbed.PrivateBus(t, testbed.BusOptions{})
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", b.Address)
	if _, err := Delay("testing"); err == nil {
		t.Error("it is held where there is no logind")
	}
	conn, err := dbus.Connect(b.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	m := &manager{asked: make(chan [4]string, 1), pipe: make(chan [2]int, 1)}
	if err := conn.Export(m, "/org/freedesktop/login1", "org.freedesktop.login1.Manager"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName("org.freedesktop.login1", dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	release, err := Delay("testing")
	if err != nil {
		t.Fatal(err)
	}
	if got := <-m.asked; got != [4]string{"shutdown", "txupd", "testing", "delay"} {
		t.Errorf("asked for %q", got)
	}
	pipe := <-m.pipe
	lock := os.NewFile(uintptr(pipe[0]), "lock")
	defer lock.Close()
	// The one that was sent is the last that is open.
	if err := unix.Close(pipe[1]); err != nil {
		t.Fatal(err)
	}
	if err := lock.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("it is not held: %v", err)
	}
	release()
	if err := lock.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("it is still held: %v", err)
	}
}

func TestTheVersionOfSystemd(t *testing.T) {
	for text, want := range map[string]int{"257.8-1~deb13u2": 257, "254": 254, "252.39-1~deb12u1": 252, "v257": 0, "": 0, "99999999999999999999": 0} {
		if got := major(text); got != want {
			t.Errorf("%q is %d, not %d", text, got, want)
		}
	}
}
